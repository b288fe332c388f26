-- Durable consumers. Times are microseconds since 1970-01-01T00:00:00Z. Whoever changes anything of a consumer locks
-- its row first.
CREATE TABLE consumers (
    tenant         TEXT     COLLATE "C" NOT NULL,
    name           TEXT     COLLATE "C" NOT NULL,
    filter_text    TEXT     NOT NULL, -- as it was written
    filter         TEXT     NOT NULL, -- and as it was understood
    recorded       BOOLEAN  NOT NULL,
    max_in_flight  BIGINT   NOT NULL,
    ack_wait       BIGINT   NOT NULL, -- microseconds
    backoff        BIGINT[] NOT NULL, -- microseconds
    max_deliveries BIGINT   NOT NULL,
    blocks         BOOLEAN  NOT NULL,
    paused         BOOLEAN  NOT NULL,
    cursor         BIGINT   NOT NULL, -- all up to here is settled
    scanned        BIGINT   NOT NULL, -- what is not settled up to here stands in consumer_items
    lease          BIGINT   NOT NULL, -- the last that was given out
    etag           BIGINT   NOT NULL,
    create_time    BIGINT   NOT NULL,
    update_time    BIGINT   NOT NULL,
    PRIMARY KEY (tenant, name)
);

-- What is not settled of them. Only the key is indexed, so that an entry which goes out does so within its page.
CREATE TABLE consumer_items (
    tenant     TEXT   COLLATE "C" NOT NULL,
    name       TEXT   COLLATE "C" NOT NULL,
    position   BIGINT NOT NULL,
    uid        TEXT   COLLATE "C" NOT NULL, -- empty where it speaks of no booking
    deliveries BIGINT NOT NULL, -- how often it has been out
    lease      BIGINT NOT NULL, -- of the delivery that is out; zero where it waits
    time       BIGINT NOT NULL, -- when the lease ends, or it is due
    PRIMARY KEY (tenant, name, position)
);

-- What they gave up on.
CREATE TABLE dead_letters (
    tenant      TEXT     COLLATE "C" NOT NULL,
    name        TEXT     COLLATE "C" NOT NULL,
    position    BIGINT   NOT NULL,
    uid         TEXT     COLLATE "C" NOT NULL,
    deliveries  BIGINT   NOT NULL,
    reason      TEXT     NOT NULL,
    create_time BIGINT   NOT NULL,
    replayed    BOOLEAN  NOT NULL, -- it stands in consumer_items again
    kind        SMALLINT NOT NULL, -- 1 a transition, 2 a delivery
    entry       BYTEA    NOT NULL, -- as it was then: the log behind it may be purged
    PRIMARY KEY (tenant, name, position)
);
-- Which bookings are held back, and how many letters there are, without the entries.
CREATE INDEX dead_letters_by_uid ON dead_letters (tenant, name, uid) WHERE NOT replayed;
