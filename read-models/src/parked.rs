//! Read models that stopped at an event that they could not digest.

use domain::ShopId;
use serde::Serialize;
use sqlx::PgConnection;

/// A read model that does not go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Parked {
    /// `sales`, `orders`.
    pub projection: String,
    /// The last position that is folded in.
    pub after_position: i64,
    /// What it could not digest, and why; never a value.
    pub reason: String,
    /// The version of the build that could not.
    pub build: String,
}

/// A shop's serving read models that are parked: they are tried again when a worker starts.
///
/// # Errors
/// Whatever the database answers.
pub async fn parked(connection: &mut PgConnection, shop: ShopId) -> Result<Vec<Parked>, sqlx::Error> {
    sqlx::query_as!(
        Parked,
        r#"SELECT c.projection, c.position AS after_position, COALESCE(c.parked_reason, '') AS "reason!",
                  COALESCE(c.parked_by, '') AS "build!"
           FROM checkpoints c
           JOIN live_generations l
             ON l.shop_id = c.shop_id AND l.projection = c.projection AND l.generation = c.generation
           WHERE c.shop_id = $1 AND c.parked_at IS NOT NULL
           ORDER BY c.projection"#,
        shop.0
    )
    .fetch_all(connection)
    .await
}
