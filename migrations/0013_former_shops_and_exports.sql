-- Shops that were erased: their logs go on being verified, and their receipts shown. No content, no row-level security.
CREATE TABLE former_shops (
    shop_id       uuid        NOT NULL,
    -- Of its domain, so that what was sent before is not taken for a later shop's of that name.
    domain_digest bytea,
    redacted_at   timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT former_shops_pkey PRIMARY KEY (shop_id)
);
CREATE INDEX former_shops_by_domain ON former_shops (domain_digest);
-- What was sent before is of an earlier installation, which was erased.
ALTER TABLE directory ADD COLUMN not_before timestamptz;
GRANT SELECT, INSERT ON former_shops TO ecomdash_app;

-- What is kept of persons, put together to be handed out: each part sealed under its subject's key.
CREATE TABLE exports (
    shop_id    uuid        NOT NULL,
    export_id  text COLLATE "C" NOT NULL,
    subject    text COLLATE "C" NOT NULL,
    sealed     text        NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT exports_pkey PRIMARY KEY (shop_id, export_id, subject)
);
CREATE INDEX exports_by_subject ON exports (shop_id, subject);
ALTER TABLE exports ENABLE ROW LEVEL SECURITY;
ALTER TABLE exports FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON exports
    USING (shop_id = NULLIF(current_setting('app.current_shop_id', true), '')::uuid)
    WITH CHECK (shop_id = NULLIF(current_setting('app.current_shop_id', true), '')::uuid);
GRANT SELECT, INSERT, DELETE ON exports TO ecomdash_app;

-- Destroys a shop's key: no key of its subjects can be opened any more. Returns how many keys of subjects there were.
CREATE FUNCTION destroy_shop(shop uuid) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    alive bigint;
BEGIN
    SELECT count(*) INTO alive FROM subject_keys k WHERE k.shop_id = shop AND k.wrapped IS NOT NULL;
    UPDATE shop_keys k SET wrapped = NULL, destroyed_at = now() WHERE k.shop_id = shop AND k.wrapped IS NOT NULL;
    RETURN alive;
END
$$;

-- At most so many rows of what is left of a shop whose key is destroyed. Returns how many there were.
CREATE FUNCTION sweep_shop(shop uuid, most bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    gone bigint;
    total bigint := 0;
BEGIN
    UPDATE subject_keys k SET wrapped = NULL, destroyed_at = now()
    WHERE k.ctid = ANY (ARRAY(SELECT s.ctid FROM subject_keys s WHERE s.shop_id = shop AND s.wrapped IS NOT NULL LIMIT most));
    GET DIAGNOSTICS gone = ROW_COUNT;
    total := total + gone;
    DELETE FROM inbox i WHERE i.ctid = ANY (ARRAY(SELECT s.ctid FROM inbox s WHERE s.shop_id = shop LIMIT most));
    GET DIAGNOSTICS gone = ROW_COUNT;
    total := total + gone;
    DELETE FROM inbox_subjects i
    WHERE i.ctid = ANY (ARRAY(SELECT s.ctid FROM inbox_subjects s WHERE s.shop_id = shop LIMIT most));
    GET DIAGNOSTICS gone = ROW_COUNT;
    total := total + gone;
    DELETE FROM subject_contacts c
    WHERE c.ctid = ANY (ARRAY(SELECT s.ctid FROM subject_contacts s WHERE s.shop_id = shop LIMIT most));
    GET DIAGNOSTICS gone = ROW_COUNT;
    total := total + gone;
    DELETE FROM subject_streams n
    WHERE n.ctid = ANY (ARRAY(SELECT s.ctid FROM subject_streams s WHERE s.shop_id = shop LIMIT most));
    GET DIAGNOSTICS gone = ROW_COUNT;
    total := total + gone;
    DELETE FROM snapshots n WHERE n.ctid = ANY (ARRAY(SELECT s.ctid FROM snapshots s WHERE s.shop_id = shop LIMIT most));
    GET DIAGNOSTICS gone = ROW_COUNT;
    total := total + gone;
    DELETE FROM exports e WHERE e.shop_id = shop;
    GET DIAGNOSTICS gone = ROW_COUNT;
    RETURN total + gone;
END
$$;
