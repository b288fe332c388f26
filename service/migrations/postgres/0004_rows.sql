-- The rows of a round as it hands them over: one array of rows for each table. A column each would be an array of its
-- own, and the server writes each array down before it reads them side by side.
CREATE TYPE delivery_row AS (
    position BIGINT, delivery_id UUID, tenant TEXT, key_time BIGINT, identity BYTEA, body_sha256 BYTEA,
    body_size BIGINT, trigger INTEGER, trigger_name TEXT, receive_time BIGINT, event_time BIGINT, disposition INTEGER,
    outcome INTEGER, secret_id TEXT, request_id UUID, content_type TEXT, webhook_version TEXT, booking_uid TEXT,
    mentioned BYTEA, trace_id TEXT, siblings_silent BOOLEAN
);
CREATE TYPE body_row AS (position BIGINT, encoding SMALLINT, body BYTEA);
CREATE TYPE transition_row AS (
    position BIGINT, delivery BIGINT, tenant TEXT, uid TEXT, kind INTEGER, from_status INTEGER, to_status INTEGER,
    rule TEXT, source INTEGER, commit_time BIGINT, booking BYTEA, trace_id TEXT
);
CREATE TYPE mention_row AS (
    tenant TEXT, uid TEXT, position BIGINT, delivery BIGINT, outcome INTEGER, source INTEGER
);
CREATE TYPE booking_row AS (
    tenant TEXT, uid TEXT, state BYTEA, status INTEGER, start_time BIGINT, update_time BIGINT, position BIGINT,
    rescheduled_from TEXT, link INTEGER, seated BOOLEAN, organizer TEXT, event_type_id BIGINT, clock_end BIGINT,
    clock_told BOOLEAN
);
CREATE TYPE term_row AS (term BIGINT, start_time BIGINT, uid TEXT);
