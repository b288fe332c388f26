-- Over the columns that 0002 has filled. Those that lead lists end in the order of a list.
CREATE INDEX bookings_by_status       ON bookings (tenant, status, start_time, uid)        WHERE visible = 1;
CREATE INDEX bookings_by_organizer    ON bookings (tenant, organizer, start_time, uid)     WHERE visible = 1;
CREATE INDEX bookings_by_event_type   ON bookings (tenant, event_type_id, start_time, uid) WHERE visible = 1;
CREATE INDEX bookings_by_predecessor  ON bookings (tenant, rescheduled_from) WHERE rescheduled_from IS NOT NULL;
CREATE INDEX bookings_by_clock        ON bookings (tenant, clock_told, clock_end) WHERE clock_end IS NOT NULL;
