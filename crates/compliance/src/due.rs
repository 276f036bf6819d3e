//! Which requests about persons and shops there are, whoever made them, and by when each must be answered.

use chrono::{DateTime, TimeDelta, Utc};
use domain::{export::Export, redaction::Redaction};
use event_store::{ShopTx, StoreError};
use ingest::REQUEST_TOPICS;

use crate::folded;

/// By when Shopify and the law want an answer.
pub const DEADLINE: TimeDelta = TimeDelta::days(30);

/// A request, by what it makes us do.
#[derive(Debug, Clone)]
pub enum Demand {
    /// That somebody be erased.
    Redaction(Box<Redaction>),
    /// That somebody be told what is kept.
    Export(Export),
}

/// A request of a shop's.
#[derive(Debug, Clone)]
pub struct Demanded {
    /// Of the redaction or the export.
    pub id: String,
    /// Where it stands in the shop's log.
    pub position: i64,
    /// What is asked.
    pub demand: Demand,
}

impl Demanded {
    /// `customer_data`, `customer_redaction` or `shop_redaction`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match &self.demand {
            Demand::Export(_) => "customer_data",
            Demand::Redaction(asked) if asked.request.as_ref().is_some_and(|asked| asked.is_of_shop()) => {
                "shop_redaction"
            }
            Demand::Redaction(_) => "customer_redaction",
        }
    }

    /// When it reached us, at whose word, and why.
    #[must_use]
    pub fn received(&self) -> Option<(DateTime<Utc>, &str, &str)> {
        match &self.demand {
            Demand::Export(export) => export.request.as_ref().map(|asked| (asked.at, &*asked.by, &*asked.reason)),
            Demand::Redaction(redaction) => {
                redaction.request.as_ref().map(|asked| (asked.at, &*asked.by, &*asked.reason))
            }
        }
    }

    /// Somebody still waits for it.
    #[must_use]
    pub fn is_open(&self) -> bool {
        match &self.demand {
            Demand::Export(export) => export.is_open(),
            Demand::Redaction(redaction) => redaction.is_open(),
        }
    }

    /// When it was answered or taken back.
    #[must_use]
    pub fn done_at(&self) -> Option<DateTime<Utc>> {
        match &self.demand {
            Demand::Export(export) => export.fetched_at,
            Demand::Redaction(redaction) => {
                redaction.receipt.as_ref().map(|receipt| receipt.at).or(redaction.cancelled_at)
            }
        }
    }
}

/// At most `limit` of a shop's requests, the newest first, those before a position of the log.
///
/// # Errors
/// [`StoreError`].
pub async fn demands(tx: &mut ShopTx, before: i64, limit: i64) -> Result<Vec<Demanded>, StoreError> {
    let shop = tx.shop();
    let rows = sqlx::query!(
        "SELECT e.position, e.aggregate_type, e.aggregate_id
         FROM (
             SELECT position, aggregate_type, aggregate_id FROM events
             WHERE shop_id = $1 AND aggregate_type IN ('redaction', 'export') AND sequence = 1 OFFSET 0
         ) e
         WHERE e.position < $2
         ORDER BY e.position DESC
         LIMIT $3",
        shop.0,
        before,
        limit,
    )
    .fetch_all(&mut **tx)
    .await?;
    let ids = |kind: &str| -> Vec<String> {
        rows.iter().filter(|row| row.aggregate_type == kind).map(|row| row.aggregate_id.clone()).collect()
    };
    let (redactions, exports) = (ids("redaction"), ids("export"));
    let mut redactions = folded::<Redaction>(tx, &redactions, i64::MAX).await?;
    let mut exports = folded::<Export>(tx, &exports, i64::MAX).await?;
    let mut demanded = Vec::with_capacity(rows.len());
    for row in rows {
        let demand = match row.aggregate_type.as_str() {
            "redaction" => redactions.remove(&row.aggregate_id).map(Box::new).map(Demand::Redaction),
            _ => exports.remove(&row.aggregate_id).map(Demand::Export),
        };
        demanded.extend(demand.map(|demand| Demanded { id: row.aggregate_id, position: row.position, demand }));
    }
    Ok(demanded)
}

/// How many requests of a shop wait to be answered, and when the first of them reached us. A delivery is one before anything has
/// read it: what waits for a paused shop, and what cannot be read, while its body is kept.
///
/// # Errors
/// [`StoreError::Unavailable`].
pub async fn waiting(tx: &mut ShopTx) -> Result<(i64, Option<DateTime<Utc>>), StoreError> {
    let shop = tx.shop();
    let row = sqlx::query!(
        r#"SELECT count(*) AS "count!", min(w.at) AS oldest FROM (
           SELECT (e.payload #>> ARRAY[e.event_type, 'at'])::timestamptz AS at
           FROM events e
           WHERE e.shop_id = $1 AND e.aggregate_type IN ('redaction', 'export') AND e.sequence = 1
             AND NOT EXISTS (
                 SELECT FROM events d
                 WHERE d.shop_id = $1 AND d.aggregate_type = e.aggregate_type AND d.aggregate_id = e.aggregate_id
                   AND (d.event_type IN ('RedactionCertified', 'RedactionCancelled')
                        OR d.event_type = 'ExportFetched' AND NOT EXISTS (
                            -- of an earlier release: the list of those among whom somebody has chosen since
                            SELECT FROM events c
                            WHERE c.shop_id = $1 AND c.aggregate_type = 'export' AND c.aggregate_id = d.aggregate_id
                              AND c.event_type = 'ExportChosen' AND c.sequence > d.sequence)
                        OR d.event_type = 'ExportGone' AND d.payload #>> '{ExportGone,why}' = 'redacted'))
           UNION ALL
           SELECT received_at FROM inbox
           WHERE shop_id = $1 AND status = 'pending' AND topic = ANY ($2)
           UNION ALL
           SELECT received_at FROM inbox
           WHERE shop_id = $1 AND status = 'dead' AND topic = ANY ($2) AND body IS NOT NULL) w"#,
        shop.0,
        &REQUEST_TOPICS.map(str::to_owned),
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok((row.count, row.oldest))
}
