//! What waits of a shop, into events, now: of a batch that fails, one delivery after the other; before somebody is erased, all of it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use domain::ShopId;
use event_store::{Database, StoreError};
use ingest::{DirectoryEntry, INGEST, IngestError, Ingested};

use crate::claim::lock;

/// Finds the delivery of a batch that cannot be stored: it is put off, the others are not held up.
pub(crate) async fn ingest_one_by_one(
    database: &Database,
    shop: ShopId,
    entry: &DirectoryEntry,
) -> Result<(), StoreError> {
    for _ in 0..ingest::BATCH {
        let Some(mut tx) = lock(database, shop, INGEST).await? else {
            return Ok(());
        };
        match ingest::ingest(&mut tx, entry, 1).await {
            Ok(ingested) => {
                tx.commit().await?;
                report(shop, ingested);
                if ingested.deliveries == 0 {
                    break;
                }
            }
            Err(IngestError::Store(error)) => return Err(error),
            Err(IngestError::Deliveries(ids, error)) => {
                tx.rollback().await?;
                let Some(mut tx) = lock(database, shop, INGEST).await? else {
                    return Ok(());
                };
                let mut outcomes = Vec::with_capacity(ids.len());
                for id in ids {
                    outcomes.push(ingest::put_off(&mut tx, id, &error).await?);
                }
                tx.commit().await?;
                outcomes.into_iter().for_each(ingest::count_put_off);
            }
        }
    }
    Ok(())
}

/// Turns what waits of a shop into events, also of one that is paused: whom a delivery is about is known once it is settled.
/// `false`: some of what came before an instant still waits, as others are at it, or there is much, or it was tried and put off.
///
/// # Errors
/// [`StoreError`].
pub async fn settle_deliveries(database: &Database, shop: ShopId, before: DateTime<Utc>) -> Result<bool, StoreError> {
    const STEPS: u32 = 40;
    let mut tx = database.begin(shop).await?;
    let entry = ingest::find_by_id(&mut tx, shop).await?;
    tx.commit().await?;
    let Some(entry) = entry else { return Ok(true) };
    let mut was_put_forward = false;
    for _ in 0..STEPS {
        let Some(mut tx) = lock(database, shop, INGEST).await? else {
            tokio::time::sleep(Duration::from_millis(50)).await; // another worker is at it
            continue;
        };
        if !was_put_forward {
            // What was put off is tried now: with the body of somebody who is erased, a sale would go.
            ingest::put_forward(&mut tx).await?;
            tx.commit().await?;
            was_put_forward = true;
            continue;
        }
        match ingest::ingest(&mut tx, &entry, ingest::BATCH).await {
            Ok(ingested) => {
                tx.commit().await?;
                ingested.count();
                if !ingested.is_full {
                    let mut tx = database.begin(shop).await?;
                    return Ok(!ingest::is_any_put_off(&mut tx, before).await?);
                }
            }
            Err(IngestError::Store(error)) => return Err(error),
            Err(IngestError::Deliveries(..)) => {
                tx.rollback().await?;
                ingest_one_by_one(database, shop, &entry).await?;
            }
        }
    }
    Ok(false)
}

/// Of a batch that was committed.
pub(crate) fn report(shop: ShopId, ingested: Ingested) {
    ingested.count();
    if ingested.dead > 0 {
        tracing::warn!(%shop, dead = ingested.dead, "deliveries became dead letters");
    }
    tracing::debug!(%shop, deliveries = ingested.deliveries, events = ingested.events, "ingested");
}
