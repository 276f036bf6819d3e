//! Keeping the live read models of a shop up with its log.

use domain::{Zone, shop::Shop};
use event_store::{ShopTx, StoreError};
use read_models::{Generation, PROJECTIONS};

use crate::{
    claim::{Claim, enqueue},
    fold::{OrderCache, Target, fold_page},
    rebuild::REBUILD,
};

/// How many events a batch takes.
pub const BATCH: i64 = 1000;
/// Which build this is: a projection that an older one parked is tried again.
pub const BUILD: &str = env!("CARGO_PKG_VERSION");
/// How long a parked projection rests before somebody looks whether the build is another.
const PARKED_REST_S: f64 = 30.0;

/// A read model's place in the log.
pub struct Checkpoint {
    pub projection: String,
    pub generation: Generation,
    pub position: i64,
    pub parked_by: Option<String>,
}

/// Folds the next batch into every live read model that stands at the same place, and moves them on.
pub async fn project(claim: &mut Claim, cache: &mut OrderCache) -> Result<(), StoreError> {
    let live = live_checkpoints(&mut claim.tx).await?;
    let (parked, mut live): (Vec<_>, Vec<_>) =
        live.into_iter().partition(|checkpoint| checkpoint.parked_by.as_deref() == Some(BUILD));
    // Those that lag behind (one that was parked and is tried again) catch up first.
    let Some(position) = live.iter().map(|checkpoint| checkpoint.position).min() else {
        return claim.settle(Some(PARKED_REST_S)).await;
    };
    let furthest = live.iter().map(|checkpoint| checkpoint.position).max().unwrap_or(position);
    live.retain(|checkpoint| checkpoint.position == position);

    // Never past the others: from there on they go together.
    let limit = if furthest > position { BATCH.min(furthest - position) } else { BATCH };
    let page = claim.tx.events_after(position, limit).await?;
    let Some(last) = page.last().map(|event| event.position) else {
        return claim.settle((!parked.is_empty()).then_some(PARKED_REST_S)).await;
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
    claim.settle(if is_full { Some(0.0) } else { (!parked.is_empty()).then_some(PARKED_REST_S) }).await
}

/// Marks the read models that stand at the event that could not be digested. They stay there, visibly, until a newer
/// build tries again; the shop's other work goes on.
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
           AND c.position = (SELECT min(p.position)
                             FROM checkpoints p
                             JOIN live_generations q ON q.shop_id = p.shop_id AND q.projection = p.projection
                                                    AND q.generation = p.generation
                             WHERE p.shop_id = $1)",
        shop.0,
        position,
        error.to_string(),
        BUILD,
    )
    .execute(&mut *claim.tx)
    .await?;
    claim.settle(Some(PARKED_REST_S)).await
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
            Some(checkpoint) => checkpoint,
            None => create_generation(tx, name, definition, true).await?,
        };
        checkpoints.push(checkpoint);
    }
    Ok(checkpoints)
}

pub async fn live_checkpoint(tx: &mut ShopTx, name: &str) -> Result<Option<Checkpoint>, StoreError> {
    let shop = tx.shop();
    let row = sqlx::query!(
        r#"SELECT c.projection, c.generation, c.position, c.timezone AS "timezone!", c.parked_by
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
        parked_by: row.parked_by,
    }))
}

pub fn zone(name: &str) -> Zone {
    name.parse().unwrap_or(Zone::UTC)
}

/// A new, empty generation in the shop's present zone.
pub async fn create_generation(
    tx: &mut ShopTx,
    name: &str,
    definition: u32,
    live: bool,
) -> Result<Checkpoint, StoreError> {
    let shop = tx.shop();
    let timezone = shop_zone(tx).await?;
    let number = sqlx::query_scalar!(
        r#"INSERT INTO checkpoints (shop_id, projection, generation, timezone, definition)
           SELECT $1, $2, COALESCE(max(generation), 0) + 1, $3, $4
           FROM checkpoints
           WHERE shop_id = $1 AND projection = $2
           RETURNING generation"#,
        shop.0,
        name,
        timezone.name(),
        i32::try_from(definition).expect("a small number"),
    )
    .fetch_one(&mut **tx)
    .await?;
    if live {
        sqlx::query!(
            "INSERT INTO live_generations (shop_id, projection, generation) VALUES ($1, $2, $3)",
            shop.0,
            name,
            number,
        )
        .execute(&mut **tx)
        .await?;
    }
    let generation = Generation { shop, number, timezone };
    Ok(Checkpoint { projection: name.to_owned(), generation, position: 0, parked_by: None })
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

/// Whether a shop's read models stand in another zone than the shop does.
pub async fn stale_projections(tx: &mut ShopTx) -> Result<Vec<&'static str>, StoreError> {
    let timezone = shop_zone(tx).await?;
    let mut stale = Vec::new();
    for (name, _) in PROJECTIONS {
        if let Some(checkpoint) = live_checkpoint(tx, name).await?
            && checkpoint.generation.timezone != timezone
        {
            stale.push(name);
        }
    }
    Ok(stale)
}
