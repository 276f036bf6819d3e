-- Where a person stands in a shop's log, how they can be found, and what is done about requests to erase them.

-- Whose values stand sealed in which history. A history that is named after its subject is not listed.
CREATE TABLE subject_streams (
    shop_id        uuid NOT NULL,
    subject        text COLLATE "C" NOT NULL,
    aggregate_type text COLLATE "C" NOT NULL,
    aggregate_id   text COLLATE "C" NOT NULL,
    CONSTRAINT subject_streams_pkey PRIMARY KEY (shop_id, subject, aggregate_type, aggregate_id)
);

-- Keyed digests of e-mail addresses and telephone numbers, and the subjects that have them. Without the shop's key nobody
-- can tell which address a digest is of. Gone once the subject is redacted.
CREATE TABLE subject_contacts (
    shop_id uuid  NOT NULL,
    digest  bytea NOT NULL CHECK (octet_length(digest) = 16),
    subject text COLLATE "C" NOT NULL,
    CONSTRAINT subject_contacts_pkey PRIMARY KEY (shop_id, digest, subject)
);
CREATE INDEX subject_contacts_by_subject ON subject_contacts (shop_id, subject);

-- Whom a delivery's body is about, once it is translated.
CREATE TABLE inbox_subjects (
    shop_id  uuid NOT NULL,
    subject  text COLLATE "C" NOT NULL,
    inbox_id uuid NOT NULL,
    CONSTRAINT inbox_subjects_pkey PRIMARY KEY (shop_id, subject, inbox_id)
);
CREATE INDEX inbox_subjects_by_delivery ON inbox_subjects (shop_id, inbox_id);
-- False: nobody has written down whom the body is about, so that it must be opened to know.
ALTER TABLE inbox ADD COLUMN subjects_known boolean NOT NULL DEFAULT false;
CREATE INDEX inbox_to_open ON inbox (shop_id, id) WHERE body IS NOT NULL AND NOT subjects_known;

-- Up to which position the log is in `subject_streams` and `subject_contacts`. What a release before this one appends is not.
ALTER TABLE heads ADD COLUMN subjects_position bigint NOT NULL DEFAULT 0;

DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['subject_streams', 'subject_contacts', 'inbox_subjects'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format(
            'CREATE POLICY tenant ON %I
                USING (shop_id = NULLIF(current_setting(''app.current_shop_id'', true), '''')::uuid)
                WITH CHECK (shop_id = NULLIF(current_setting(''app.current_shop_id'', true), '''')::uuid)', name);
    END LOOP;
END
$$;

GRANT SELECT, INSERT, DELETE ON subject_streams, subject_contacts, inbox_subjects TO ecomdash_app;

-- `append_events`, and what the events tell of persons: whose values stand in which history, how they can be found, and
-- who is to have no key from now on because they belong to somebody redacted.
CREATE FUNCTION append_events_of_subjects(
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
BEGIN
    IF NOT append_events(shop, expected, took_for_new, new_subjects, wrapped_keys, times, aggregate_types, aggregate_ids,
                         sequences, event_types, event_versions, payloads, metadatas, hashes) THEN
        RETURN false;
    END IF;
    UPDATE heads SET subjects_position = position
    WHERE shop_id = shop AND subjects_position = position - cardinality(hashes);
    IF cardinality(named_subjects) > 0 THEN
        INSERT INTO subject_streams (shop_id, subject, aggregate_type, aggregate_id)
        SELECT shop, n.subject, n.aggregate_type, n.aggregate_id
        FROM UNNEST(named_subjects, named_types, named_ids) AS n (subject, aggregate_type, aggregate_id)
        ON CONFLICT ON CONSTRAINT subject_streams_pkey DO NOTHING;
    END IF;
    IF cardinality(contact_digests) > 0 THEN
        INSERT INTO subject_contacts (shop_id, digest, subject)
        SELECT shop, c.digest, c.subject
        FROM UNNEST(contact_digests, contact_subjects) AS c (digest, subject)
        ON CONFLICT ON CONSTRAINT subject_contacts_pkey DO NOTHING;
    END IF;
    IF cardinality(destroyed_subjects) > 0 THEN
        PERFORM destroy_subjects(shop, destroyed_subjects);
    END IF;
    RETURN true;
END
$$;

-- Destroys the keys of subjects, also of those that have none yet, and what they could be found by. Returns how many keys
-- there were.
CREATE FUNCTION destroy_subjects(shop uuid, subjects text[]) RETURNS bigint LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    destroyed bigint;
BEGIN
    WITH gone AS (
        UPDATE subject_keys SET wrapped = NULL, destroyed_at = now()
        WHERE shop_id = shop AND subject = ANY (subjects) AND wrapped IS NOT NULL
        RETURNING 1
    )
    SELECT count(*) INTO destroyed FROM gone;
    INSERT INTO subject_keys (shop_id, subject, wrapped, destroyed_at)
    SELECT shop, s.subject, NULL, now()
    FROM (SELECT DISTINCT UNNEST(subjects)) AS s (subject)
    ON CONFLICT ON CONSTRAINT subject_keys_pkey DO NOTHING;
    DELETE FROM subject_contacts WHERE shop_id = shop AND subject = ANY (subjects);
    RETURN destroyed;
END
$$;

-- Which token this is the hash of, whose it is and what it may do, while it is good.
CREATE FUNCTION find_caller(token_hash bytea) RETURNS TABLE (token_id uuid, shop_id uuid, role text) LANGUAGE plpgsql AS $$
DECLARE
    as_role CONSTANT text := set_config('role', 'ecomdash_app', true);
BEGIN
    RETURN QUERY
    SELECT t.token_id, t.shop_id, t.role
    FROM api_tokens t
    WHERE t.hash = token_hash AND t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > now());
END
$$;
