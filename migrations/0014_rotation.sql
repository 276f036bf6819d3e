-- Master keys: under which one everything is, so that none is dropped that is needed, and all comes under the newest.

-- A ciphertext of the master ring begins with its key's id. With the index, which ids there are is one probe for each,
-- however many deliveries there are.
CREATE INDEX inbox_unclaimed_by_key ON inbox_unclaimed (substr(body, 1, 4), id);
GRANT UPDATE ON inbox_unclaimed TO ecomdash_app;

-- Under which master key the keys of shops are: of so many shops of the directory, by their ids. One shop is looked at
-- after another, each as itself, in one call.
CREATE FUNCTION shop_key_ids(after_shop uuid, most bigint) RETURNS TABLE (shop uuid, key_id bytea) LANGUAGE plpgsql AS $$
DECLARE
    as_role CONSTANT text := set_config('role', 'ecomdash_app', true);
BEGIN
    FOR shop IN SELECT d.shop_id FROM directory d WHERE d.shop_id > after_shop ORDER BY d.shop_id LIMIT most LOOP
        PERFORM set_config('app.current_shop_id', shop::text, true);
        key_id := (SELECT substr(k.wrapped, 1, 4) FROM shop_keys k WHERE k.shop_id = shop);
        RETURN NEXT;
    END LOOP;
END
$$;

-- `store_delivery`, of a shop whose key is there: the caller may have kept it for a moment too long. NULL: it is not.
CREATE FUNCTION store_delivery_under_key(
    shop uuid, id uuid, webhook_id text, body_digest bytea, topic text, triggered_at timestamptz, event_id text,
    received_at timestamptz, note text, body bytea
) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    as_role CONSTANT text := set_config('role', 'ecomdash_app', true);
    for_shop CONSTANT text := set_config('app.current_shop_id', shop::text, true);
BEGIN
    -- Whoever erases the shop has it for himself: what is stored is seen by him, or comes after him and finds no key.
    PERFORM pg_advisory_xact_lock_shared(hashtextextended(shop::text, 1));
    IF NOT EXISTS (SELECT FROM shop_keys k WHERE k.shop_id = shop AND k.wrapped IS NOT NULL) THEN
        RETURN NULL;
    END IF;
    RETURN store_delivery(shop, id, webhook_id, body_digest, topic, triggered_at, event_id, received_at, note, body);
END
$$;
