-- What finds bookings is kept in sorted runs instead of index trees: each new entry of a tree is a search of its own, and
-- most of a round's work was that. What was written before is read once. No release was out that knows the trees; a
-- service that does may not write beside this schema, since lists would miss what it writes.

-- Postings of the rounds that came last, not yet sorted, in blocks. Those up to head.tail_start stand in runs.
CREATE TABLE posting_tail (
    number  BIGINT PRIMARY KEY,
    entries BYTEA  NOT NULL
);

-- Sorted postings, never changed. What a newer run says of a posting holds: a lower level is newer, and in one level a
-- greater number. Level -1 is being made, -2 is replaced and goes.
CREATE TABLE posting_runs (
    run        BIGINT      PRIMARY KEY,
    level      INTEGER     NOT NULL,
    touch_time TIMESTAMPTZ NOT NULL DEFAULT now() -- while it is made: when its maker was last heard of
);

-- A run's postings, cut into blocks. The key is the run and its first posting.
CREATE TABLE posting_blocks (
    run        BIGINT NOT NULL,
    term       BIGINT NOT NULL,
    start_time BIGINT NOT NULL,
    uid        TEXT   COLLATE "C" NOT NULL,
    entries    BYTEA  NOT NULL,
    PRIMARY KEY (run, term, start_time, uid)
);
CREATE TYPE block_row AS (term BIGINT, start_time BIGINT, uid TEXT, entries BYTEA);

-- Two blocks fill a page. Neither is worth to be packed, or to lie elsewhere.
ALTER TABLE posting_tail ALTER COLUMN entries SET STORAGE PLAIN;
ALTER TABLE posting_blocks ALTER COLUMN entries SET STORAGE PLAIN;

-- Whoever writes postings or makes a run has locked the head.
ALTER TABLE head
    ADD COLUMN tail_start   BIGINT NOT NULL DEFAULT 0, -- rows of the tail up to here stand in runs
    ADD COLUMN tail_end     BIGINT NOT NULL DEFAULT 0, -- the last row of the tail
    ADD COLUMN tail_entries BIGINT NOT NULL DEFAULT 0, -- postings in the rows between
    ADD COLUMN run          BIGINT NOT NULL DEFAULT 0; -- the last number that a run was given

DROP INDEX bookings_by_start;
DROP INDEX bookings_by_status;
DROP INDEX bookings_by_organizer;
DROP INDEX bookings_by_event_type;
DROP TABLE terms;
DROP TYPE term_row;
