//! Looking at the inbox, driving deliveries again, and letting old bodies go.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use domain::{Digest, ShopId};
use event_store::{Database, Page, ShopTx, StoreError, shop_key};
use serde::Serialize;
use sqlx::PgConnection;
use uuid::Uuid;
use vault::ShopKey;

use crate::{INGEST, enqueue};

/// Bodies that are in memory at once: so many, and about so many bytes.
const PAGE: i64 = 200;
const PAGE_BYTES: usize = 4 << 20;

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum InboxStatus {
    /// Not looked at yet, or put off.
    Pending,
    /// Its news is in the log.
    Translated,
    /// Kept; no figure depends on it.
    Ignored,
    /// It could not be read; the reason says why.
    Dead,
}

impl InboxStatus {
    /// As the column has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Translated => "translated",
            Self::Ignored => "ignored",
            Self::Dead => "dead",
        }
    }
}

impl FromStr for InboxStatus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Pending, Self::Translated, Self::Ignored, Self::Dead]
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| format!("`{text}` is none of pending, translated, ignored, dead"))
    }
}

/// A delivery without its body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InboxItem {
    /// Ours.
    pub id: Uuid,
    /// `orders/create` …
    pub topic: String,
    /// Shopify's.
    pub webhook_id: String,
    /// When it reached us.
    pub received_at: DateTime<Utc>,
    /// What became of it.
    pub status: String,
    /// Why, where there is a why.
    pub reason: Option<String>,
    /// What was odd about it.
    pub note: Option<String>,
    /// Failed attempts to store it.
    pub attempts: i32,
}

/// How many deliveries there are of each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct InboxCounts {
    /// Not turned into events yet.
    pub pending: i64,
    /// Turned into events.
    pub translated: i64,
    /// Kept and not counted.
    pub ignored: i64,
    /// Dead letters.
    pub dead: i64,
}

/// A shop's newest deliveries, of one status or of all.
///
/// # Errors
/// [`StoreError::Unavailable`].
pub async fn list(tx: &mut ShopTx, status: Option<InboxStatus>, limit: i64) -> Result<Vec<InboxItem>, StoreError> {
    let shop = tx.shop();
    Ok(sqlx::query_as!(
        InboxItem,
        "SELECT id, topic, webhook_id, received_at, status, reason, note, attempts
         FROM inbox
         WHERE shop_id = $1 AND ($2::text IS NULL OR status = $2)
         ORDER BY received_at DESC, id DESC
         LIMIT $3",
        shop.0,
        status.map(InboxStatus::as_str),
        limit,
    )
    .fetch_all(&mut **tx)
    .await?)
}

/// A shop's deliveries by status.
///
/// # Errors
/// [`StoreError::Unavailable`].
pub async fn counts(tx: &mut ShopTx) -> Result<InboxCounts, StoreError> {
    let shop = tx.shop();
    Ok(sqlx::query_as!(
        InboxCounts,
        r#"SELECT count(*) FILTER (WHERE status = 'pending') AS "pending!",
                  count(*) FILTER (WHERE status = 'translated') AS "translated!",
                  count(*) FILTER (WHERE status = 'ignored') AS "ignored!",
                  count(*) FILTER (WHERE status = 'dead') AS "dead!"
           FROM inbox
           WHERE shop_id = $1"#,
        shop.0,
    )
    .fetch_one(&mut **tx)
    .await?)
}

/// How many of the shop's deliveries are dead letters.
///
/// # Errors
/// [`StoreError::Unavailable`].
pub async fn dead_letters(tx: &mut ShopTx) -> Result<i64, StoreError> {
    let shop = tx.shop();
    Ok(sqlx::query_scalar!(r#"SELECT count(*) AS "count!" FROM inbox WHERE shop_id = $1 AND status = 'dead'"#, shop.0)
        .fetch_one(&mut **tx)
        .await?)
}

/// How many deliveries are of shops that are not registered, and some of these shops' domains.
///
/// # Errors
/// [`StoreError::Unavailable`].
pub async fn unclaimed(connection: &mut PgConnection, limit: i64) -> Result<(i64, Vec<String>), StoreError> {
    let count = sqlx::query_scalar!(r#"SELECT count(*) AS "count!" FROM inbox_unclaimed"#);
    let count = count.fetch_one(&mut *connection).await?;
    let domains =
        sqlx::query_scalar!("SELECT domain FROM inbox_unclaimed GROUP BY domain ORDER BY domain LIMIT $1", limit);
    Ok((count, domains.fetch_all(connection).await?))
}

/// Makes deliveries of one status pending again, those received since an instant or all whose body is still there.
/// Returns how many. What a body said before is known already, so that driving it again has no effect twice.
///
/// # Errors
/// [`StoreError::Unavailable`].
pub async fn retry(tx: &mut ShopTx, status: InboxStatus, since: Option<DateTime<Utc>>) -> Result<u64, StoreError> {
    let shop = tx.shop();
    let done = sqlx::query!(
        "UPDATE inbox
         SET status = 'pending', attempts = 0, reason = NULL, settled_at = NULL, due_at = now()
         WHERE shop_id = $1 AND status = $3 AND body IS NOT NULL AND ($2::timestamptz IS NULL OR received_at >= $2)",
        shop.0,
        since,
        status.as_str(),
    )
    .execute(&mut **tx)
    .await?;
    enqueue(tx, INGEST, 0.0).await?;
    Ok(done.rows_affected())
}

/// Whether the bodies of all deliveries are kept that came, and were sent, since an instant.
pub(crate) async fn keeps_all_bodies(tx: &mut ShopTx, since: DateTime<Utc>) -> Result<bool, StoreError> {
    let shop = tx.shop();
    let kept = sqlx::query_scalar!(
        r#"SELECT NOT EXISTS (
               SELECT FROM inbox
               WHERE shop_id = $1 AND received_at >= $2 AND (triggered_at IS NULL OR triggered_at >= $2)
                 AND body IS NULL) AS "kept!""#,
        shop.0,
        since,
    );
    Ok(kept.fetch_one(&mut **tx).await?)
}

/// Under these topics Shopify asks about persons and the shop.
pub const REQUEST_TOPICS: [&str; 5] =
    ["shop/redact", "customers/redact", "customer/redact", "customers/data_request", "customer/data_request"];

/// When the first delivery was sent, or came, that was sent after the app was removed, but for those that Shopify sends about that.
pub(crate) async fn first_sent_after(
    tx: &mut ShopTx,
    removed_at: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, StoreError> {
    let shop = tx.shop();
    let of_removal = [&["app/uninstalled"][..], &REQUEST_TOPICS].concat();
    let first = sqlx::query_scalar!(
        "SELECT min(LEAST(received_at, triggered_at)) FROM inbox
         WHERE shop_id = $1 AND source = 'webhook' AND triggered_at > $2 AND received_at > $2 AND topic <> ALL ($3)",
        shop.0,
        removed_at,
        &of_removal.into_iter().map(str::to_owned).collect::<Vec<_>>(),
    );
    Ok(first.fetch_one(&mut **tx).await?)
}

/// A delivery as it is given to another shop.
struct Given {
    id: Uuid,
    webhook_id: String,
    body_digest: Vec<u8>,
    source: String,
    topic: String,
    triggered_at: Option<DateTime<Utc>>,
    event_id: Option<String>,
    received_at: DateTime<Utc>,
    note: Option<String>,
    body: Vec<u8>,
}

/// What a delivery is known by, once its body has another digest, which stands in it where it came without an id.
pub(crate) fn known_as(webhook_id: &str, former: &[u8], digest: Digest) -> String {
    webhook_id.replace(&hex::encode(former), &digest.to_string())
}

/// Gives another shop the deliveries that came, and were sent, since an instant, as they came, and leaves it the work of
/// settling them. The transaction is turned to one shop and to the other, and is the first one's at the end.
pub(crate) async fn give_deliveries(
    tx: &mut ShopTx,
    key: &ShopKey,
    to: ShopId,
    since: DateTime<Utc>,
) -> Result<u64, StoreError> {
    let from = tx.shop();
    let (mut after, mut given) = (Uuid::nil(), 0);
    loop {
        let mut page = Page::of_at_most(PAGE, PAGE_BYTES);
        while let Some(count) = page.wants() {
            let deliveries = sqlx::query_as!(
                Given,
                r#"SELECT id, webhook_id, body_digest, source, topic, triggered_at, event_id, received_at, note, body AS "body!"
                   FROM inbox
                   WHERE shop_id = $1 AND id > $2 AND received_at >= $3 AND (triggered_at IS NULL OR triggered_at >= $3)
                     AND body IS NOT NULL
                   ORDER BY id
                   LIMIT $4"#,
                from.0,
                page.rows.last().map_or(after, |last: &Given| last.id),
                since,
                count,
            );
            page.take(count, deliveries.fetch(&mut **tx), |delivery| delivery.body.len()).await?;
        }
        let Some(last) = page.rows.last() else { break };
        after = last.id;
        tx.turn_to(to).await?;
        let new_key = shop_key(tx).await?;
        for delivery in page.rows {
            // What does not open is nobody's any more.
            let Ok(body) = key.body(delivery.id).open(&delivery.body) else { continue };
            let digest = new_key.body_digest(&body);
            // An earlier release knew a body by another digest: what it stored may have been stored again.
            let done = sqlx::query!(
                "INSERT INTO inbox (shop_id, id, webhook_id, body_digest, source, topic, triggered_at, event_id, received_at,
                                    note, body, due_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, now())
                 ON CONFLICT ON CONSTRAINT inbox_delivery_key DO NOTHING",
                to.0,
                delivery.id,
                known_as(&delivery.webhook_id, &delivery.body_digest, digest),
                digest.0.as_slice(),
                delivery.source,
                delivery.topic,
                delivery.triggered_at,
                delivery.event_id,
                delivery.received_at,
                delivery.note,
                new_key.body(delivery.id).seal(&body),
            )
            .execute(&mut **tx)
            .await?;
            given += done.rows_affected();
        }
        enqueue(tx, INGEST, 0.0).await?;
        tx.turn_to(from).await?;
    }
    Ok(given)
}

/// Dead letters can be driven again for so long, whatever the retention of bodies.
const DEAD_RETENTION_DAYS: i32 = 90;

/// Lets go of a shop's settled bodies that are older than `days`; a dead letter's is kept for 90 days at least.
///
/// # Errors
/// [`StoreError::Unavailable`].
pub async fn purge_bodies(tx: &mut ShopTx, days: i32) -> Result<u64, StoreError> {
    let shop = tx.shop();
    let done = sqlx::query!(
        "WITH old AS (
             SELECT id FROM inbox
             WHERE shop_id = $1 AND body IS NOT NULL AND status <> 'pending'
               AND received_at < now() - make_interval(days => CASE WHEN status = 'dead' THEN GREATEST($2::int, $3) ELSE $2 END)
             LIMIT 1000
         ), names AS (
             DELETE FROM inbox_subjects WHERE shop_id = $1 AND inbox_id IN (SELECT id FROM old)
         )
         UPDATE inbox SET body = NULL WHERE shop_id = $1 AND id IN (SELECT id FROM old)",
        shop.0,
        days,
        DEAD_RETENTION_DAYS,
    )
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected())
}

/// Lets go of deliveries for shops that did not register within seven days.
///
/// # Errors
/// [`StoreError::Unavailable`].
pub async fn purge_unclaimed(database: &Database) -> Result<u64, StoreError> {
    let mut fleet = database.begin_fleet().await?;
    let done = sqlx::query!("DELETE FROM inbox_unclaimed WHERE received_at < now() - interval '7 days'")
        .execute(&mut *fleet)
        .await?;
    fleet.commit().await?;
    Ok(done.rows_affected())
}
