-- `append_events_of_subjects` does what it did, and takes no order for new that was erased before anybody had told of it: its
-- buyer may have a key, and the order has none any more.
CREATE OR REPLACE FUNCTION append_events_of_subjects(
    shop uuid, expected bytea, took_for_new boolean, new_subjects text[], wrapped_keys bytea[], times timestamptz[],
    aggregate_types text[], aggregate_ids text[], sequences bigint[], event_types text[], event_versions text[],
    payloads text[], metadatas text[], hashes bytea[],
    named_subjects text[], named_types text[], named_ids text[], contact_digests bytea[], contact_subjects text[],
    destroyed_subjects text[]
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
            IF sequences[n] = 1 AND (EXISTS (
                SELECT FROM events
                WHERE shop_id = shop AND aggregate_type = aggregate_types[n] AND aggregate_id = aggregate_ids[n]
                  AND sequence = 1
            ) OR aggregate_types[n] = 'order' AND EXISTS (
                SELECT FROM subject_keys WHERE shop_id = shop AND subject = 'order:' || aggregate_ids[n]
            )) THEN
                RETURN false;
            END IF;
        END LOOP;
        FOR n IN 1..cardinality(new_subjects) LOOP
            IF EXISTS (SELECT FROM subject_keys WHERE shop_id = shop AND subject = new_subjects[n]) THEN
                RETURN false;
            END IF;
        END LOOP;
    END IF;
    UPDATE heads
    SET position = position + news, hash = hashes[news], recorded_at = times[news],
        -- Where an older release appended without naming anybody, it stays until the log is looked through.
        subjects_position = CASE WHEN subjects_position = position THEN position + news ELSE subjects_position END
    WHERE shop_id = shop AND hash = expected
    RETURNING position - news INTO before;
    IF before IS NULL THEN
        RETURN false;
    END IF;
    INSERT INTO work_queue (shop_id, kind, due_at) VALUES (shop, 'project', now());
    -- A few rows are cheaper one by one: a set's plan is set up anew each time.
    IF news <= 4 THEN
        FOR n IN 1..cardinality(new_subjects) LOOP
            INSERT INTO subject_keys (shop_id, subject, wrapped) VALUES (shop, new_subjects[n], wrapped_keys[n]);
        END LOOP;
        FOR n IN 1..news LOOP
            INSERT INTO events (shop_id, position, recorded_at, aggregate_type, aggregate_id, sequence,
                                event_type, event_version, payload, metadata, hash)
            VALUES (shop, before + n, times[n], aggregate_types[n], aggregate_ids[n], sequences[n],
                    event_types[n], event_versions[n], payloads[n]::json, metadatas[n]::json, hashes[n]);
        END LOOP;
        FOR n IN 1..cardinality(named_subjects) LOOP
            INSERT INTO subject_streams (shop_id, subject, aggregate_type, aggregate_id)
            VALUES (shop, named_subjects[n], named_types[n], named_ids[n])
            ON CONFLICT ON CONSTRAINT subject_streams_pkey DO NOTHING;
        END LOOP;
        FOR n IN 1..cardinality(contact_digests) LOOP
            INSERT INTO subject_contacts (shop_id, digest, subject)
            VALUES (shop, contact_digests[n], contact_subjects[n])
            ON CONFLICT ON CONSTRAINT subject_contacts_pkey DO NOTHING;
        END LOOP;
    ELSE
        INSERT INTO subject_keys (shop_id, subject, wrapped)
        SELECT shop, k.subject, k.wrapped FROM UNNEST(new_subjects, wrapped_keys) AS k (subject, wrapped);
        INSERT INTO events (shop_id, position, recorded_at, aggregate_type, aggregate_id, sequence,
                            event_type, event_version, payload, metadata, hash)
        SELECT shop, before + e.n, e.recorded_at, e.aggregate_type, e.aggregate_id, e.sequence,
               e.event_type, e.event_version, e.payload::json, e.metadata::json, e.hash
        FROM UNNEST(times, aggregate_types, aggregate_ids, sequences, event_types, event_versions,
                    payloads, metadatas, hashes) WITH ORDINALITY
            AS e (recorded_at, aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, hash, n);
        INSERT INTO subject_streams (shop_id, subject, aggregate_type, aggregate_id)
        SELECT shop, n.subject, n.aggregate_type, n.aggregate_id
        FROM UNNEST(named_subjects, named_types, named_ids) AS n (subject, aggregate_type, aggregate_id)
        ON CONFLICT ON CONSTRAINT subject_streams_pkey DO NOTHING;
        INSERT INTO subject_contacts (shop_id, digest, subject)
        SELECT shop, c.digest, c.subject FROM UNNEST(contact_digests, contact_subjects) AS c (digest, subject)
        ON CONFLICT ON CONSTRAINT subject_contacts_pkey DO NOTHING;
    END IF;
    IF cardinality(destroyed_subjects) > 0 THEN
        PERFORM destroy_subjects(shop, destroyed_subjects);
    END IF;
    RETURN true;
END
$$;
