-- Through which positions each kind of row is gone for a tenant, by its retention. What is missing up to there was
-- purged; what is missing behind it is damage.
CREATE TABLE retention (
    tenant      TEXT    NOT NULL PRIMARY KEY,
    bodies      INTEGER NOT NULL DEFAULT 0, -- never behind deliveries
    deliveries  INTEGER NOT NULL DEFAULT 0,
    transitions INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

-- Notes of copies of what speaks of no booking stand in no timeline, and are not made any more.
DELETE FROM duplicates WHERE EXISTS
    (SELECT 1 FROM deliveries d WHERE d.position = delivery AND d.booking_uid IS NULL AND d.mentioned IS NULL);
