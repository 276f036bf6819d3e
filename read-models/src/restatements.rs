//! What changed between two positions of the log, by cause. Every row of the ledger has one: `docs/metrics.md` says which.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use domain::{Currency, ShopId, ledger::LineType};
use sqlx::PgConnection;

use crate::daily_sales::{DailySales, Kind, Ledger, amounts};

/// Why a figure changed, in the order in which causes are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// The shop's days are cut in another zone, or its figures are of another currency.
    Settings,
    /// A sale was told after its day had ended.
    LateWebhook,
    /// A refund.
    Refund,
    /// A committed edit of an order.
    Edit,
    /// An order was cancelled.
    Cancellation,
    /// An order was deleted.
    Deletion,
    /// A document of the Admin API.
    Backfill,
    /// Another body of a known order told of its sale otherwise.
    Correction,
    /// A sale on its day.
    NewSale,
    /// Customers were merged: moves no sale.
    Merge,
    /// A person was erased: moves no sale.
    Redaction,
    /// The ledger was rebuilt and shows other figures. Both moments are told by the present definition, so that this
    /// moves nothing between them.
    DefinitionChange,
}

impl Cause {
    /// Every one, in order.
    pub const ALL: [Self; 12] = [
        Self::Settings,
        Self::LateWebhook,
        Self::Refund,
        Self::Edit,
        Self::Cancellation,
        Self::Deletion,
        Self::Backfill,
        Self::Correction,
        Self::NewSale,
        Self::Merge,
        Self::Redaction,
        Self::DefinitionChange,
    ];

    /// As answers name it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Settings => "settings",
            Self::LateWebhook => "late_webhook",
            Self::Refund => "refund",
            Self::Edit => "edit",
            Self::Cancellation => "cancellation",
            Self::Deletion => "deletion",
            Self::Backfill => "backfill",
            Self::Correction => "correction",
            Self::NewSale => "new_sale",
            Self::Merge => "merge",
            Self::Redaction => "redaction",
            Self::DefinitionChange => "definition_change",
        }
    }

    fn named(name: &str) -> Self {
        Self::ALL.into_iter().find(|cause| cause.as_str() == name).expect("one that the statement names")
    }
}

/// What one cause changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Changed {
    /// By how much.
    pub sums: DailySales,
    /// Of so many orders.
    pub orders: i64,
    /// Told by so many events.
    pub events: i64,
    /// Of those, how many told of a day that had ended.
    pub late_events: i64,
}

/// What changed, by cause and all together. An event or an order can be of several causes; a row is of one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// Those that changed anything.
    pub by_cause: BTreeMap<Cause, Changed>,
    /// Their sum.
    pub all: Changed,
}

/// What the rows of the ledger behind a position changed, up to the ledger's own, by cause: of what occurred from one
/// instant until another. `days` are the beginnings of the shop's days, from that of the first event behind the
/// position on: what occurred before the beginning of the day on which it was recorded is late.
///
/// # Errors
/// Whatever the database answers.
pub async fn since(
    connection: &mut PgConnection,
    ledger: Ledger,
    position: i64,
    (start, end): (DateTime<Utc>, DateTime<Utc>),
    currency: Currency,
    days: &[DateTime<Utc>],
) -> Result<Changes, sqlx::Error> {
    // An event that says what it is about comes before what its rows are about: a refund may change what an edit gives back.
    let rows = sqlx::query!(
        r#"SELECT r.cause AS "cause?", r.line_type AS "line_type?", r.is_initial AS "is_initial?",
                  r.is_reversal AS "is_reversal?",
                  sum(r.units)::bigint AS "units!", sum(r.gross_minor)::bigint AS "gross_minor!",
                  sum(r.discount_minor)::bigint AS "discount_minor!", sum(r.net_minor)::bigint AS "net_minor!",
                  sum(r.tax_minor)::bigint AS "tax_minor!", sum(r.orders)::bigint AS "orders!",
                  sum(r.gift_card_orders)::bigint AS "gift_card_orders!",
                  count(DISTINCT r.order_id) AS "order_count!", count(DISTINCT r.position) AS "events!",
                  count(DISTINCT r.position) FILTER (WHERE r.is_late) AS "late_events!"
           FROM (
               SELECT f.*, l.is_late,
                      CASE WHEN e.event_type = 'OrderDeleted' THEN 'deletion'
                           WHEN e.event_type = 'OrderRedacted' THEN 'redaction'
                           WHEN e.source = 'sync' THEN 'backfill'
                           WHEN e.event_type IN ('RefundIssued', 'RefundRevised') THEN 'refund'
                           WHEN e.event_type = 'OrderEdited' THEN 'edit'
                           WHEN f.reason IN ('refund', 'return') THEN 'refund'
                           WHEN f.reason = 'order_edit' THEN 'edit'
                           WHEN f.reason = 'cancel' THEN 'cancellation'
                           WHEN e.event_type <> 'OrderPlaced' THEN 'correction'
                           WHEN l.is_late THEN 'late_webhook'
                           ELSE 'new_sale' END AS cause
               FROM sale_fact f
               CROSS JOIN LATERAL (
                   SELECT event_type, metadata ->> 'source' AS source FROM events
                   WHERE shop_id = $1 AND position = f.position OFFSET 0
               ) e
               CROSS JOIN LATERAL (
                   SELECT f.occurred_at < ($8::timestamptz[])[width_bucket(f.recorded_at, $8::timestamptz[])] AS is_late
               ) l
               WHERE f.shop_id = $1 AND f.generation = $2 AND f.position > $3 AND f.position <= $4 AND f.currency = $5
                 AND f.occurred_at >= $6 AND f.occurred_at < $7
           ) r
           GROUP BY GROUPING SETS ((), (r.cause), (r.cause, r.line_type, r.is_initial, r.is_reversal))
           HAVING count(*) > 0"#,
        ledger.shop.0,
        ledger.generation,
        position,
        ledger.up_to,
        currency.code(),
        start,
        end,
        days,
    )
    .fetch_all(connection)
    .await?;
    let mut changes = Changes::default();
    for row in rows {
        let of_cause = match &row.cause {
            Some(cause) => changes.by_cause.entry(Cause::named(cause)).or_default(),
            None => &mut changes.all,
        };
        match (&row.line_type, row.is_initial, row.is_reversal) {
            (Some(line_type), Some(is_initial), Some(is_reversal)) => {
                let kind = Kind { line_type: LineType::named(line_type), is_initial, is_reversal };
                of_cause.sums += kind.sums_of(&amounts!(row));
            }
            _ => {
                (of_cause.orders, of_cause.events) = (row.order_count, row.events);
                of_cause.late_events = row.late_events;
            }
        }
    }
    for of_cause in changes.by_cause.values() {
        changes.all.sums += of_cause.sums;
    }
    Ok(changes)
}

/// Events behind a position, up to another, that move no row of the ledger and are told all the same.
///
/// # Errors
/// Whatever the database answers.
pub async fn without_rows(
    connection: &mut PgConnection,
    shop: ShopId,
    after: i64,
    up_to: i64,
) -> Result<BTreeMap<Cause, Changed>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT CASE event_type WHEN 'CustomerMerged' THEN 'merge' WHEN 'LedgerRestated' THEN 'definition_change'
                                  ELSE 'redaction' END AS "cause!",
                  count(*) AS "events!", count(DISTINCT aggregate_id) FILTER (WHERE aggregate_type = 'order') AS "orders!"
           FROM events
           WHERE shop_id = $1 AND position > $2 AND position <= $3
             AND event_type IN ('CustomerMerged', 'LedgerRestated', 'OrderRedacted', 'CustomerRedacted', 'SubjectsErased')
           GROUP BY 1"#,
        shop.0,
        after,
        up_to,
    )
    .fetch_all(connection)
    .await?;
    let changed = |orders, events| Changed { orders, events, ..Changed::default() };
    Ok(rows.into_iter().map(|row| (Cause::named(&row.cause), changed(row.orders, row.events))).collect())
}
