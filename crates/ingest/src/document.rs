//! Documents of the Admin API: made durable in the inbox like deliveries, and turned into events by the same worker.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use event_store::{ShopTx, StoreError};
use shopify::ORDER_DOCUMENT;
use uuid::Uuid;
use vault::ShopKey;

/// Stores documents of orders, sealed. Returns how many were not stored before: one of the same bytes is known. One that is
/// known and waits, or could not be read, is taken over: it is received anew, and tried again.
///
/// # Errors
/// [`StoreError::Unavailable`].
pub async fn store_documents(
    tx: &mut ShopTx,
    key: &ShopKey,
    documents: &[Vec<u8>],
    received_at: DateTime<Utc>,
) -> Result<u64, StoreError> {
    let shop = tx.shop();
    // In one order, so that two who store the same ones wait for each other and no more.
    let by_digest: BTreeMap<_, _> = documents.iter().map(|document| (key.body_digest(document), document)).collect();
    let (mut ids, mut keys, mut digests, mut bodies) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (digest, document) in by_digest {
        let id = Uuid::now_v7();
        ids.push(id);
        keys.push(format!("sync:{digest}"));
        digests.push(digest.0.to_vec());
        bodies.push(key.body(id).seal(document));
    }
    let stored = sqlx::query_scalar!(
        r#"WITH stored AS (
               INSERT INTO inbox AS i (shop_id, id, webhook_id, body_digest, topic, received_at, body, due_at, source)
               SELECT $1, n.id, n.webhook_id, n.body_digest, $2, $3, n.body, now(), 'sync'
               FROM UNNEST($4::uuid[], $5::text[], $6::bytea[], $7::bytea[]) AS n (id, webhook_id, body_digest, body)
               ON CONFLICT ON CONSTRAINT inbox_delivery_key DO UPDATE
               SET received_at = excluded.received_at, status = 'pending', attempts = 0, reason = NULL, settled_at = NULL,
                   due_at = now()
               WHERE i.source = 'sync' AND i.status IN ('pending', 'dead') AND i.body IS NOT NULL
               RETURNING xmax = 0 AS is_new
           ), work AS (
               INSERT INTO work_queue (shop_id, kind, due_at) SELECT $1, 'ingest', now() FROM stored LIMIT 1
           )
           SELECT count(*) FILTER (WHERE is_new) AS "stored!" FROM stored"#,
        shop.0,
        ORDER_DOCUMENT,
        received_at,
        &ids,
        &keys,
        &digests,
        &bodies,
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(stored.unsigned_abs())
}

/// How far the documents received at an instant are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DocumentsLeft {
    /// Not translated yet.
    pub pending: i64,
    /// Where the shop's log ends.
    pub head: i64,
    /// Up to where all its read models have followed.
    pub followed: i64,
    /// A read model stands still at an event that it cannot digest.
    pub is_parked: bool,
    /// The shop's inbox is not worked on.
    pub is_paused: bool,
}

/// See [`DocumentsLeft`].
///
/// # Errors
/// [`StoreError`].
pub async fn documents_left(tx: &mut ShopTx, received_at: DateTime<Utc>) -> Result<DocumentsLeft, StoreError> {
    let shop = tx.shop();
    Ok(sqlx::query_as!(
        DocumentsLeft,
        r#"SELECT (SELECT count(*) FROM inbox i
                   WHERE i.shop_id = $1 AND i.status = 'pending' AND i.source = 'sync' AND i.received_at = $2) AS "pending!",
                  h.position AS head, COALESCE(c.followed, 0) AS "followed!", COALESCE(c.is_parked, false) AS "is_parked!",
                  EXISTS (SELECT FROM directory d WHERE d.shop_id = $1 AND d.paused_at IS NOT NULL) AS "is_paused!"
           FROM heads h
           CROSS JOIN LATERAL (
               SELECT min(c.position) AS followed, bool_or(c.parked_at IS NOT NULL) AS is_parked
               FROM live_generations l
               JOIN checkpoints c
                 ON c.shop_id = l.shop_id AND c.projection = l.projection AND c.generation = l.generation
               WHERE l.shop_id = $1
           ) c
           WHERE h.shop_id = $1"#,
        shop.0,
        received_at,
    )
    .fetch_one(&mut **tx)
    .await?)
}

/// What became of the documents received at an instant: status, reason, how many.
///
/// # Errors
/// [`StoreError::Unavailable`].
pub async fn documents_by_outcome(
    tx: &mut ShopTx,
    received_at: DateTime<Utc>,
) -> Result<Vec<(String, Option<String>, i64)>, StoreError> {
    let shop = tx.shop();
    let rows = sqlx::query!(
        r#"SELECT status, reason, count(*) AS "count!"
           FROM inbox
           WHERE shop_id = $1 AND source = 'sync' AND received_at = $2
           GROUP BY status, reason
           ORDER BY count(*) DESC, reason"#,
        shop.0,
        received_at,
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows.into_iter().map(|row| (row.status, row.reason, row.count)).collect())
}
