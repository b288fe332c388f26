-- The pipeline: what sales people see and change. Of theirs this program sets states, and makes contacts.
CREATE TABLE prospects (
    id     TEXT PRIMARY KEY,
    name   TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('NEW', 'CONTACTED', 'ENGAGED', 'LOST'))
) STRICT;

CREATE TABLE contacts (
    id          TEXT PRIMARY KEY,
    prospect_id TEXT REFERENCES prospects,
    email       TEXT NOT NULL UNIQUE COLLATE NOCASE,
    name        TEXT NOT NULL,
    status      TEXT NOT NULL CHECK (status IN ('LEAD', 'CONTACTED', 'CONVERTED', 'LOST'))
) STRICT;

CREATE TABLE sequences (
    id          TEXT PRIMARY KEY,
    prospect_id TEXT REFERENCES prospects,
    name        TEXT NOT NULL,
    status      TEXT NOT NULL CHECK (status IN ('ACTIVE', 'PAUSED', 'FINISHED', 'BOOKED'))
) STRICT;

CREATE TABLE steps (
    sequence_id TEXT NOT NULL REFERENCES sequences,
    number      INTEGER NOT NULL,
    channel     TEXT NOT NULL,
    status      TEXT NOT NULL CHECK (status IN ('OPEN', 'DONE', 'SKIPPED', 'BOOKED')),
    PRIMARY KEY (sequence_id, number)
) STRICT;

-- What bookings make of it. A meeting is a lineage of bookings, named by the uid of the earliest that is known.
CREATE TABLE outreach_log (
    meeting     TEXT NOT NULL,
    entry       TEXT NOT NULL CHECK (entry IN ('BOOKED', 'UNDONE')),
    sequence_id TEXT REFERENCES sequences,
    contact_id  TEXT REFERENCES contacts,
    at          TEXT NOT NULL,
    PRIMARY KEY (meeting, entry)
) STRICT;

CREATE TABLE call_plans (
    meeting     TEXT PRIMARY KEY,
    -- Whose time it is.
    booking     TEXT NOT NULL,
    sequence_id TEXT REFERENCES sequences,
    contact_id  TEXT REFERENCES contacts,
    title       TEXT NOT NULL,
    starts      TEXT NOT NULL,
    ends        TEXT NOT NULL,
    status      TEXT NOT NULL CHECK (status IN ('PLANNED', 'WITHDRAWN'))
) STRICT;

CREATE TABLE call_plan_sections (
    meeting TEXT NOT NULL REFERENCES call_plans ON DELETE CASCADE,
    days    INTEGER NOT NULL CHECK (days IN (30, 60, 90)),
    -- So many days after the meeting.
    until   TEXT NOT NULL,
    goal    TEXT NOT NULL,
    PRIMARY KEY (meeting, days)
) STRICT;

-- What was heard of each booking: its newest state, and whom it was first booked for.
CREATE TABLE bookings (
    uid              TEXT PRIMARY KEY,
    status           TEXT NOT NULL,
    title            TEXT NOT NULL,
    starts           TEXT,
    ends             TEXT,
    -- When it was first accepted, and when it ended; unset while it did not.
    accepted_at      TEXT,
    ended_at         TEXT,
    -- What its metadata names.
    sequence_id      TEXT,
    contact_id       TEXT,
    -- The contact of its first attendee, where its metadata names none.
    found_contact_id TEXT REFERENCES contacts,
    rescheduled_from TEXT,
    rescheduled_to   TEXT
) STRICT;
CREATE INDEX bookings_by_from ON bookings (rescheduled_from) WHERE rescheduled_from IS NOT NULL;
CREATE INDEX bookings_by_to ON bookings (rescheduled_to) WHERE rescheduled_to IS NOT NULL;

-- Which transitions were applied: one that comes again changes nothing.
CREATE TABLE applied (
    uid      TEXT NOT NULL,
    position TEXT NOT NULL,
    PRIMARY KEY (uid, position)
) STRICT, WITHOUT ROWID;

-- Which meeting keeps which state set, and what it was before. `step` is 0 but for steps.
CREATE TABLE claims (
    meeting TEXT NOT NULL,
    kind    TEXT NOT NULL CHECK (kind IN ('SEQUENCE', 'STEP', 'CONTACT', 'PROSPECT')),
    target  TEXT NOT NULL,
    step    INTEGER NOT NULL DEFAULT 0,
    prior   TEXT NOT NULL,
    PRIMARY KEY (meeting, kind, target, step)
) STRICT;
CREATE INDEX claims_by_target ON claims (kind, target, step);

-- Whose bookings these are: uids of two tenants may be the same.
CREATE TABLE owner (
    tenant TEXT NOT NULL
) STRICT;
