//! Keeping the live read models of a shop up with its log.

use domain::{Zone, shop::Shop};
use event_store::{PROJECT, ShopTx, StoreError};
use read_models::{Generation, PROJECTIONS};

use crate::{
    claim::{Claim, enqueue},
    fold::{OrderCache, Target, fold_page},
    rebuild::REBUILD,
};

/// How many events a batch takes.
pub const BATCH: i64 = 1000;
/// A read model's place in the log.
pub struct Checkpoint {
    pub projection: String,
    pub generation: Generation,
    pub position: i64,
    pub definition: u32,
    pub is_parked: bool,
}

/// Folds the next batch into every live read model that stands at the same place, and moves them on.
pub async fn project(claim: &mut Claim, cache: &mut OrderCache) -> Result<(), StoreError> {
    let mut live = live_checkpoints(&mut claim.tx).await?;
    live.retain(|checkpoint| !checkpoint.is_parked);
    // Those that lag behind (one that was parked and is tried again) catch up first.
    let Some(position) = live.iter().map(|checkpoint| checkpoint.position).min() else {
        return claim.settle(None).await;
    };
    let furthest = live.iter().map(|checkpoint| checkpoint.position).max().unwrap_or(position);
    live.retain(|checkpoint| checkpoint.position == position);

    // Never past the others: from there on they go together.
    let limit = if furthest > position { BATCH.min(furthest - position) } else { BATCH };
    let page = claim.tx.events_after(position, limit).await?;
    let Some(last) = page.last().map(|event| event.position) else {
        return claim.settle(None).await;
    };
    let targets = live.iter().filter_map(|checkpoint| Target::new(&checkpoint.projection, checkpoint.generation));
    let mut into: Vec<Target> = targets.collect();
    let folded = fold_page(&mut claim.tx, cache, &page, &mut into).await?;
    for target in &mut into {
        target.write(&mut claim.tx).await?;
    }
    for checkpoint in &live {
        advance(&mut claim.tx, checkpoint, last).await?;
    }
    if folded.shop_changed {
        rebuild_if_the_zone_changed(&mut claim.tx, &live).await?;
    }
    let is_full = i64::try_from(page.len()).is_ok_and(|count| count == limit);
    claim.settle(is_full.then_some(0.0)).await
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

/// Moves a checkpoint on, if it still stands where the batch began.
pub async fn advance(tx: &mut ShopTx, checkpoint: &Checkpoint, to: i64) -> Result<(), StoreError> {
    let shop = tx.shop();
    let moved = sqlx::query!(
        "UPDATE checkpoints
         SET position = $5, parked_at = NULL, parked_reason = NULL, parked_by = NULL
         WHERE shop_id = $1 AND projection = $2 AND generation = $3 AND position = $4",
        shop.0,
        checkpoint.projection,
        checkpoint.generation.number,
        checkpoint.position,
        to,
    )
    .execute(&mut **tx)
    .await?;
    match moved.rows_affected() {
        1 => Ok(()),
        _ => Err(StoreError::Conflict(sqlx::Error::RowNotFound)),
    }
}

/// The live generation of every read model. One that a shop does not have yet begins here, in the shop's zone.
pub async fn live_checkpoints(tx: &mut ShopTx) -> Result<Vec<Checkpoint>, StoreError> {
    let mut checkpoints = Vec::new();
    for (name, definition) in PROJECTIONS {
        let checkpoint = match live_checkpoint(tx, name).await? {
            // Deploys overlap: rows of two definitions must not stand in one generation.
            Some(checkpoint) if checkpoint.definition > definition => {
                return Err(StoreError::Newer {
                    event_type: format!("definition of {name}"),
                    event_version: checkpoint.definition.to_string(),
                });
            }
            Some(checkpoint) => checkpoint,
            None => first_generation(tx, name, definition).await?,
        };
        checkpoints.push(checkpoint);
    }
    Ok(checkpoints)
}

pub async fn live_checkpoint(tx: &mut ShopTx, name: &str) -> Result<Option<Checkpoint>, StoreError> {
    let shop = tx.shop();
    let row = sqlx::query!(
        r#"SELECT c.projection, c.generation, c.position, c.definition, c.timezone AS "timezone!",
                  c.parked_at IS NOT NULL AS "is_parked!"
           FROM checkpoints c
           JOIN live_generations l
             ON l.shop_id = c.shop_id AND l.projection = c.projection AND l.generation = c.generation
           WHERE c.shop_id = $1 AND c.projection = $2"#,
        shop.0,
        name,
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(row.map(|row| Checkpoint {
        projection: row.projection,
        generation: Generation { shop, number: row.generation, timezone: zone(&row.timezone) },
        position: row.position,
        definition: row.definition.cast_unsigned(),
        is_parked: row.is_parked,
    }))
}

pub fn zone(name: &str) -> Zone {
    name.parse().unwrap_or(Zone::UTC)
}

/// The generation that a shop begins with, which serves at once. The caller holds the shop's `project` lock.
async fn first_generation(tx: &mut ShopTx, name: &str, definition: u32) -> Result<Checkpoint, StoreError> {
    let shop = tx.shop();
    sqlx::query!(
        "INSERT INTO live_generations (shop_id, projection, generation, newest) VALUES ($1, $2, 1, 1)",
        shop.0,
        name,
    )
    .execute(&mut **tx)
    .await?;
    create_generation(tx, name, definition, 1).await
}

/// A new, empty generation beside the one that serves, in the shop's present zone.
pub async fn next_generation(tx: &mut ShopTx, name: &str, definition: u32) -> Result<Checkpoint, StoreError> {
    let shop = tx.shop();
    let number = sqlx::query_scalar!(
        "UPDATE live_generations AS l
         SET newest = 1 + GREATEST(l.newest, (SELECT max(c.generation) FROM checkpoints c
                                              WHERE c.shop_id = $1 AND c.projection = $2))
         WHERE l.shop_id = $1 AND l.projection = $2
         RETURNING newest",
        shop.0,
        name,
    )
    .fetch_one(&mut **tx)
    .await?;
    create_generation(tx, name, definition, number).await
}

async fn create_generation(
    tx: &mut ShopTx,
    name: &str,
    definition: u32,
    number: i32,
) -> Result<Checkpoint, StoreError> {
    let shop = tx.shop();
    let timezone = shop_zone(tx).await?;
    sqlx::query!(
        "INSERT INTO checkpoints (shop_id, projection, generation, timezone, definition) VALUES ($1, $2, $3, $4, $5)",
        shop.0,
        name,
        number,
        timezone.name(),
        i32::try_from(definition).expect("a small number"),
    )
    .execute(&mut **tx)
    .await?;
    let generation = Generation { shop, number, timezone };
    Ok(Checkpoint { projection: name.to_owned(), generation, position: 0, definition, is_parked: false })
}

pub async fn shop_zone(tx: &mut ShopTx) -> Result<Zone, StoreError> {
    Ok(tx.load::<Shop>(Shop::ID).await?.timezone())
}

async fn rebuild_if_the_zone_changed(tx: &mut ShopTx, live: &[Checkpoint]) -> Result<(), StoreError> {
    let timezone = shop_zone(tx).await?;
    if live.iter().any(|checkpoint| checkpoint.generation.timezone != timezone) {
        tracing::info!(shop = %tx.shop(), timezone = timezone.name(), "the shop's zone changed: rebuilding");
        enqueue(tx, REBUILD, 0.0).await?;
    }
    Ok(())
}

/// Which of a shop's read models stand in another zone than the shop does, or follow older definitions than this
/// build's.
pub async fn stale_projections(tx: &mut ShopTx) -> Result<Vec<&'static str>, StoreError> {
    let timezone = shop_zone(tx).await?;
    let mut stale = Vec::new();
    for (name, definition) in PROJECTIONS {
        if let Some(checkpoint) = live_checkpoint(tx, name).await?
            && (checkpoint.generation.timezone != timezone || checkpoint.definition < definition)
        {
            stale.push(name);
        }
    }
    Ok(stale)
}
