-- Wrapped keys. A destroyed key leaves its row, so that the subject never gets another one.

CREATE TABLE shop_keys (
    shop_id      uuid        NOT NULL,
    wrapped      bytea,
    created_at   timestamptz NOT NULL DEFAULT now(),
    destroyed_at timestamptz,
    CONSTRAINT shop_keys_pkey PRIMARY KEY (shop_id),
    CONSTRAINT shop_keys_destroyed CHECK ((wrapped IS NULL) = (destroyed_at IS NOT NULL))
);

CREATE TABLE subject_keys (
    shop_id      uuid        NOT NULL,
    subject      text        NOT NULL,
    wrapped      bytea,
    created_at   timestamptz NOT NULL DEFAULT now(),
    destroyed_at timestamptz,
    CONSTRAINT subject_keys_pkey PRIMARY KEY (shop_id, subject),
    CONSTRAINT subject_keys_destroyed CHECK ((wrapped IS NULL) = (destroyed_at IS NOT NULL))
);

ALTER TABLE shop_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE shop_keys FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON shop_keys
    USING (shop_id = NULLIF(current_setting('app.current_shop_id', true), '')::uuid)
    WITH CHECK (shop_id = NULLIF(current_setting('app.current_shop_id', true), '')::uuid);

ALTER TABLE subject_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE subject_keys FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON subject_keys
    USING (shop_id = NULLIF(current_setting('app.current_shop_id', true), '')::uuid)
    WITH CHECK (shop_id = NULLIF(current_setting('app.current_shop_id', true), '')::uuid);

GRANT SELECT, INSERT, UPDATE ON shop_keys, subject_keys TO ecomdash_app;
