-- Through which positions each kind of row is gone for a tenant, by its retention. What is missing up to there was
-- purged; what is missing behind it is damage.
CREATE TABLE retention (
    tenant      TEXT    NOT NULL PRIMARY KEY,
    bodies      INTEGER NOT NULL DEFAULT 0, -- never behind deliveries
    deliveries  INTEGER NOT NULL DEFAULT 0,
    transitions INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

-- A tenant's log in its order. The position is part of every entry: SQLite appends the row id.
CREATE INDEX transitions_by_tenant ON transitions (tenant);
-- The notes of a delivery's copies go with it.
CREATE INDEX duplicates_by_delivery ON duplicates (delivery);
