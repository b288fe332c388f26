-- The log, the bookings folded from it, and what finds them. Times are microseconds since 1970-01-01T00:00:00Z.
-- Names are compared byte by byte, whatever the database's own collation is. No extension is needed.

-- The newest position that was handed out. Whoever writes locks this row first: positions are handed out in the order
-- of the commits, and no two writers wait for each other.
CREATE TABLE head (
    id       SMALLINT PRIMARY KEY CHECK (id = 1),
    position BIGINT   NOT NULL
);
INSERT INTO head (id, position) VALUES (1, 0);

-- What a probe writes, to see that a write reaches stable storage.
CREATE TABLE probe (
    id    SMALLINT PRIMARY KEY CHECK (id = 1),
    count BIGINT   NOT NULL
);
INSERT INTO probe (id, count) VALUES (1, 0);

-- Webhooks that were kept. `identity` is the SHA-256 of the body (32 bytes) or, of an unparsed one, the request id
-- (16 bytes); the unique key is led by a time, so that new keys land side by side.
CREATE TABLE deliveries (
    position        BIGINT  PRIMARY KEY,
    delivery_id     UUID    NOT NULL UNIQUE,
    tenant          TEXT    COLLATE "C" NOT NULL,
    key_time        BIGINT  NOT NULL,
    identity        BYTEA   NOT NULL,
    body_sha256     BYTEA,            -- NULL where it is the identity
    body_size       BIGINT  NOT NULL, -- bytes of the raw body
    trigger         INTEGER NOT NULL,
    trigger_name    TEXT    NOT NULL,
    receive_time    BIGINT  NOT NULL,
    event_time      BIGINT,
    disposition     INTEGER NOT NULL,
    outcome         INTEGER NOT NULL,
    secret_id       TEXT    NOT NULL,
    request_id      UUID,             -- NULL where the event carries none
    content_type    TEXT    NOT NULL,
    webhook_version TEXT    NOT NULL,
    booking_uid     TEXT    COLLATE "C",
    mentioned       BYTEA,            -- the bookings it speaks of; NULL where that is booking_uid alone
    trace_id        TEXT    NOT NULL,
    duplicate_count BIGINT  NOT NULL DEFAULT 0,
    siblings_silent BOOLEAN NOT NULL DEFAULT FALSE, -- it speaks for a series and names one booking of it
    UNIQUE (tenant, key_time, identity)
);
-- All positions are above zero; it is said so that only lists, which say it as well, walk this index. A plan that was
-- made while the table was empty would otherwise look keys up in it, through all that the tenant has.
CREATE INDEX deliveries_by_tenant ON deliveries (tenant, position) WHERE position > 0;

-- Apart from the deliveries, which are read far more often.
CREATE TABLE bodies (
    position BIGINT   PRIMARY KEY,
    encoding SMALLINT NOT NULL,
    body     BYTEA    NOT NULL
);

-- One row per (tenant, uid). `state` is the map of registers; the other columns are read off it to find and order rows.
CREATE TABLE bookings (
    tenant           TEXT    COLLATE "C" NOT NULL,
    uid              TEXT    COLLATE "C" NOT NULL,
    state            BYTEA   NOT NULL,
    visible          INTEGER NOT NULL,
    status           INTEGER NOT NULL,
    start_time       BIGINT  NOT NULL, -- the least integer where it has none
    update_time      BIGINT  NOT NULL,
    position         BIGINT  NOT NULL,
    first_position   BIGINT  NOT NULL, -- the round that first spoke of it began here
    rescheduled_from TEXT    COLLATE "C",
    link             INTEGER NOT NULL DEFAULT 0, -- how rescheduled_from is known
    seated           BOOLEAN NOT NULL DEFAULT FALSE,
    organizer        TEXT    COLLATE "C",        -- e-mail address in lower case
    event_type_id    BIGINT,
    clock_end        BIGINT,                     -- the end by which the clock completes it
    clock_told       BOOLEAN NOT NULL DEFAULT FALSE, -- the log says that it did
    PRIMARY KEY (tenant, uid)
);
CREATE INDEX bookings_by_start       ON bookings (tenant, start_time, uid)                WHERE visible = 1;
CREATE INDEX bookings_by_update      ON bookings (tenant, update_time, uid)               WHERE visible = 1;
CREATE INDEX bookings_by_status      ON bookings (tenant, status, start_time, uid)        WHERE visible = 1;
CREATE INDEX bookings_by_organizer   ON bookings (tenant, organizer, start_time, uid)     WHERE visible = 1;
CREATE INDEX bookings_by_event_type  ON bookings (tenant, event_type_id, start_time, uid) WHERE visible = 1;
CREATE INDEX bookings_by_predecessor ON bookings (tenant, rescheduled_from) WHERE rescheduled_from IS NOT NULL;
CREATE INDEX bookings_by_clock       ON bookings (tenant, clock_told, clock_end) WHERE clock_end IS NOT NULL;

-- What a booking is found by that it has several of: attendees, metadata. Led by the term, then in the order of a list.
CREATE TABLE terms (
    term       BIGINT NOT NULL,
    start_time BIGINT NOT NULL,
    uid        TEXT   COLLATE "C" NOT NULL,
    PRIMARY KEY (term, start_time, uid)
);

CREATE TABLE transitions (
    position    BIGINT  PRIMARY KEY,
    delivery    BIGINT  NOT NULL, -- position of the delivery that caused it; the clock has none: 0
    tenant      TEXT    COLLATE "C" NOT NULL,
    uid         TEXT    COLLATE "C" NOT NULL,
    kind        INTEGER NOT NULL,
    from_status INTEGER NOT NULL,
    to_status   INTEGER NOT NULL,
    rule        TEXT    NOT NULL,
    source      INTEGER NOT NULL,
    commit_time BIGINT  NOT NULL,
    booking     BYTEA   NOT NULL, -- the booking after it
    trace_id    TEXT    NOT NULL  -- of the clock and of replays; a webhook's own is its delivery's
);

-- Further copies of a delivery, up to a bound.
CREATE TABLE duplicates (
    position     BIGINT PRIMARY KEY,
    delivery     BIGINT NOT NULL, -- position of the delivery that they repeat
    receive_time BIGINT NOT NULL,
    secret_id    TEXT   NOT NULL,
    trace_id     TEXT   NOT NULL
);

-- Which deliveries, which copies of them, and when the clock spoke of a booking: its timeline.
CREATE TABLE mentions (
    tenant   TEXT    COLLATE "C" NOT NULL,
    uid      TEXT    COLLATE "C" NOT NULL,
    position BIGINT  NOT NULL,
    delivery BIGINT  NOT NULL, -- position of the delivery
    outcome  INTEGER NOT NULL, -- for this booking
    source   INTEGER NOT NULL, -- 1 a webhook, 2 the clock, 3 a replay
    PRIMARY KEY (tenant, uid, position)
);
