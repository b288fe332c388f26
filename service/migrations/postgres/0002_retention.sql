-- Through which positions each kind of row is gone for a tenant, by its retention. What is missing up to there was
-- purged; what is missing behind it is damage. Whoever purges anything locks the first row, which is no tenant's.
CREATE TABLE retention (
    tenant      TEXT   COLLATE "C" PRIMARY KEY,
    bodies      BIGINT NOT NULL DEFAULT 0, -- never behind deliveries
    deliveries  BIGINT NOT NULL DEFAULT 0,
    transitions BIGINT NOT NULL DEFAULT 0
);
INSERT INTO retention (tenant) VALUES ('');

-- Notes of copies of what speaks of no booking stand in no timeline, and are not made any more.
DELETE FROM duplicates WHERE EXISTS
    (SELECT 1 FROM deliveries d WHERE d.position = delivery AND d.booking_uid IS NULL AND d.mentioned IS NULL);
