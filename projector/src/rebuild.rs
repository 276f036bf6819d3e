//! Rebuilding a read model: a new generation is filled beside the one that serves, compared with it at the same place,
//! and put in its place by one row. Every step is a bounded transaction and can be resumed by whoever comes next.

use std::{collections::BTreeMap, time::Duration};

use domain::{
    Command, ShopId, Zone,
    shop::{Restatement, ShopCommand},
};
use event_store::{Database, Envelope, Metadata, ShopTx, StoreError};
use read_models::{Generation, PROJECTIONS, projection};

use crate::{
    checkpoint::{Checkpoint, advance, live_checkpoint, live_checkpoints, next_generation, shop_zone, zone},
    claim::{REBUILD, lock},
    fold::{OrderCache, Target, fold_page},
    metrics::count_rebuild,
};

/// How many rows of an old generation a transaction deletes.
const DELETE_STEP: i64 = 20_000;

/// What to rebuild, and how far.
#[derive(Debug, Clone)]
pub struct RebuildOptions {
    /// `sales`, `orders`.
    pub projection: String,
    /// Compare with the live generation and throw the new one away.
    pub check_only: bool,
    /// How many events a transaction folds.
    pub step: i64,
}

impl RebuildOptions {
    /// A whole rebuild, in usual steps.
    #[must_use]
    pub fn of(projection: &str) -> Self {
        Self { projection: projection.to_owned(), check_only: false, step: 5000 }
    }
}

/// What a rebuild found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebuilt {
    /// The generation that serves now.
    pub generation: i32,
    /// How many events were folded.
    pub events: i64,
    /// Old and new at the same place.
    pub comparison: Comparison,
    /// Whether the new one serves.
    pub switched: bool,
}

/// The sums of two generations at one position.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Comparison {
    /// Where they were compared.
    pub position: i64,
    /// Of the one that served.
    pub before: BTreeMap<String, i64>,
    /// Of the new one.
    pub after: BTreeMap<String, i64>,
}

impl Comparison {
    /// Every figure is the same.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        self.before == self.after
    }
}

/// Rebuilds one read model of a shop. `progress` is told the position reached and the head.
///
/// # Errors
/// [`StoreError`]; what was filled stays and is gone on with next time, as when this is dropped half-way.
/// [`StoreError::Conflict`] when another rebuild of the shop was there first.
pub async fn rebuild(
    database: &Database,
    shop: ShopId,
    options: RebuildOptions,
    progress: impl FnMut(i64, i64),
) -> Result<Rebuilt, StoreError> {
    let name = options.projection.clone();
    let rebuilt = rebuild_in_steps(database, shop, options, progress).await;
    let outcome = match &rebuilt {
        Ok(rebuilt) if rebuilt.switched => "switched",
        Ok(_) => "compared",
        Err(_) => "failed",
    };
    count_rebuild(&name, outcome);
    rebuilt
}

async fn rebuild_in_steps(
    database: &Database,
    shop: ShopId,
    options: RebuildOptions,
    mut progress: impl FnMut(i64, i64),
) -> Result<Rebuilt, StoreError> {
    let name = options.projection.as_str();
    let (mut checkpoint, definition) = start(database, shop, name).await?;
    let mut cache = OrderCache::with_capacity(5_000);
    let mut events = 0;
    loop {
        let mut tx = hold(database, shop).await?;
        refresh(&mut tx, &mut checkpoint).await?;
        let before = checkpoint.position;
        fold_step(&mut tx, &mut cache, &mut checkpoint, options.step).await?;
        let (head, _) = tx.head().await?;
        tx.commit().await?;
        events += checkpoint.position - before;
        progress(checkpoint.position, head);
        if checkpoint.position == before {
            break;
        }
    }
    let rebuilt = switch(database, shop, &mut cache, &mut checkpoint, definition, &options).await?;
    delete_abandoned(database, shop, name).await?;
    Ok(Rebuilt { events, ..rebuilt })
}

/// One rebuild of a shop at a time, across processes.
async fn hold(database: &Database, shop: ShopId) -> Result<ShopTx, StoreError> {
    // Another one's step is short: waiting a little for it is no conflict.
    for _ in 0..50 {
        if let Some(tx) = lock(database, shop, REBUILD).await? {
            return Ok(tx);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err(StoreError::Conflict(sqlx::Error::RowNotFound))
}

/// The generation that was begun and not finished, if it fits; otherwise a new one.
async fn start(database: &Database, shop: ShopId, name: &str) -> Result<(Checkpoint, u32), StoreError> {
    let definition = PROJECTIONS.iter().find(|(known, _)| *known == name).map_or(0, |(_, definition)| *definition);
    let mut tx = hold(database, shop).await?;
    if live_checkpoint(&mut tx, name).await?.is_none() {
        hold_projection(&mut tx).await?;
        live_checkpoints(&mut tx).await?;
    }
    let timezone = shop_zone(&mut tx).await?;
    let begun = sqlx::query!(
        r#"SELECT c.generation, c.position, c.timezone AS "timezone!", c.definition
           FROM checkpoints c
           WHERE c.shop_id = $1 AND c.projection = $2
             AND c.generation > (SELECT l.generation FROM live_generations l
                                 WHERE l.shop_id = $1 AND l.projection = $2)
           ORDER BY c.generation DESC
           LIMIT 1"#,
        shop.0,
        name,
    )
    .fetch_optional(&mut *tx)
    .await?
    .filter(|row| zone(&row.timezone) == timezone && row.definition.cast_unsigned() == definition);
    // What was begun for another zone or definition is abandoned.
    sqlx::query!(
        "DELETE FROM checkpoints
         WHERE shop_id = $1 AND projection = $2 AND generation <> $3
           AND generation > (SELECT l.generation FROM live_generations l WHERE l.shop_id = $1 AND l.projection = $2)",
        shop.0,
        name,
        begun.as_ref().map_or(-1, |row| row.generation),
    )
    .execute(&mut *tx)
    .await?;
    let checkpoint = match begun {
        Some(row) => Checkpoint {
            projection: name.to_owned(),
            generation: Generation { shop, number: row.generation, timezone },
            position: row.position,
            definition,
            is_parked: false,
        },
        None => next_generation(&mut tx, name, definition).await?,
    };
    tx.commit().await?;
    Ok((checkpoint, definition))
}

/// Where the generation stands now: between two steps, another process may have gone on with it, or finished it.
async fn refresh(tx: &mut ShopTx, checkpoint: &mut Checkpoint) -> Result<(), StoreError> {
    let shop = tx.shop();
    let position = sqlx::query_scalar!(
        "SELECT c.position
         FROM checkpoints c
         JOIN live_generations l ON l.shop_id = c.shop_id AND l.projection = c.projection AND l.generation < c.generation
         WHERE c.shop_id = $1 AND c.projection = $2 AND c.generation = $3",
        shop.0,
        checkpoint.projection,
        checkpoint.generation.number,
    )
    .fetch_optional(&mut **tx)
    .await?;
    checkpoint.position = position.ok_or(StoreError::Conflict(sqlx::Error::RowNotFound))?;
    Ok(())
}

/// Live folding waits until the transaction ends.
async fn hold_projection(tx: &mut ShopTx) -> Result<(), StoreError> {
    let shop = tx.shop();
    sqlx::query!(
        "SELECT position FROM checkpoints WHERE shop_id = $1 AND projection = 'project' AND generation = 0 FOR UPDATE",
        shop.0
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(())
}

async fn fold_step(
    tx: &mut ShopTx,
    cache: &mut OrderCache,
    checkpoint: &mut Checkpoint,
    limit: i64,
) -> Result<(), StoreError> {
    let page = tx.events_after(checkpoint.position, limit).await?.rows;
    if page.is_empty() {
        return Ok(());
    }
    let target = Target::new(&checkpoint.projection, checkpoint.generation);
    let mut into = [target.ok_or(StoreError::Database(sqlx::Error::RowNotFound))?];
    let folded = fold_page(tx, cache, &page, &mut into).await?;
    advance(tx, checkpoint, folded.up_to).await?;
    checkpoint.position = folded.up_to;
    Ok(())
}

/// With live folding held up for a moment: fold what is left, compare, and let the new one serve.
async fn switch(
    database: &Database,
    shop: ShopId,
    cache: &mut OrderCache,
    checkpoint: &mut Checkpoint,
    definition: u32,
    options: &RebuildOptions,
) -> Result<Rebuilt, StoreError> {
    let name = checkpoint.projection.clone();
    let mut tx = hold(database, shop).await?;
    hold_projection(&mut tx).await?;
    refresh(&mut tx, checkpoint).await?;
    loop {
        let before = checkpoint.position;
        fold_step(&mut tx, cache, checkpoint, options.step).await?;
        if checkpoint.position == before {
            break;
        }
    }
    let live = live_checkpoint(&mut tx, &name).await?.ok_or(StoreError::NoSuchShop(shop))?;
    let number = checkpoint.generation.number;
    let comparison = compare(&mut tx, &live, checkpoint).await?;
    if options.check_only {
        sqlx::query!(
            "DELETE FROM checkpoints WHERE shop_id = $1 AND projection = $2 AND generation = $3",
            shop.0,
            name,
            number,
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        return Ok(Rebuilt { generation: live.generation.number, events: 0, comparison, switched: false });
    }
    let old_definition = make_live(&mut tx, &live, number).await?;
    let zones = (live.generation.timezone, checkpoint.generation.timezone);
    if !comparison.is_equal() || (zones.0 != zones.1 && name == "sales") {
        restate(&mut tx, &name, (old_definition, definition), zones, &comparison).await?;
    }
    tx.commit().await?;
    Ok(Rebuilt { generation: number, events: 0, comparison, switched: true })
}

async fn compare(tx: &mut ShopTx, live: &Checkpoint, new: &Checkpoint) -> Result<Comparison, StoreError> {
    let shop = tx.shop();
    let Some(model) = projection(&new.projection) else {
        return Ok(Comparison::default());
    };
    let position = live.position.min(new.position);
    let before = model.sums(&mut *tx, shop, live.generation.number, position).await?;
    let after = model.sums(&mut *tx, shop, new.generation.number, position).await?;
    Ok(Comparison { position, before, after })
}

async fn make_live(tx: &mut ShopTx, old: &Checkpoint, number: i32) -> Result<u32, StoreError> {
    let shop = tx.shop();
    sqlx::query!(
        "UPDATE live_generations SET generation = $3, switched_at = now() WHERE shop_id = $1 AND projection = $2",
        shop.0,
        old.projection,
        number,
    )
    .execute(&mut **tx)
    .await?;
    let definition = sqlx::query_scalar!(
        "DELETE FROM checkpoints WHERE shop_id = $1 AND projection = $2 AND generation = $3 RETURNING definition",
        shop.0,
        old.projection,
        old.generation.number,
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(definition.cast_unsigned())
}

/// A switch that changes a figure is told in the shop's log, so that what was shown is not lost.
async fn restate(
    tx: &mut ShopTx,
    name: &str,
    definition: (u32, u32),
    timezone: (Zone, Zone),
    comparison: &Comparison,
) -> Result<(), StoreError> {
    let command = Command::Shop(ShopCommand::Restate(Restatement {
        projection: name.to_owned(),
        definition,
        timezone,
        position: comparison.position,
        before: comparison.before.clone(),
        after: comparison.after.clone(),
    }));
    tx.execute(vec![Envelope::new(command, Metadata::from_source("command").with("actor", "rebuild"))]).await?;
    Ok(())
}

/// Generations without a checkpoint go in batches: nothing reads them, and nobody fills them.
async fn delete_abandoned(database: &Database, shop: ShopId, name: &str) -> Result<(), StoreError> {
    let Some(model) = projection(name) else { return Ok(()) };
    loop {
        let mut tx = hold(database, shop).await?;
        let deleted = model.delete(&mut tx, shop, DELETE_STEP).await?;
        tx.commit().await?;
        if deleted == 0 {
            return Ok(());
        }
    }
}
