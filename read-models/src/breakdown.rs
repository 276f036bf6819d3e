//! Figures by what was sold or why: sums over facts, for each value of one of the ledger's columns.

use chrono::{DateTime, Utc};
use domain::Currency;
use sqlx::{
    Postgres,
    postgres::{PgArguments, PgRow},
    query::Map,
};

use crate::daily_sales::{DailySales, Ledger, sums_of_kind};

/// A column of the ledger that sales are told apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Shopify's product.
    Product,
    /// Shopify's variant.
    Variant,
    /// `product`, `shipping`, `tip` …
    LineType,
    /// `order`, `refund`, `cancel` …
    Reason,
}

impl By {
    fn as_str(self) -> &'static str {
        match self {
            Self::Product => "product",
            Self::Variant => "variant",
            Self::LineType => "line_type",
            Self::Reason => "reason",
        }
    }
}

/// Facts of one value and kind, added up.
pub struct Row {
    /// `None` is what has no value: shipping has no product.
    pub key: Option<String>,
    line_type: String,
    is_initial: bool,
    is_reversal: bool,
    units: i64,
    gross_minor: i64,
    discount_minor: i64,
    net_minor: i64,
    tax_minor: i64,
    orders: i64,
    gift_card_orders: i64,
}

impl Row {
    /// The sums that it is in.
    #[must_use]
    pub fn sums(&self) -> DailySales {
        sums_of_kind!(self)
    }
}

/// What occurred from one instant until another, to be read as a stream: rows of one value follow each other, and those
/// without one come last.
pub fn rows(
    ledger: Ledger,
    by: By,
    (start, end): (DateTime<Utc>, DateTime<Utc>),
    currency: Currency,
) -> Map<'static, Postgres, impl FnMut(PgRow) -> Result<Row, sqlx::Error> + Send, PgArguments> {
    sqlx::query_as!(
        Row,
        r#"SELECT CASE $7::text WHEN 'product' THEN f.product_id::text WHEN 'variant' THEN f.variant_id::text
                                WHEN 'line_type' THEN f.line_type ELSE f.reason END AS key,
                  f.line_type, f.is_initial, f.is_reversal,
                  sum(f.units)::bigint AS "units!", sum(f.gross_minor)::bigint AS "gross_minor!",
                  sum(f.discount_minor)::bigint AS "discount_minor!", sum(f.net_minor)::bigint AS "net_minor!",
                  sum(f.tax_minor)::bigint AS "tax_minor!", sum(f.orders)::bigint AS "orders!",
                  sum(f.gift_card_orders)::bigint AS "gift_card_orders!"
           FROM sale_fact f
           WHERE f.shop_id = $1 AND f.generation = $2 AND f.position <= $3 AND f.currency = $4
             AND f.occurred_at >= $5 AND f.occurred_at < $6
           GROUP BY 1, f.line_type, f.is_initial, f.is_reversal
           ORDER BY 1 NULLS LAST"#,
        ledger.shop.0,
        ledger.generation,
        ledger.up_to,
        currency.code(),
        start,
        end,
        by.as_str(),
    )
}
