//! From a figure to the rows of the ledger that make it, and from each to its event and to what that came from.

use chrono::{DateTime, NaiveDate, Utc};
use domain::Currency;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::daily_sales::{DailySales, Ledger, sums_of_kind};

/// A row of the ledger, the event that taught it, and what that event came from.
#[derive(Debug)]
pub struct Explained {
    /// The same in every replay.
    pub fact_id: Uuid,
    /// Of the event in the shop's log.
    pub position: i64,
    /// Which of that event's rows.
    pub ordinal: i32,
    /// When the event was written.
    pub recorded_at: DateTime<Utc>,
    /// Shopify's order.
    pub order_id: i64,
    /// `line/7/order`, `shipping/3/refund/9` …
    pub business_key: String,
    /// For goods.
    pub line_item_id: Option<i64>,
    /// For goods whose product is known.
    pub product_id: Option<i64>,
    /// For goods whose variant is known.
    pub variant_id: Option<i64>,
    /// The instant that decides its day.
    pub occurred_at: DateTime<Utc>,
    /// In the generation's zone.
    pub shop_day: NaiveDate,
    /// `order`, `refund` …
    pub reason: String,
    /// `product`, `shipping` …
    pub line_type: String,
    /// `agreement` or `derived_from_order_json`.
    pub provenance: String,
    /// `OrderPlaced` …
    pub event_type: String,
    /// `1` …
    pub event_version: String,
    /// `webhook`, or `sync` for a document of the Admin API.
    pub source: Option<String>,
    /// Of the delivery.
    pub topic: Option<String>,
    /// Shopify's id of the delivery; `sync:` and a digest for a document.
    pub webhook_id: Option<String>,
    /// By which the body is known in this shop.
    pub body_digest: Option<String>,
    /// In the inbox.
    pub delivery: Option<String>,
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

/// Where a page begins: after this row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// When it happened.
    pub occurred_at: DateTime<Utc>,
    /// Of its event.
    pub position: i64,
    /// Which of that event's rows.
    pub ordinal: i32,
}

impl Explained {
    /// The sums that it is in.
    #[must_use]
    pub fn sums(&self) -> DailySales {
        sums_of_kind!(self)
    }

    /// Where the page after it begins.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        Cursor { occurred_at: self.occurred_at, position: self.position, ordinal: self.ordinal }
    }
}

/// At most `limit` rows of what occurred from one instant until another, by when it happened, then as it was learned.
///
/// # Errors
/// Whatever the database answers.
pub async fn page(
    connection: &mut PgConnection,
    ledger: Ledger,
    (start, end): (DateTime<Utc>, DateTime<Utc>),
    currency: Currency,
    after: Option<Cursor>,
    limit: i64,
) -> Result<Vec<Explained>, sqlx::Error> {
    let after = after.unwrap_or(Cursor { occurred_at: start, position: 0, ordinal: 0 });
    sqlx::query_as!(
        Explained,
        r#"SELECT f.fact_id, f.position, f.ordinal, e.recorded_at, f.order_id, f.business_key, f.line_item_id,
                  f.product_id, f.variant_id, f.occurred_at, f.shop_day, f.reason, f.line_type, f.provenance,
                  e.event_type, e.event_version, e.metadata ->> 'source' AS source, e.metadata ->> 'topic' AS topic,
                  e.metadata ->> 'webhook_id' AS webhook_id, e.metadata ->> 'body_digest' AS body_digest,
                  e.metadata ->> 'causation_id' AS delivery,
                  f.is_initial, f.is_reversal, f.units, f.gross_minor, f.discount_minor, f.net_minor, f.tax_minor,
                  f.orders, f.gift_card_orders
           FROM (SELECT * FROM sale_fact
                 WHERE shop_id = $1 AND generation = $2 AND position <= $3 AND currency = $4
                   AND occurred_at >= GREATEST($5::timestamptz, $7::timestamptz) AND occurred_at < $6 AND (occurred_at, position, ordinal) > ($7, $8, $9)
                 ORDER BY occurred_at, position, ordinal
                 LIMIT $10) f
           CROSS JOIN LATERAL (SELECT * FROM events WHERE shop_id = $1 AND position = f.position OFFSET 0) e
           ORDER BY f.occurred_at, f.position, f.ordinal"#,
        ledger.shop.0,
        ledger.generation,
        ledger.up_to,
        currency.code(),
        start,
        end,
        after.occurred_at,
        after.position,
        after.ordinal,
        limit,
    )
    .fetch_all(connection)
    .await
}
