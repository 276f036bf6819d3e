//! Where each read model stands in a shop's log: its checkpoint, its generations, and which one serves.

use domain::{Zone, shop::Shop};
use event_store::{ShopTx, StoreError};
use read_models::{Generation, PROJECTIONS};

/// A read model's place in the log.
pub struct Checkpoint {
    pub projection: String,
    pub generation: Generation,
    pub position: i64,
    pub definition: u32,
    pub is_parked: bool,
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
            // Nothing is shown of a shop that is erased.
            None if tx.load::<Shop>(Shop::ID).await?.is_redacted() => continue,
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
