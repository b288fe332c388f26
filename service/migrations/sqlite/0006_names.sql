-- Names and ends come in no order: trees that take each at once have a page dirtied by nearly every one. They are
-- tables of their own now, into which bookings go side by side, many of them at a time.

-- Every booking up to the head's mark `settled` is in them, those up to `settling` may be, and all behind `settled` are
-- known from their rows.
CREATE TABLE names (
    tenant  TEXT    NOT NULL,
    uid     TEXT    NOT NULL,
    booking INTEGER NOT NULL,
    PRIMARY KEY (tenant, uid)
) STRICT, WITHOUT ROWID;
INSERT INTO names (tenant, uid, booking) SELECT tenant, uid, id FROM bookings ORDER BY tenant, uid;

-- What the clock completes: the row's clock_told and clock_end.
CREATE TABLE ends (
    tenant  TEXT    NOT NULL,
    told    INTEGER NOT NULL,
    time    INTEGER NOT NULL,
    booking INTEGER NOT NULL,
    PRIMARY KEY (tenant, told, time, booking)
) STRICT, WITHOUT ROWID;
INSERT INTO ends (tenant, told, time, booking) SELECT tenant, clock_told, clock_end, id FROM bookings
    WHERE clock_end IS NOT NULL ORDER BY tenant, clock_told, clock_end, id;

ALTER TABLE head ADD COLUMN settled  INTEGER NOT NULL DEFAULT 0; -- bookings up to this number are in both
ALTER TABLE head ADD COLUMN settling INTEGER NOT NULL DEFAULT 0; -- those up to this one are going into them
UPDATE head SET settled  = (SELECT coalesce(max(id), 0) FROM bookings),
                settling = (SELECT coalesce(max(id), 0) FROM bookings);

-- The same rows without the index of their names, which only a new table can be rid of. That no name is there twice,
-- the one writer sees to.
CREATE TABLE bookings_alone (
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
    link             INTEGER NOT NULL DEFAULT 0, -- how rescheduled_from is known
    seated           INTEGER NOT NULL DEFAULT 0,
    organizer        TEXT,                       -- e-mail address in lower case
    event_type_id    INTEGER,
    clock_end        INTEGER,                    -- the end by which the clock completes it
    clock_told       INTEGER NOT NULL DEFAULT 0, -- the log says that it did
    first_position   INTEGER NOT NULL DEFAULT 0  -- the round that first spoke of it began here
) STRICT;
INSERT INTO bookings_alone SELECT id, tenant, uid, state, visible, status, start_time, update_time, position, rescheduled_from,
    link, seated, organizer, event_type_id, clock_end, clock_told, first_position FROM bookings ORDER BY id;
DROP TABLE bookings;
ALTER TABLE bookings_alone RENAME TO bookings;
CREATE INDEX bookings_by_update      ON bookings (tenant, update_time, uid) WHERE visible = 1;
CREATE INDEX bookings_by_predecessor ON bookings (tenant, rescheduled_from) WHERE rescheduled_from IS NOT NULL;
