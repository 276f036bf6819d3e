-- What nearly every request and every look for work does, each in one call and a transaction of its own. Role and shop are taken on as in the calls
-- of commands, and a release that needs them otherwise brings new ones under new names.

-- Stores a delivery and the work that it makes. False: it is stored already. Done twice it is done once.
CREATE FUNCTION store_delivery(
    shop uuid, id uuid, webhook_id text, body_digest bytea, topic text, triggered_at timestamptz, event_id text,
    received_at timestamptz, note text, body bytea
) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    as_role CONSTANT text := set_config('role', 'ecomdash_app', true);
    for_shop CONSTANT text := set_config('app.current_shop_id', shop::text, true);
BEGIN
    INSERT INTO inbox (shop_id, id, webhook_id, body_digest, topic, triggered_at, event_id, received_at, note, body, due_at)
    VALUES (shop, id, webhook_id, body_digest, topic, triggered_at, event_id, received_at, note, body, now())
    ON CONFLICT ON CONSTRAINT inbox_delivery_key DO NOTHING;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO work_queue (shop_id, kind, due_at) VALUES (shop, 'ingest', now());
    RETURN true;
END
$$;

-- Whose token this is the hash of and what it may do, while it is good.
CREATE FUNCTION find_token(token_hash bytea) RETURNS TABLE (shop_id uuid, role text) LANGUAGE plpgsql AS $$
DECLARE
    as_role CONSTANT text := set_config('role', 'ecomdash_app', true);
BEGIN
    RETURN QUERY
    SELECT t.shop_id, t.role
    FROM api_tokens t
    WHERE t.hash = token_hash AND t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > now());
END
$$;

-- What is due of some kinds of work, from a shop's id on, the longest waiting first: at most so many of at most so many
-- groups, which are a shop and a kind each. From one group to the next by one probe of the index, whatever the backlog.
CREATE FUNCTION due_work(kinds text[], from_shop uuid, most bigint, most_groups bigint)
RETURNS TABLE (shop_id uuid, kind text, groups bigint, last_shop uuid) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    as_role CONSTANT text := set_config('role', 'ecomdash_app', true);
BEGIN
    RETURN QUERY
    WITH RECURSIVE waiting AS (
        (SELECT shop_id, kind, due_at
         FROM work_queue
         WHERE shop_id >= from_shop AND due_at <= clock_timestamp() AND kind = ANY(kinds)
         ORDER BY shop_id, kind, due_at
         LIMIT 1)
        UNION ALL
        SELECT n.shop_id, n.kind, n.due_at
        FROM waiting w
        CROSS JOIN LATERAL (
            SELECT q.shop_id, q.kind, q.due_at
            FROM work_queue q
            WHERE (q.shop_id, q.kind) > (w.shop_id, w.kind) AND q.due_at <= clock_timestamp() AND q.kind = ANY(kinds)
            ORDER BY q.shop_id, q.kind, q.due_at
            LIMIT 1
        ) n
    )
    SELECT g.shop_id, g.kind, count(*) OVER (), max(g.shop_id::text) OVER ()::uuid
    FROM (SELECT shop_id, kind, due_at FROM waiting LIMIT most_groups) g
    ORDER BY g.due_at
    LIMIT most;
END
$$;
