-- What a round says of whom terms find: one row a round. Somebody aside brings it into `terms`, thousands of entries at
-- a time and in the order of its key: laid there by each round, three entries of a webhook in no order cost the server a
-- fifth of all that it does for one, while the next round waits. Who writes into `terms` beside must not: what is young
-- would undo it later.
CREATE TABLE young_terms (
    position BIGINT PRIMARY KEY,  -- where the log ends behind the round
    entries  BIGINT NOT NULL,     -- of both
    found    term_row[] NOT NULL, -- what finds a booking from this round on
    gone     term_row[] NOT NULL  -- and what does so no more
);
-- It is read a moment after it was written: packing it costs more than it takes.
ALTER TABLE young_terms ALTER found SET STORAGE EXTERNAL, ALTER gone SET STORAGE EXTERNAL;
-- Rows come and go by the thousand, and a few are there at a time.
ALTER TABLE young_terms SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
