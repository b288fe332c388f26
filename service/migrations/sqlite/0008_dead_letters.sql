-- Which bookings are held back, and how many letters there are, without the entries.
CREATE INDEX dead_letters_by_uid ON dead_letters (tenant, name, uid) WHERE replayed = 0;
