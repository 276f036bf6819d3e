-- Read models: rebuilt from the log at any time, without personal data. Every key carries the generation, so that a
-- rebuild fills a new one beside the one that serves, and one row switches.

CREATE TABLE checkpoints (
    shop_id    uuid    NOT NULL,
    -- a projection's name, or 'ingest', whose row is only a lock
    projection text    NOT NULL,
    generation integer NOT NULL,
    -- the last position that is folded in
    position   bigint  NOT NULL DEFAULT 0,
    -- the zone that days are cut in, one per generation
    timezone   text,
    -- version of the definition that it was computed with
    definition integer NOT NULL DEFAULT 0,
    -- where it stopped at an event that it could not digest, why, and which build that was
    parked_at     bigint,
    parked_reason text,
    parked_by     text,
    CONSTRAINT checkpoints_pkey PRIMARY KEY (shop_id, projection, generation)
);

-- Which generation answers queries.
CREATE TABLE live_generations (
    shop_id     uuid        NOT NULL,
    projection  text        NOT NULL,
    generation  integer     NOT NULL,
    switched_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT live_generations_pkey PRIMARY KEY (shop_id, projection)
);

-- The sale ledger: append-only and additive. A correction is a compensating row.
CREATE TABLE sale_fact (
    shop_id          uuid        NOT NULL,
    generation       integer     NOT NULL,
    -- of the event that taught it, and which of that event's rows
    position         bigint      NOT NULL,
    ordinal          integer     NOT NULL,
    fact_id          uuid        NOT NULL,
    recorded_at      timestamptz NOT NULL,
    order_id         bigint      NOT NULL,
    business_key     text        NOT NULL,
    line_item_id     bigint,
    product_id       bigint,
    variant_id       bigint,
    occurred_at      timestamptz NOT NULL,
    shop_day         date        NOT NULL,
    reason           text        NOT NULL,
    line_type        text        NOT NULL,
    currency         text        NOT NULL,
    is_initial       boolean     NOT NULL,
    is_reversal      boolean     NOT NULL,
    provenance       text        NOT NULL,
    units            bigint      NOT NULL,
    gross_minor      bigint      NOT NULL,
    discount_minor   bigint      NOT NULL,
    net_minor        bigint      NOT NULL,
    tax_minor        bigint      NOT NULL,
    orders           bigint      NOT NULL,
    gift_card_orders bigint      NOT NULL,
    CONSTRAINT sale_fact_pkey PRIMARY KEY (shop_id, generation, position, ordinal),
    CONSTRAINT sale_fact_net CHECK (net_minor = gross_minor - discount_minor)
);

-- For parts of a day, and for what was known on a date.
CREATE INDEX sale_fact_by_time ON sale_fact (shop_id, generation, occurred_at);

-- Sums of the ledger by shop day: always equal to it.
CREATE TABLE daily_sales (
    shop_id                 uuid    NOT NULL,
    generation              integer NOT NULL,
    day                     date    NOT NULL,
    currency                text    NOT NULL,
    orders                  bigint  NOT NULL,
    gift_card_orders        bigint  NOT NULL,
    gross_minor             bigint  NOT NULL,
    discount_minor          bigint  NOT NULL,
    reversed_gross_minor    bigint  NOT NULL,
    reversed_discount_minor bigint  NOT NULL,
    adjustment_minor        bigint  NOT NULL,
    shipping_minor          bigint  NOT NULL,
    shipping_reversed_minor bigint  NOT NULL,
    duty_minor              bigint  NOT NULL,
    additional_fee_minor    bigint  NOT NULL,
    return_fee_minor        bigint  NOT NULL,
    tax_minor               bigint  NOT NULL,
    tax_reversed_minor      bigint  NOT NULL,
    tip_minor               bigint  NOT NULL,
    gift_card_minor         bigint  NOT NULL,
    unclassified_minor      bigint  NOT NULL,
    initial_gross_minor     bigint  NOT NULL,
    initial_discount_minor  bigint  NOT NULL,
    initial_units           bigint  NOT NULL,
    units_ordered           bigint  NOT NULL,
    units_reversed          bigint  NOT NULL,
    CONSTRAINT daily_sales_pkey PRIMARY KEY (shop_id, generation, day, currency)
);

-- Orders as a list: what an order is now.
CREATE TABLE order_list (
    shop_id           uuid        NOT NULL,
    generation        integer     NOT NULL,
    order_id          bigint      NOT NULL,
    name              text,
    placed_at         timestamptz NOT NULL,
    currency          text        NOT NULL,
    total_price_minor bigint      NOT NULL,
    net_sales_minor   bigint      NOT NULL,
    financial_status  text,
    fulfillment_status text,
    cancelled_at      timestamptz,
    test              boolean     NOT NULL,
    customer_id       bigint,
    country           text,
    source_name       text,
    CONSTRAINT order_list_pkey PRIMARY KEY (shop_id, generation, order_id)
);
CREATE INDEX order_list_by_time ON order_list (shop_id, generation, placed_at DESC, order_id DESC);

DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['checkpoints', 'live_generations', 'sale_fact', 'daily_sales', 'order_list'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format(
            'CREATE POLICY tenant ON %I
                USING (shop_id = NULLIF(current_setting(''app.current_shop_id'', true), '''')::uuid)
                WITH CHECK (shop_id = NULLIF(current_setting(''app.current_shop_id'', true), '''')::uuid)', name);
    END LOOP;
END
$$;

GRANT SELECT, INSERT, UPDATE, DELETE ON checkpoints, live_generations, daily_sales, order_list TO ecomdash_app;
GRANT SELECT, INSERT, DELETE ON sale_fact TO ecomdash_app;
