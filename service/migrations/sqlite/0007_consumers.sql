-- Durable consumers. Times are microseconds since 1970-01-01T00:00:00Z.
CREATE TABLE consumers (
    tenant         TEXT    NOT NULL,
    name           TEXT    NOT NULL,
    filter_text    TEXT    NOT NULL, -- as it was written
    filter         TEXT    NOT NULL, -- and as it was understood
    recorded       INTEGER NOT NULL,
    max_in_flight  INTEGER NOT NULL,
    ack_wait       INTEGER NOT NULL, -- microseconds
    backoff        TEXT    NOT NULL, -- an array of microseconds
    max_deliveries INTEGER NOT NULL,
    blocks         INTEGER NOT NULL,
    paused         INTEGER NOT NULL,
    cursor         INTEGER NOT NULL, -- all up to here is settled
    scanned        INTEGER NOT NULL, -- what is not settled up to here stands in consumer_items
    lease          INTEGER NOT NULL, -- the last that was given out
    etag           INTEGER NOT NULL,
    create_time    INTEGER NOT NULL,
    update_time    INTEGER NOT NULL,
    PRIMARY KEY (tenant, name)
) STRICT, WITHOUT ROWID;

-- What is not settled of them.
CREATE TABLE consumer_items (
    tenant     TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    position   INTEGER NOT NULL,
    uid        TEXT    NOT NULL, -- empty where it speaks of no booking
    deliveries INTEGER NOT NULL, -- how often it has been out
    lease      INTEGER NOT NULL, -- of the delivery that is out; zero where it waits
    time       INTEGER NOT NULL, -- when the lease ends, or it is due
    PRIMARY KEY (tenant, name, position)
) STRICT, WITHOUT ROWID;

-- What they gave up on.
CREATE TABLE dead_letters (
    tenant      TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    position    INTEGER NOT NULL,
    uid         TEXT    NOT NULL,
    deliveries  INTEGER NOT NULL,
    reason      TEXT    NOT NULL,
    create_time INTEGER NOT NULL,
    replayed    INTEGER NOT NULL, -- it stands in consumer_items again
    kind        INTEGER NOT NULL, -- 1 a transition, 2 a delivery
    entry       BLOB    NOT NULL, -- as it was then: the log behind it may be purged
    UNIQUE (tenant, name, position)
) STRICT;
