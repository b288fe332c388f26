-- The log, the bookings folded from it, and what finds them. Times are microseconds since 1970-01-01T00:00:00Z.

-- The newest position that was handed out. A row of its own: positions must not start again when old rows are removed.
CREATE TABLE head (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    position INTEGER NOT NULL
) STRICT;
INSERT INTO head (id, position) VALUES (1, 0);

-- What a probe writes, to see that a write reaches stable storage.
CREATE TABLE probe (
    id    INTEGER PRIMARY KEY CHECK (id = 1),
    count INTEGER NOT NULL
) STRICT;
INSERT INTO probe (id, count) VALUES (1, 0);

-- Webhooks that were kept. `identity` is the SHA-256 of the body (32 bytes) or, of an unparsed one, the request id
-- (16 bytes); the unique key is led by a time, so that new keys land side by side.
CREATE TABLE deliveries (
    position        INTEGER PRIMARY KEY,
    delivery_id     BLOB    NOT NULL UNIQUE,
    tenant          TEXT    NOT NULL,
    key_time        INTEGER NOT NULL,
    identity        BLOB    NOT NULL,
    body_sha256     BLOB,             -- NULL where it is the identity
    body_size       INTEGER NOT NULL, -- bytes of the raw body
    trigger         INTEGER NOT NULL,
    trigger_name    TEXT    NOT NULL,
    receive_time    INTEGER NOT NULL,
    event_time      INTEGER,
    disposition     INTEGER NOT NULL,
    outcome         INTEGER NOT NULL,
    secret_id       TEXT    NOT NULL,
    request_id      BLOB,             -- NULL where the event carries no UUID
    content_type    TEXT    NOT NULL,
    webhook_version TEXT    NOT NULL,
    booking_uid     TEXT,
    mentioned       BLOB,             -- the bookings it speaks of; NULL where that is booking_uid alone
    trace_id        TEXT    NOT NULL,
    duplicate_count INTEGER NOT NULL DEFAULT 0,
    UNIQUE (tenant, key_time, identity)
) STRICT;
-- The position is part of every entry: SQLite appends the row id.
CREATE INDEX deliveries_by_tenant ON deliveries (tenant);

-- Apart from the deliveries: lists of those would otherwise drag every body through the page cache.
CREATE TABLE bodies (
    position INTEGER PRIMARY KEY,
    encoding INTEGER NOT NULL, -- 0 raw, 1 zstd
    body     BLOB    NOT NULL
) STRICT;

-- One row per (tenant, uid). `state` is the map of registers; the other columns are read off it to find and order rows.
-- A rowid table: rows of a kilobyte do not belong in an index tree.
CREATE TABLE bookings (
    id               INTEGER PRIMARY KEY,
    tenant           TEXT    NOT NULL,
    uid              TEXT    NOT NULL,
    state            BLOB    NOT NULL,
    visible          INTEGER NOT NULL,
    status           INTEGER NOT NULL,
    start_time       INTEGER NOT NULL, -- the least integer where it has none
    update_time      INTEGER NOT NULL,
    position         INTEGER NOT NULL,
    rescheduled_from TEXT,
    UNIQUE (tenant, uid)
) STRICT;
CREATE INDEX bookings_by_start  ON bookings (tenant, start_time, uid)  WHERE visible = 1;
CREATE INDEX bookings_by_update ON bookings (tenant, update_time, uid) WHERE visible = 1;

CREATE TABLE transitions (
    position    INTEGER PRIMARY KEY,
    delivery    INTEGER NOT NULL, -- position of the delivery that caused it
    tenant      TEXT    NOT NULL,
    uid         TEXT    NOT NULL,
    kind        INTEGER NOT NULL,
    from_status INTEGER NOT NULL,
    to_status   INTEGER NOT NULL,
    rule        TEXT    NOT NULL,
    source      INTEGER NOT NULL,
    commit_time INTEGER NOT NULL,
    booking     BLOB    NOT NULL -- the booking after it
) STRICT;

-- Further copies of a delivery, up to a bound.
CREATE TABLE duplicates (
    position     INTEGER PRIMARY KEY,
    delivery     INTEGER NOT NULL, -- position of the delivery that they repeat
    receive_time INTEGER NOT NULL,
    secret_id    TEXT    NOT NULL,
    trace_id     TEXT    NOT NULL
) STRICT;

-- Which deliveries, and which copies of them, spoke of a booking: its timeline.
CREATE TABLE mentions (
    tenant   TEXT    NOT NULL,
    uid      TEXT    NOT NULL,
    position INTEGER NOT NULL,
    delivery INTEGER NOT NULL, -- position of the delivery
    outcome  INTEGER NOT NULL, -- for this booking
    PRIMARY KEY (tenant, uid, position)
) STRICT, WITHOUT ROWID;
