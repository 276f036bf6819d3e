-- The event log: one ordered, gap-free, hash-chained log per shop.
-- The role ecomdash_app exists already: it belongs to the cluster, and the migrator makes it before it begins.

CREATE TABLE heads (
    shop_id     uuid        NOT NULL,
    position    bigint      NOT NULL CHECK (position >= 0),
    hash        bytea       NOT NULL CHECK (octet_length(hash) = 32),
    recorded_at timestamptz NOT NULL,
    CONSTRAINT heads_pkey PRIMARY KEY (shop_id)
);

-- The seven columns of postgres-es, and ours: whose, where in the shop's log, when, and the chain.
CREATE TABLE events (
    shop_id        uuid        NOT NULL,
    position       bigint      NOT NULL CHECK (position > 0),
    recorded_at    timestamptz NOT NULL,
    aggregate_type text        NOT NULL,
    aggregate_id   text        NOT NULL,
    sequence       bigint      NOT NULL CHECK (sequence > 0),
    event_type     text        NOT NULL,
    event_version  text        NOT NULL,
    -- json, not jsonb: the bytes are hashed, so they are kept as they were written
    payload        json        NOT NULL,
    metadata       json        NOT NULL,
    hash           bytea       NOT NULL CHECK (octet_length(hash) = 32),
    CONSTRAINT events_pkey PRIMARY KEY (shop_id, position),
    CONSTRAINT events_stream_key UNIQUE (shop_id, aggregate_type, aggregate_id, sequence)
);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% on % is refused: the log is append only', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END
$$;

CREATE TRIGGER events_are_immutable
    BEFORE UPDATE OR DELETE OR TRUNCATE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

ALTER TABLE heads ENABLE ROW LEVEL SECURITY;
ALTER TABLE heads FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON heads
    USING (shop_id = NULLIF(current_setting('app.current_shop_id', true), '')::uuid)
    WITH CHECK (shop_id = NULLIF(current_setting('app.current_shop_id', true), '')::uuid);

ALTER TABLE events ENABLE ROW LEVEL SECURITY;
ALTER TABLE events FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON events
    USING (shop_id = NULLIF(current_setting('app.current_shop_id', true), '')::uuid)
    WITH CHECK (shop_id = NULLIF(current_setting('app.current_shop_id', true), '')::uuid);

GRANT SELECT, INSERT, UPDATE ON heads TO ecomdash_app;
GRANT SELECT, INSERT ON events TO ecomdash_app;
