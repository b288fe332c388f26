-- What finds bookings is kept in sorted runs instead of index trees: a tree dirties a page for nearly each new entry,
-- a run is written from its first byte to its last. And a booking's timeline is kept under the booking's number, so
-- that the lines of new bookings lie side by side.

-- Postings of the rounds that came last, a row for each round; together they are the newest run, not yet sorted.
CREATE TABLE tail (
    id      INTEGER PRIMARY KEY,
    entries BLOB    NOT NULL
) STRICT;

-- Sorted postings, never changed. What a newer run says of a posting holds: a lower level is newer, and in one level a
-- greater number. A run of a negative level is being made, or being removed.
CREATE TABLE runs (
    run    INTEGER PRIMARY KEY AUTOINCREMENT,
    level  INTEGER NOT NULL,
    blocks INTEGER NOT NULL
) STRICT;

-- A run's postings, cut into blocks. `id` is the run's number times 2^32, and the block's place in the run.
CREATE TABLE blocks (
    id      INTEGER PRIMARY KEY,
    entries BLOB    NOT NULL
) STRICT;

-- The first posting of each block.
CREATE TABLE fences (
    run   INTEGER NOT NULL,
    term  INTEGER NOT NULL,
    time  INTEGER NOT NULL,
    uid   TEXT    NOT NULL,
    block INTEGER NOT NULL,
    PRIMARY KEY (run, term, time, uid)
) STRICT, WITHOUT ROWID;

-- How many postings are in the tail.
ALTER TABLE head ADD COLUMN tail INTEGER NOT NULL DEFAULT 0;

-- The round that first spoke of a booking began here.
ALTER TABLE bookings ADD COLUMN first_position INTEGER NOT NULL DEFAULT 0;

-- Timelines, by the number of the booking. One that is mentioned and of which no fact was heard has a row without
-- state.
CREATE TABLE lines (
    booking  INTEGER NOT NULL,
    position INTEGER NOT NULL,
    delivery INTEGER NOT NULL, -- position of the delivery; the clock has none: 0
    outcome  INTEGER NOT NULL, -- for this booking
    source   INTEGER NOT NULL, -- 1 a webhook, 2 the clock, 3 a replay
    PRIMARY KEY (booking, position)
) STRICT, WITHOUT ROWID;
INSERT INTO bookings (tenant, uid, state, visible, status, start_time, update_time, position)
    SELECT DISTINCT m.tenant, m.uid, x'', 0, 0, 0, 0, 0 FROM mentions m
    WHERE NOT EXISTS (SELECT 1 FROM bookings b WHERE b.tenant = m.tenant AND b.uid = m.uid);
INSERT INTO lines (booking, position, delivery, outcome, source)
    SELECT b.id, m.position, m.delivery, m.outcome, m.source
    FROM mentions m JOIN bookings b ON b.tenant = m.tenant AND b.uid = m.uid ORDER BY b.id, m.position;
UPDATE bookings SET first_position = (SELECT coalesce(min(l.position), 0) FROM lines l WHERE l.booking = bookings.id);
DROP TABLE mentions;
ALTER TABLE lines RENAME TO mentions;

-- Their bookings are found by postings, which are filled from the rows.
DROP INDEX bookings_by_start;
DROP INDEX bookings_by_status;
DROP INDEX bookings_by_organizer;
DROP INDEX bookings_by_event_type;
DROP TABLE terms;
