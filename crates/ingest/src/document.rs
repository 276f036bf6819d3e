//! Documents of the Admin API: made durable in the inbox like deliveries, and turned into events by the same worker.

use chrono::{DateTime, Utc};
use event_store::{ShopTx, StoreError};
use shopify::{ORDER_DOCUMENT, body_digest};
use uuid::Uuid;
use vault::ShopKey;

/// Stores documents of orders, sealed. Returns how many were not stored before: one of the same bytes is known.
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
    let (mut ids, mut keys, mut digests, mut bodies) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for document in documents {
        let id = Uuid::now_v7();
        let digest = body_digest(document);
        ids.push(id);
        keys.push(format!("sync:{digest}"));
        digests.push(digest.0.to_vec());
        bodies.push(key.body(id).seal(document));
    }
    let stored = sqlx::query_scalar!(
        r#"WITH stored AS (
               INSERT INTO inbox (shop_id, id, webhook_id, body_digest, topic, received_at, body, due_at, source)
               SELECT $1, n.id, n.webhook_id, n.body_digest, $2, $3, n.body, now(), 'sync'
               FROM UNNEST($4::uuid[], $5::text[], $6::bytea[], $7::bytea[]) AS n (id, webhook_id, body_digest, body)
               ON CONFLICT ON CONSTRAINT inbox_delivery_key DO NOTHING
               RETURNING id
           ), work AS (
               INSERT INTO work_queue (shop_id, kind, due_at) SELECT $1, 'ingest', now() FROM stored LIMIT 1
           )
           SELECT count(*) AS "stored!" FROM stored"#,
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

/// Of the documents received at an instant, how many are not translated yet; and how many events of the shop's log its
/// read models have not followed yet.
///
/// # Errors
/// [`StoreError::Unavailable`].
pub async fn documents_left(tx: &mut ShopTx, received_at: DateTime<Utc>) -> Result<(i64, i64), StoreError> {
    let shop = tx.shop();
    let left = sqlx::query!(
        r#"SELECT (SELECT count(*) FROM inbox i
                   WHERE i.shop_id = $1 AND i.status = 'pending' AND i.source = 'sync' AND i.received_at = $2) AS "pending!",
                  h.position - COALESCE((
                      SELECT min(c.position) FROM live_generations l
                      JOIN checkpoints c
                        ON c.shop_id = l.shop_id AND c.projection = l.projection AND c.generation = l.generation
                      WHERE l.shop_id = $1 AND c.parked_at IS NULL), h.position) AS "events!"
           FROM heads h
           WHERE h.shop_id = $1"#,
        shop.0,
        received_at,
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok((left.pending, left.events))
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
