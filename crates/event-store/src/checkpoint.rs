//! Signed checkpoints: that a shop's log had this hash at this position. Whoever rewrites a log and its chain cannot sign
//! anew what was signed before; and a checkpoint that is kept elsewhere shows it even where the table was rewritten, too.

use chrono::{DateTime, SecondsFormat, SubsecRound, TimeDelta, Utc};
use domain::ShopId;
use futures::TryStreamExt;
use serde::{Deserialize, Serialize};
use vault::SigningKeys;

use crate::{Database, GENESIS, ShopTx, StoreError, events};

/// A log that is this much longer than what was signed of it is signed again.
const EVERY: i64 = 10_000;
/// And one that has grown at all, after so long.
const AT_LEAST: TimeDelta = TimeDelta::days(1);

/// What is signed of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Whose log.
    pub shop: ShopId,
    /// How many events it had.
    pub position: i64,
    /// The hash of the last one, in hex.
    pub hash: String,
    /// When it was signed.
    pub at: DateTime<Utc>,
    /// The id of the key that signed.
    pub key_id: String,
    /// Ed25519 over [`Self::signed_text`], in base64.
    pub signature: String,
}

impl Checkpoint {
    fn sign(shop: ShopId, position: i64, hash: &[u8], at: DateTime<Utc>, keys: &SigningKeys) -> Self {
        let mut checkpoint = Self {
            shop,
            position,
            hash: hex::encode(hash),
            at: at.trunc_subsecs(6),
            key_id: keys.newest_id(),
            signature: String::new(),
        };
        checkpoint.signature = keys.sign(checkpoint.signed_text().as_bytes());
        checkpoint
    }

    /// What the signature is over: each thing on a line, its name before it.
    #[must_use]
    pub fn signed_text(&self) -> String {
        let Self { shop, position, hash, at, .. } = self;
        let at = at.to_rfc3339_opts(SecondsFormat::Micros, true);
        format!("ecomdash: log checkpoint 1\nshop: {shop}\nposition: {position}\nhash: {hash}\nat: {at}\n")
    }

    /// Whether a public key, in base64, signed it as it stands.
    #[must_use]
    pub fn is_genuine(&self, public_key: &str) -> bool {
        vault::is_signed(public_key, self.signed_text().as_bytes(), &self.signature)
    }
}

impl ShopTx {
    /// The checkpoint of the log as it is now; made and stored, unless there is one.
    ///
    /// # Errors
    /// [`StoreError::BrokenChain`] when another log was signed at this position, [`StoreError::NoSuchShop`] or
    /// [`StoreError::Unavailable`].
    pub async fn checkpoint(&mut self, keys: &SigningKeys, now: DateTime<Utc>) -> Result<Checkpoint, StoreError> {
        let shop = self.shop();
        let head = sqlx::query!("SELECT position, hash FROM heads WHERE shop_id = $1", shop.0)
            .fetch_optional(&mut **self)
            .await?
            .ok_or(StoreError::NoSuchShop(shop))?;
        let made = Checkpoint::sign(shop, head.position, &head.hash, now, keys);
        if head.position == 0 {
            return Ok(made); // of nothing: there is nothing to be compared with it
        }
        self.store_checkpoint(&made, &head.hash).await?;
        let stored = self.checkpoints_after(head.position - 1, 1).await?.into_iter().next();
        match stored.filter(|stored| stored.position == head.position) {
            Some(stored) if stored.hash == made.hash => Ok(stored),
            _ => Err(StoreError::BrokenChain {
                shop,
                position: head.position,
                what: "the log is not the one that was signed here".to_owned(),
            }),
        }
    }

    async fn store_checkpoint(&mut self, checkpoint: &Checkpoint, hash: &[u8]) -> Result<(), StoreError> {
        sqlx::query!(
            "INSERT INTO log_checkpoints (shop_id, position, hash, signed_at, key_id, signature)
             VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT ON CONSTRAINT log_checkpoints_pkey DO NOTHING",
            checkpoint.shop.0,
            checkpoint.position,
            hash,
            checkpoint.at,
            checkpoint.key_id,
            checkpoint.signature,
        )
        .execute(&mut **self)
        .await?;
        Ok(())
    }

    /// At most `limit` stored checkpoints of later positions, in order.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn checkpoints_after(&mut self, position: i64, limit: i64) -> Result<Vec<Checkpoint>, StoreError> {
        let shop = self.shop();
        let rows = sqlx::query!(
            "SELECT position, hash, signed_at, key_id, signature
             FROM log_checkpoints
             WHERE shop_id = $1 AND position > $2
             ORDER BY position
             LIMIT $3",
            shop.0,
            position,
            limit,
        )
        .fetch_all(&mut **self)
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| Checkpoint {
                shop,
                position: row.position,
                hash: hex::encode(row.hash),
                at: row.signed_at,
                key_id: row.key_id,
                signature: row.signature,
            })
            .collect())
    }
}

/// Signs a shop's log where enough was added to it since it was signed, or where that was a day ago. What is signed follows
/// from what was signed before: the links in between are recomputed.
///
/// # Errors
/// [`StoreError::BrokenChain`] when they do not hold: nothing is signed then. [`StoreError::Unavailable`].
pub async fn sign_if_due(
    database: &Database,
    shop: ShopId,
    keys: &SigningKeys,
    now: DateTime<Utc>,
) -> Result<Option<Checkpoint>, StoreError> {
    let mut tx = database.begin_reading(shop).await?;
    let head = sqlx::query!("SELECT position, hash FROM heads WHERE shop_id = $1", shop.0)
        .fetch_optional(&mut *tx)
        .await?
        .ok_or(StoreError::NoSuchShop(shop))?;
    let last = sqlx::query!(
        "SELECT position, hash, signed_at, key_id, signature
         FROM log_checkpoints WHERE shop_id = $1 ORDER BY position DESC LIMIT 1",
        shop.0
    )
    .fetch_optional(&mut *tx)
    .await?;
    tx.commit().await?;
    let broken = |position, what: &str| Err(StoreError::BrokenChain { shop, position, what: what.to_owned() });
    if let Some(last) = &last {
        // Nothing is built on what somebody else wrote. Of a key that was taken away, nobody can tell.
        let checkpoint = Checkpoint {
            shop,
            position: last.position,
            hash: hex::encode(&last.hash),
            at: last.signed_at,
            key_id: last.key_id.clone(),
            signature: last.signature.clone(),
        };
        let key = keys.public().into_iter().find(|(id, _)| *id == last.key_id);
        if key.is_some_and(|(_, key)| !checkpoint.is_genuine(&key)) {
            return broken(last.position, "what was signed before was not signed by us");
        }
    }
    let (from, mut hash, signed_at) = match last {
        Some(last) => (last.position, last.hash, Some(last.signed_at)),
        None => (0, GENESIS.to_vec(), None),
    };
    let news = head.position - from;
    if news < 0 {
        return broken(head.position + 1, "a later position was signed");
    }
    let is_due = news >= EVERY || news > 0 && signed_at.is_none_or(|at| now - at >= AT_LEAST);
    if !is_due {
        return Ok(None);
    }
    let (mut position, mut added) = (from, events(database, shop, from, head.position));
    while let Some(event) = added.try_next().await? {
        let previous: [u8; 32] = hash.as_slice().try_into().unwrap_or(GENESIS);
        let follows = event.link(shop).hash(&previous).as_slice() == event.hash;
        if event.position != position + 1 || !follows {
            return broken(position + 1, "the event does not follow from what was signed before");
        }
        (position, hash) = (event.position, event.hash);
    }
    if position != head.position || hash != head.hash {
        return broken(position + 1, "the head does not match the last event");
    }
    let checkpoint = Checkpoint::sign(shop, position, &hash, now, keys);
    let mut tx = database.begin(shop).await?;
    tx.store_checkpoint(&checkpoint, &hash).await?;
    tx.commit().await?;
    Ok(Some(checkpoint))
}
