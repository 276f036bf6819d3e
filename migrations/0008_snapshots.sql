-- States of aggregates whose histories are long, so that a command need not read all of one. Only a help: each is made of
-- the log alone, bound to the event it stands at, and made anew when it is of no use. Nothing that checks the log reads it.

CREATE TABLE snapshots (
    shop_id        uuid   NOT NULL,
    aggregate_type text   COLLATE "C" NOT NULL,
    aggregate_id   text   COLLATE "C" NOT NULL,
    -- of the last event that is in it
    sequence       bigint NOT NULL,
    -- of that event: it stands for all of the log up to there
    hash           bytea  NOT NULL,
    -- of the form of the state and of the fold that made it
    state_version  bigint NOT NULL,
    -- the state, bound to all of the above
    sealed         bytea  NOT NULL,
    CONSTRAINT snapshots_pkey PRIMARY KEY (shop_id, aggregate_type, aggregate_id)
);

ALTER TABLE snapshots ENABLE ROW LEVEL SECURITY;
ALTER TABLE snapshots FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON snapshots
    USING (shop_id = NULLIF(current_setting('app.current_shop_id', true), '')::uuid)
    WITH CHECK (shop_id = NULLIF(current_setting('app.current_shop_id', true), '')::uuid);

GRANT SELECT, INSERT, UPDATE, DELETE ON snapshots TO ecomdash_app;

-- As load_streams, which the release before still calls; but of a history whose snapshot is of the version that was asked
-- for, only what comes after it. Every snapshot is returned, those of another version, too, so that the caller sees whether
-- they are what was written; and `fitting` are the streams whose log has, where the snapshot stands, the event that it was
-- made at. No version: the whole history.
--
-- Without sorts the only plan for a history is the index that has it in order. Left to itself, the planner takes the shop's
-- whole log on a table that has a few pages and no statistics, and a plan that was made then is kept.
CREATE FUNCTION load_aggregates(
    shop uuid, lock boolean, wanted_subjects text[], wanted_types text[], wanted_ids text[], wanted_versions bigint[],
    OUT head_position bigint, OUT head_hash bytea, OUT head_recorded_at timestamptz, OUT read_at timestamptz,
    OUT shop_key bytea, OUT subjects text[], OUT wrapped bytea[],
    OUT snapshot_streams bigint[], OUT snapshot_sequences bigint[], OUT snapshot_hashes bytea[],
    OUT snapshot_versions bigint[], OUT snapshots bytea[], OUT fitting bigint[],
    OUT streams bigint[], OUT sequences bigint[], OUT event_types text[], OUT event_versions text[], OUT payloads text[]
) LANGUAGE plpgsql SET enable_sort = off AS $$
#variable_conflict use_column
DECLARE
    as_role CONSTANT text := set_config('role', 'ecomdash_app', true);
    for_shop CONSTANT text := set_config('app.current_shop_id', shop::text, true);
BEGIN
    IF lock THEN
        PERFORM FROM heads WHERE shop_id = shop FOR NO KEY UPDATE;
    END IF;
    WITH wanted AS MATERIALIZED (
        SELECT w.*, s.*, CASE WHEN s.state_version = w.wanted_version THEN s.sequence ELSE 0 END AS made_at
        FROM UNNEST(wanted_types, wanted_ids, wanted_versions) WITH ORDINALITY
            AS w (aggregate_type, aggregate_id, wanted_version, n)
        LEFT JOIN LATERAL (
            SELECT sequence, hash, state_version, sealed FROM snapshots
            WHERE shop_id = shop AND aggregate_type = w.aggregate_type AND aggregate_id = w.aggregate_id OFFSET 0
        ) s ON true
    )
    SELECT h.position, h.hash, h.recorded_at, clock_timestamp(), k.wrapped, p.subjects, p.wrapped,
           s.streams, s.sequences, s.hashes, s.versions, s.snapshots, e.fitting,
           e.streams, e.sequences, e.event_types, e.event_versions, e.payloads
    INTO head_position, head_hash, head_recorded_at, read_at, shop_key, subjects, wrapped,
         snapshot_streams, snapshot_sequences, snapshot_hashes, snapshot_versions, snapshots, fitting,
         streams, sequences, event_types, event_versions, payloads
    FROM heads h
    LEFT JOIN shop_keys k ON k.shop_id = h.shop_id
    LEFT JOIN LATERAL (
        SELECT array_agg(k.subject) AS subjects, array_agg(k.wrapped) AS wrapped
        FROM UNNEST(wanted_subjects) AS w (subject)
        CROSS JOIN LATERAL (
            SELECT subject, wrapped FROM subject_keys WHERE shop_id = shop AND subject = w.subject OFFSET 0
        ) k
    ) p ON true
    LEFT JOIN LATERAL (
        SELECT array_agg(n) AS streams, array_agg(sequence) AS sequences, array_agg(hash) AS hashes,
               array_agg(state_version) AS versions, array_agg(sealed) AS snapshots
        FROM wanted
        WHERE sequence IS NOT NULL
    ) s ON true
    LEFT JOIN LATERAL (
        SELECT array_agg(n) FILTER (WHERE fits) AS fitting,
               array_agg(n) FILTER (WHERE is_news) AS streams,
               array_agg(sequence) FILTER (WHERE is_news) AS sequences,
               array_agg(event_type) FILTER (WHERE is_news) AS event_types,
               array_agg(event_version) FILTER (WHERE is_news) AS event_versions,
               array_agg(payload) FILTER (WHERE is_news) AS payloads
        FROM (
            SELECT w.n, v.*, v.sequence > w.made_at AS is_news, v.sequence = w.made_at AND v.hash = w.hash AS fits
            FROM wanted w
            CROSS JOIN LATERAL (
                SELECT sequence, event_type, event_version, payload::text AS payload, hash
                FROM events
                WHERE shop_id = shop AND aggregate_type = w.aggregate_type AND aggregate_id = w.aggregate_id
                  AND sequence >= w.made_at
                ORDER BY sequence OFFSET 0
            ) v
        ) history
    ) e ON true
    WHERE h.shop_id = shop;
END
$$;
