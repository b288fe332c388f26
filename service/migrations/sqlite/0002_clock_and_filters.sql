-- What lists are filtered by, what the clock has yet to say, and who spoke. The columns of bookings that are there
-- already are filled from their rows when this is applied, and 0003 makes the indexes over them.

ALTER TABLE bookings ADD COLUMN link          INTEGER NOT NULL DEFAULT 0; -- how rescheduled_from is known
ALTER TABLE bookings ADD COLUMN seated        INTEGER NOT NULL DEFAULT 0;
ALTER TABLE bookings ADD COLUMN organizer     TEXT;                       -- e-mail address in lower case
ALTER TABLE bookings ADD COLUMN event_type_id INTEGER;
ALTER TABLE bookings ADD COLUMN clock_end     INTEGER;                    -- the end by which the clock completes it
ALTER TABLE bookings ADD COLUMN clock_told    INTEGER NOT NULL DEFAULT 0; -- the log says that it did

-- What a booking is found by that it has several of: attendees, metadata. Led by the term, then in the order of a list.
CREATE TABLE terms (
    term       INTEGER NOT NULL,
    start_time INTEGER NOT NULL,
    uid        TEXT    NOT NULL,
    PRIMARY KEY (term, start_time, uid)
) STRICT, WITHOUT ROWID;

-- A webhook that speaks for a series and names one booking of it.
ALTER TABLE deliveries ADD COLUMN siblings_silent INTEGER NOT NULL DEFAULT 0;

-- Who spoke: 1 a webhook, 2 the clock, 3 a replay. The clock has no delivery: there `delivery` is 0.
ALTER TABLE mentions ADD COLUMN source INTEGER NOT NULL DEFAULT 1;
-- Of the clock and of replays; a webhook's own is its delivery's.
ALTER TABLE transitions ADD COLUMN trace_id TEXT NOT NULL DEFAULT '';
