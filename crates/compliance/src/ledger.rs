//! The rows of the ledger that a person's orders made: those that were there before the erasure are to be there after it, and
//! none beside them.

use std::collections::BTreeSet;

use event_store::{ShopTx, StoreError};
use futures::TryStreamExt;
use sha2::{Digest, Sha256};

/// Rows of the ledger, counted and summed up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ledger {
    /// The one that serves, if the shop has one.
    pub generation: Option<i32>,
    /// What is behind it was not in the ledger yet when the rows were first looked at.
    pub up_to: i64,
    rows: u64,
    /// Of their digests, in whatever order they are read.
    sum: u128,
}

impl Ledger {
    /// As it is now, without a row.
    pub async fn live(tx: &mut ShopTx) -> Result<Self, StoreError> {
        let shop = tx.shop();
        let live = sqlx::query!(
            "SELECT c.generation, c.position
             FROM checkpoints c
             JOIN live_generations l
               ON l.shop_id = c.shop_id AND l.projection = c.projection AND l.generation = c.generation
             WHERE c.shop_id = $1 AND c.projection = 'sales'",
            shop.0,
        )
        .fetch_optional(&mut **tx)
        .await?;
        let up_to = live.as_ref().map_or(0, |live| live.position);
        Ok(Self { generation: live.map(|live| live.generation), up_to, rows: 0, sum: 0 })
    }

    /// Takes in the rows that events at these positions made, and shows each. What tombstones made counts, wherever they stand.
    pub async fn add(
        &mut self,
        tx: &mut ShopTx,
        positions: &[i64],
        tombstones: &BTreeSet<i64>,
        mut each: impl FnMut(&str),
    ) -> Result<(), StoreError> {
        let shop = tx.shop();
        let mut rows = sqlx::query!(
            r#"SELECT t.position, to_jsonb(t)::text AS "row!"
               FROM UNNEST($3::bigint[]) AS w (position)
               CROSS JOIN LATERAL (
                   SELECT * FROM sale_fact WHERE shop_id = $1 AND generation = $2 AND position = w.position OFFSET 0
               ) t"#,
            shop.0,
            self.generation,
            positions,
        )
        .fetch(&mut **tx);
        while let Some(row) = rows.try_next().await? {
            each(&row.row);
            if row.position <= self.up_to || tombstones.contains(&row.position) {
                let digest: [u8; 32] = Sha256::digest(&row.row).into();
                let digest = u128::from_be_bytes(*digest.first_chunk().expect("it is longer"));
                self.sum = self.sum.wrapping_add(digest);
                self.rows += 1;
            }
        }
        Ok(())
    }
}
