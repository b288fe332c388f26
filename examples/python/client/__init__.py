"""What a service in Python needs to talk to calbridge: connection, schema, log, durable consumers, errors."""
