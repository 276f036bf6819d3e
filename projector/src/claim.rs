//! Picking work: which shop and kind, held by whom, and which queue rows it settles.

use domain::ShopId;
use event_store::{Database, ShopTx, StoreError};
use ingest::enqueue;
use uuid::Uuid;

/// The kind of work that a shop's read models make when they must be built anew.
pub const REBUILD: &str = "rebuild";

/// Work that waits: one shop, one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    pub shop: ShopId,
    pub kind: String,
}

/// So many shops' due work is looked at: a bound on what a look costs.
const GROUPS: i64 = 4096;

/// What a look found.
pub struct Look {
    /// The longest waiting first.
    pub candidates: Vec<Candidate>,
    /// Where the next look begins, so that nobody is behind the bound for good.
    pub next: Uuid,
}

/// What is due of the given kinds, from a shop's id on. The queue has no row-level security and no content.
pub async fn candidates(database: &Database, kinds: &[&str], from: Uuid, limit: i64) -> Result<Look, StoreError> {
    let kinds: Vec<String> = kinds.iter().map(ToString::to_string).collect();
    let rows = database
        .single(|| {
            sqlx::query!(
                r#"SELECT shop_id AS "shop_id!", kind AS "kind!", groups AS "groups!", last_shop AS "last_shop!"
                   FROM due_work($1, $2, $3, $4)"#,
                &kinds,
                from,
                limit,
                GROUPS,
            )
        })
        .await?;
    let is_cut = rows.first().filter(|row| row.groups >= GROUPS);
    let next = is_cut.map_or(Uuid::nil(), |row| row.last_shop);
    let candidates = rows.into_iter().map(|row| Candidate { shop: ShopId(row.shop_id), kind: row.kind }).collect();
    Ok(Look { candidates, next })
}

/// A claim: the shop's lock of that kind, and the queue rows that were there when it was taken.
pub struct Claim {
    pub tx: ShopTx,
    pub kind: String,
    seen: Vec<Uuid>,
}

/// Claims a shop's work, unless another worker holds it or nothing is due any more.
pub async fn claim(database: &Database, candidate: &Candidate) -> Result<Option<Claim>, StoreError> {
    let Some(mut tx) = lock(database, candidate.shop, &candidate.kind).await? else {
        return Ok(None);
    };
    // Before the work itself is read: what commits later leaves a row of its own behind.
    let seen = sqlx::query_scalar!(
        "SELECT id FROM work_queue WHERE shop_id = $1 AND kind = $2 AND due_at <= clock_timestamp() LIMIT 10000",
        candidate.shop.0,
        candidate.kind,
    )
    .fetch_all(&mut *tx)
    .await?;
    Ok((!seen.is_empty()).then(|| Claim { tx, kind: candidate.kind.clone(), seen }))
}

/// A transaction that holds a shop's lock of a kind, unless another one does.
pub async fn lock(database: &Database, shop: ShopId, kind: &str) -> Result<Option<ShopTx>, StoreError> {
    let mut tx = database.begin(shop).await?;
    let locked = sqlx::query_scalar!(
        "SELECT position FROM checkpoints
         WHERE shop_id = $1 AND projection = $2 AND generation = 0
         FOR UPDATE SKIP LOCKED",
        shop.0,
        kind,
    )
    .fetch_optional(&mut *tx)
    .await?;
    Ok(locked.map(|_| tx))
}

impl Claim {
    /// Deletes the rows that were seen, and leaves one for what is still to do, due in `again_s` seconds.
    pub async fn settle(&mut self, again_s: Option<f64>) -> Result<(), StoreError> {
        let shop = self.tx.shop();
        sqlx::query!(
            "DELETE FROM work_queue WHERE shop_id = $1 AND kind = $2 AND id = ANY($3)",
            shop.0,
            self.kind,
            &self.seen,
        )
        .execute(&mut *self.tx)
        .await?;
        if let Some(seconds) = again_s {
            enqueue(&mut self.tx, &self.kind, seconds).await?;
        }
        Ok(())
    }

    /// Makes it so.
    pub async fn commit(self) -> Result<(), StoreError> {
        self.tx.commit().await
    }

    /// Lets go. An error says that the connection is gone, and the lock with it.
    pub async fn give_up(self) {
        if let Err(error) = self.tx.rollback().await {
            tracing::debug!(error = &error as &dyn std::error::Error, "not rolled back");
        }
    }
}

/// Makes a shop's lock of a kind, where a release that did not know the kind registered the shop.
pub async fn make_lock(tx: &mut ShopTx, kind: &str) -> Result<(), StoreError> {
    let shop = tx.shop();
    sqlx::query!(
        "INSERT INTO checkpoints (shop_id, projection, generation) VALUES ($1, $2, 0)
         ON CONFLICT ON CONSTRAINT checkpoints_pkey DO NOTHING",
        shop.0,
        kind,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// The rows of a kind, due or not.
pub async fn queued(tx: &mut ShopTx, kind: &str) -> Result<Vec<Uuid>, StoreError> {
    let shop = tx.shop();
    let rows = sqlx::query_scalar!("SELECT id FROM work_queue WHERE shop_id = $1 AND kind = $2", shop.0, kind);
    Ok(rows.fetch_all(&mut **tx).await?)
}

/// Deletes rows of a kind: whoever did all there was says anew when the next one is due.
pub async fn forget(tx: &mut ShopTx, kind: &str, rows: &[Uuid]) -> Result<(), StoreError> {
    let shop = tx.shop();
    sqlx::query!("DELETE FROM work_queue WHERE shop_id = $1 AND kind = $2 AND id = ANY ($3)", shop.0, kind, rows)
        .execute(&mut **tx)
        .await?;
    Ok(())
}
