"""What a service in Python needs to talk to calbridge: a connection, the schema, the log, a durable consumer, errors."""
