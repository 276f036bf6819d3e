-- What a command reads and what it writes, each in one call: so that a single command is two round trips, or one.
-- Both take on the role and the shop for the rest of the transaction, and row-level security holds in them as anywhere.
-- A release that needs them otherwise brings new ones under new names: the release before still calls these.
--
-- OFFSET 0 and whole unique keys keep the planner from other plans: on a table without statistics, as a new database's
-- are, it takes a shop for a handful of rows and reads them all.

-- The head of a shop's log, its key, and the wrapped keys and histories that were asked for, all as of that head. With
-- `lock` nobody else moves the head before the transaction ends; what is read then is read after the lock was had.
--
CREATE FUNCTION load_streams(
    shop uuid, lock boolean, wanted_subjects text[], wanted_types text[], wanted_ids text[],
    OUT head_position bigint, OUT head_hash bytea, OUT head_recorded_at timestamptz, OUT read_at timestamptz,
    OUT shop_key bytea, OUT subjects text[], OUT wrapped bytea[],
    OUT streams bigint[], OUT sequences bigint[], OUT event_types text[], OUT event_versions text[], OUT payloads text[]
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    as_role CONSTANT text := set_config('role', 'ecomdash_app', true);
    for_shop CONSTANT text := set_config('app.current_shop_id', shop::text, true);
BEGIN
    IF lock THEN
        PERFORM FROM heads WHERE shop_id = shop FOR NO KEY UPDATE;
    END IF;
    SELECT h.position, h.hash, h.recorded_at, clock_timestamp(), k.wrapped, s.subjects, s.wrapped,
           e.streams, e.sequences, e.event_types, e.event_versions, e.payloads
    INTO head_position, head_hash, head_recorded_at, read_at, shop_key, subjects, wrapped,
         streams, sequences, event_types, event_versions, payloads
    FROM heads h
    LEFT JOIN shop_keys k ON k.shop_id = h.shop_id
    LEFT JOIN LATERAL (
        SELECT array_agg(k.subject) AS subjects, array_agg(k.wrapped) AS wrapped
        FROM UNNEST(wanted_subjects) AS w (subject)
        CROSS JOIN LATERAL (
            SELECT subject, wrapped FROM subject_keys WHERE shop_id = shop AND subject = w.subject OFFSET 0
        ) k
    ) s ON true
    LEFT JOIN LATERAL (
        SELECT array_agg(n) AS streams, array_agg(sequence) AS sequences,
               array_agg(event_type) AS event_types, array_agg(event_version) AS event_versions,
               array_agg(payload) AS payloads
        FROM (
            SELECT w.n, v.*
            FROM UNNEST(wanted_types, wanted_ids) WITH ORDINALITY AS w (aggregate_type, aggregate_id, n)
            CROSS JOIN LATERAL (
                SELECT sequence, event_type, event_version, payload::text AS payload
                FROM events
                WHERE shop_id = shop AND aggregate_type = w.aggregate_type AND aggregate_id = w.aggregate_id
                ORDER BY sequence OFFSET 0
            ) v
            ORDER BY w.n, v.sequence
        ) history
    ) e ON true
    WHERE h.shop_id = shop;
END
$$;

-- Events, head, the keys of subjects not met before and the work that all this makes, if the head's hash still is
-- `expected`, which stands for all that the log held there; otherwise nothing, and false. With `took_for_new` the caller
-- has not looked whether the histories that begin here and the subjects that are met here exist already; if one does,
-- nothing, and false.
CREATE FUNCTION append_events(
    shop uuid, expected bytea, took_for_new boolean, new_subjects text[], wrapped_keys bytea[], times timestamptz[],
    aggregate_types text[], aggregate_ids text[], sequences bigint[], event_types text[], event_versions text[],
    payloads text[], metadatas text[], hashes bytea[]
) RETURNS boolean LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    as_role CONSTANT text := set_config('role', 'ecomdash_app', true);
    for_shop CONSTANT text := set_config('app.current_shop_id', shop::text, true);
    news CONSTANT integer := cardinality(hashes);
    before bigint;
BEGIN
    -- What is seen here is true under the lock, too, if the head is then found where it was expected.
    IF took_for_new THEN
        FOR n IN 1..news LOOP
            IF sequences[n] = 1 AND EXISTS (
                SELECT FROM events
                WHERE shop_id = shop AND aggregate_type = aggregate_types[n] AND aggregate_id = aggregate_ids[n]
                  AND sequence = 1
            ) THEN
                RETURN false;
            END IF;
        END LOOP;
        IF EXISTS (
            SELECT FROM UNNEST(new_subjects) AS w (subject)
            CROSS JOIN LATERAL (SELECT FROM subject_keys WHERE shop_id = shop AND subject = w.subject OFFSET 0) k
        ) THEN
            RETURN false;
        END IF;
    END IF;
    UPDATE heads
    SET position = position + news, hash = hashes[news], recorded_at = times[news]
    WHERE shop_id = shop AND hash = expected
    RETURNING position - news INTO before;
    IF before IS NULL THEN
        RETURN false;
    END IF;
    INSERT INTO work_queue (shop_id, kind, due_at) VALUES (shop, 'project', now());
    IF cardinality(new_subjects) > 0 THEN
        INSERT INTO subject_keys (shop_id, subject, wrapped)
        SELECT shop, k.subject, k.wrapped FROM UNNEST(new_subjects, wrapped_keys) AS k (subject, wrapped);
    END IF;
    -- A few rows are cheaper one by one: a set's plan is set up anew each time.
    IF news <= 4 THEN
        FOR n IN 1..news LOOP
            INSERT INTO events (shop_id, position, recorded_at, aggregate_type, aggregate_id, sequence,
                                event_type, event_version, payload, metadata, hash)
            VALUES (shop, before + n, times[n], aggregate_types[n], aggregate_ids[n], sequences[n],
                    event_types[n], event_versions[n], payloads[n]::json, metadatas[n]::json, hashes[n]);
        END LOOP;
    ELSE
        INSERT INTO events (shop_id, position, recorded_at, aggregate_type, aggregate_id, sequence,
                            event_type, event_version, payload, metadata, hash)
        SELECT shop, before + e.n, e.recorded_at, e.aggregate_type, e.aggregate_id, e.sequence,
               e.event_type, e.event_version, e.payload::json, e.metadata::json, e.hash
        FROM UNNEST(times, aggregate_types, aggregate_ids, sequences, event_types, event_versions,
                    payloads, metadatas, hashes) WITH ORDINALITY
            AS e (recorded_at, aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, hash, n);
    END IF;
    RETURN true;
END
$$;
