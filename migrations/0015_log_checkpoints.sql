-- What was signed of a shop's log: at a position it had this hash. A log that is verified is compared with all of them.
CREATE TABLE log_checkpoints (
    shop_id   uuid        NOT NULL,
    position  bigint      NOT NULL CHECK (position > 0),
    hash      bytea       NOT NULL CHECK (octet_length(hash) = 32),
    signed_at timestamptz NOT NULL,
    key_id    text        NOT NULL,
    signature text        NOT NULL,
    CONSTRAINT log_checkpoints_pkey PRIMARY KEY (shop_id, position)
);

ALTER TABLE log_checkpoints ENABLE ROW LEVEL SECURITY;
ALTER TABLE log_checkpoints FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON log_checkpoints
    USING (shop_id = NULLIF(current_setting('app.current_shop_id', true), '')::uuid)
    WITH CHECK (shop_id = NULLIF(current_setting('app.current_shop_id', true), '')::uuid);

-- Nothing changes or deletes one.
CREATE TRIGGER checkpoints_are_immutable
    BEFORE UPDATE OR DELETE OR TRUNCATE ON log_checkpoints
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
GRANT SELECT, INSERT ON log_checkpoints TO ecomdash_app;
