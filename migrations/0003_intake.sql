-- What comes in: who the shops are, deliveries made durable before anything is parsed, and the work that they make.

-- Fleet tables: no readable shop content, no row-level security. A test holds this list:
-- directory, api_tokens, inbox_unclaimed, work_queue.

CREATE TABLE directory (
    domain        text        NOT NULL,
    shop_id       uuid        NOT NULL,
    shopify_id    bigint,
    registered_at timestamptz NOT NULL DEFAULT now(),
    paused_at     timestamptz,
    CONSTRAINT directory_pkey PRIMARY KEY (shop_id),
    CONSTRAINT directory_domain_key UNIQUE (domain)
);

CREATE TABLE api_tokens (
    token_id   uuid        NOT NULL,
    -- SHA-256 of the token: the token itself is shown once and kept nowhere
    hash       bytea       NOT NULL,
    shop_id    uuid,
    role       text        NOT NULL CHECK (role IN ('merchant', 'auditor', 'compliance', 'operator')),
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    revoked_at timestamptz,
    CONSTRAINT api_tokens_pkey PRIMARY KEY (token_id),
    CONSTRAINT api_tokens_hash_key UNIQUE (hash),
    -- operators have no shop, everyone else has one
    CONSTRAINT api_tokens_shop CHECK ((role = 'operator') = (shop_id IS NULL))
);

-- Deliveries for shops that are not registered, sealed under the master key.
CREATE TABLE inbox_unclaimed (
    id           uuid        NOT NULL,
    domain       text        NOT NULL,
    webhook_id   text        NOT NULL,
    body_digest  bytea       NOT NULL,
    topic        text        NOT NULL,
    triggered_at timestamptz,
    event_id     text,
    received_at  timestamptz NOT NULL,
    note         text,
    body         bytea       NOT NULL,
    CONSTRAINT inbox_unclaimed_pkey PRIMARY KEY (id),
    CONSTRAINT inbox_unclaimed_delivery_key UNIQUE (domain, webhook_id, body_digest)
);

-- Insert-only: each transaction that makes work adds a row of its own, and a worker deletes the rows it saw.
CREATE TABLE work_queue (
    shop_id uuid        NOT NULL,
    kind    text        NOT NULL,
    due_at  timestamptz NOT NULL,
    id      uuid        NOT NULL DEFAULT gen_random_uuid(),
    CONSTRAINT work_queue_pkey PRIMARY KEY (shop_id, kind, id)
);
CREATE INDEX work_queue_due ON work_queue (due_at);

CREATE TABLE inbox (
    shop_id      uuid        NOT NULL,
    id           uuid        NOT NULL,
    webhook_id   text        NOT NULL,
    body_digest  bytea       NOT NULL,
    topic        text        NOT NULL,
    triggered_at timestamptz,
    -- of the merchant's action, which several deliveries can share
    event_id     text,
    received_at  timestamptz NOT NULL,
    -- what was odd about the delivery, e.g. another topic in its path
    note         text,
    -- sealed; NULL once purged
    body         bytea,
    status       text        NOT NULL DEFAULT 'pending'
                             CHECK (status IN ('pending', 'translated', 'ignored', 'dead')),
    reason       text,
    attempts     integer     NOT NULL DEFAULT 0,
    due_at       timestamptz NOT NULL,
    settled_at   timestamptz,
    revision     integer,
    CONSTRAINT inbox_pkey PRIMARY KEY (shop_id, id),
    CONSTRAINT inbox_delivery_key UNIQUE (shop_id, webhook_id, body_digest)
);
CREATE INDEX inbox_pending ON inbox (shop_id, due_at, id) WHERE status = 'pending';
CREATE INDEX inbox_unsettled ON inbox (shop_id, status, received_at) WHERE status IN ('ignored', 'dead');

ALTER TABLE inbox ENABLE ROW LEVEL SECURITY;
ALTER TABLE inbox FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON inbox
    USING (shop_id = NULLIF(current_setting('app.current_shop_id', true), '')::uuid)
    WITH CHECK (shop_id = NULLIF(current_setting('app.current_shop_id', true), '')::uuid);

GRANT SELECT, INSERT, UPDATE, DELETE ON directory, inbox TO ecomdash_app;
GRANT SELECT, INSERT, UPDATE ON api_tokens TO ecomdash_app;
GRANT SELECT, INSERT, DELETE ON inbox_unclaimed, work_queue TO ecomdash_app;
