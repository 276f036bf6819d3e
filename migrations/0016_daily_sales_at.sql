-- What the days of the ledger came to at every so many positions of the log: the sums as known there are the newest row
-- up to it and the facts since. A day has a row where it changed since the one before.
CREATE TABLE daily_sales_at (
    shop_id                 uuid    NOT NULL,
    generation              integer NOT NULL,
    day                     date    NOT NULL,
    currency                text COLLATE "C" NOT NULL,
    -- of the last event that is in it
    position                bigint  NOT NULL,
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
    CONSTRAINT daily_sales_at_pkey PRIMARY KEY (shop_id, generation, day, currency, position)
);

ALTER TABLE daily_sales_at ENABLE ROW LEVEL SECURITY;
ALTER TABLE daily_sales_at FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON daily_sales_at
    USING (shop_id = NULLIF(current_setting('app.current_shop_id', true), '')::uuid)
    WITH CHECK (shop_id = NULLIF(current_setting('app.current_shop_id', true), '')::uuid);

GRANT SELECT, INSERT, DELETE ON daily_sales_at TO ecomdash_app;
