//! Keeping the live read models of a shop up with its log.

use event_store::{PROJECT, ShopTx, StoreError};
use ingest::enqueue;

use crate::{
    checkpoint::{Checkpoint, advance, live_checkpoints, shop_zone},
    claim::{Claim, REBUILD},
    fold::{OrderCache, Target, fold_page},
};

/// How many events a batch takes.
pub const BATCH: i64 = 1000;

/// Folds the next batch into every live read model that stands at the same place, and moves them on. Returns how
/// many events it were.
pub async fn project(claim: &mut Claim, cache: &mut OrderCache) -> Result<u64, StoreError> {
    let mut live = live_checkpoints(&mut claim.tx).await?;
    live.retain(|checkpoint| !checkpoint.is_parked);
    // Those that lag behind (one that was parked and is tried again) catch up first.
    let Some(position) = live.iter().map(|checkpoint| checkpoint.position).min() else {
        return claim.settle(None).await.map(|()| 0);
    };
    let furthest = live.iter().map(|checkpoint| checkpoint.position).max().unwrap_or(position);
    live.retain(|checkpoint| checkpoint.position == position);

    // Never past the others: from there on they go together.
    let limit = if furthest > position { BATCH.min(furthest - position) } else { BATCH };
    let page = claim.tx.events_after(position, limit).await?;
    let Some(last) = page.rows.last().map(|event| event.position) else {
        return claim.settle(None).await.map(|()| 0);
    };
    let targets = live.iter().filter_map(|checkpoint| Target::new(&checkpoint.projection, checkpoint.generation));
    let mut into: Vec<Target> = targets.collect();
    let folded = fold_page(&mut claim.tx, cache, &page.rows, &mut into).await?;
    for checkpoint in &live {
        advance(&mut claim.tx, checkpoint, folded.up_to).await?;
    }
    if folded.shop_changed {
        rebuild_if_the_zone_changed(&mut claim.tx, &live).await?;
    }
    let has_more = folded.up_to < last || page.is_full;
    claim.settle(has_more.then_some(0.0)).await?;
    let folded = page.rows.iter().take_while(|event| event.position <= folded.up_to).count();
    Ok(u64::try_from(folded).unwrap_or(u64::MAX))
}

/// Marks the read models that stand at the event that could not be digested. They stay there, visibly, until a worker
/// starts, which may be a mended build; the shop's other work goes on.
pub async fn park(claim: &mut Claim, error: &StoreError) -> Result<(), StoreError> {
    let shop = claim.tx.shop();
    let position = match error {
        StoreError::Unreadable { position, .. } => *position,
        _ => 0,
    };
    sqlx::query!(
        "UPDATE checkpoints AS c
         SET parked_at = $2, parked_reason = $3, parked_by = $4
         FROM live_generations l
         WHERE c.shop_id = $1 AND l.shop_id = c.shop_id AND l.projection = c.projection AND l.generation = c.generation
           AND c.parked_at IS NULL
           AND c.position = (SELECT min(p.position)
                             FROM checkpoints p
                             JOIN live_generations q ON q.shop_id = p.shop_id AND q.projection = p.projection
                                                    AND q.generation = p.generation
                             WHERE p.shop_id = $1 AND p.parked_at IS NULL)",
        shop.0,
        position,
        error.to_string(),
        env!("CARGO_PKG_VERSION"),
    )
    .execute(&mut *claim.tx)
    .await?;
    // Another read model may stand elsewhere and go on.
    claim.settle(Some(0.0)).await
}

/// Lets parked read models be tried again.
pub async fn unpark(tx: &mut ShopTx) -> Result<(), StoreError> {
    let shop = tx.shop();
    let unparked = sqlx::query!(
        "UPDATE checkpoints SET parked_at = NULL, parked_reason = NULL, parked_by = NULL
         WHERE shop_id = $1 AND parked_at IS NOT NULL",
        shop.0
    )
    .execute(&mut **tx)
    .await?;
    if unparked.rows_affected() > 0 {
        enqueue(tx, PROJECT, 0.0).await?;
    }
    Ok(())
}

async fn rebuild_if_the_zone_changed(tx: &mut ShopTx, live: &[Checkpoint]) -> Result<(), StoreError> {
    let timezone = shop_zone(tx).await?;
    if live.iter().any(|checkpoint| checkpoint.generation.timezone != timezone) {
        tracing::info!(shop = %tx.shop(), timezone = timezone.name(), "the shop's zone changed: rebuilding");
        enqueue(tx, REBUILD, 0.0).await?;
    }
    Ok(())
}
