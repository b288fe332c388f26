-- Through which positions each kind of row is gone for a tenant, by its retention. What is missing up to there was
-- purged; what is missing behind it is damage. Whoever purges locks the tenant's row.
CREATE TABLE retention (
    tenant      TEXT   COLLATE "C" PRIMARY KEY,
    bodies      BIGINT NOT NULL DEFAULT 0, -- never behind deliveries
    deliveries  BIGINT NOT NULL DEFAULT 0,
    transitions BIGINT NOT NULL DEFAULT 0
);

-- A tenant's log in its order.
CREATE INDEX transitions_by_tenant ON transitions (tenant, position);
-- The notes of a delivery's copies go with it.
CREATE INDEX duplicates_by_delivery ON duplicates (delivery);
