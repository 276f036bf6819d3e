//! Signed checkpoints: that a shop's log had this hash at this position. Whoever rewrites a log and its chain cannot sign
//! anew what was signed before; and a checkpoint that is kept elsewhere shows it even where the table was rewritten, too.

use chrono::{DateTime, SecondsFormat, SubsecRound, TimeDelta, Utc};
use domain::ShopId;
use serde::{Deserialize, Serialize};
use vault::SigningKeys;

use crate::{Database, GENESIS, ShopTx, StoreError, Trust, Verification, Verified};

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

    /// Whether the key that it names signed it; `None` where that is not among these (id, and 32 bytes in base64).
    pub(crate) fn is_signed_by(&self, keys: &[(String, String)]) -> Option<bool> {
        keys.iter().find(|(id, _)| *id == self.key_id).map(|(_, key)| self.is_genuine(key))
    }

    pub(crate) fn hash_bytes(&self) -> [u8; 32] {
        hex::decode(&self.hash).ok().and_then(|hash| hash.try_into().ok()).unwrap_or(GENESIS)
    }
}

struct Row {
    position: i64,
    hash: Vec<u8>,
    signed_at: DateTime<Utc>,
    key_id: String,
    signature: String,
}

impl Row {
    fn of(self, shop: ShopId) -> Checkpoint {
        let Self { position, hash, signed_at: at, key_id, signature } = self;
        Checkpoint { shop, position, hash: hex::encode(hash), at, key_id, signature }
    }
}

impl ShopTx {
    /// Signs what was verified up to its last event, and stores that, unless there is a checkpoint of this position.
    pub(crate) async fn sign_verified(
        &mut self,
        verified: &Verified,
        keys: &SigningKeys,
        now: DateTime<Utc>,
    ) -> Result<Checkpoint, StoreError> {
        let position = verified.events;
        let made = Checkpoint::sign(self.shop(), position, &verified.hash, now, keys);
        if position == 0 {
            return Ok(made); // of nothing: there is nothing to be compared with it
        }
        self.store_checkpoint(&made, &verified.hash).await?;
        let stored = self.checkpoints_after(position - 1, 1).await?.into_iter().next();
        // One of a key that is not known here is in nobody's way.
        let is_known =
            |stored: &Checkpoint| stored.position == position && stored.is_signed_by(&keys.public()) == Some(true);
        match stored.filter(is_known) {
            Some(stored) if stored.hash != made.hash => Err(self.broken(position, "another log was signed here")),
            // What a former key signed is signed anew, and not stored twice.
            Some(stored) if stored.key_id == made.key_id => Ok(stored),
            _ => Ok(made),
        }
    }

    fn broken(&self, position: i64, what: &str) -> StoreError {
        StoreError::BrokenChain { shop: self.shop(), position, what: what.to_owned() }
    }

    /// The last checkpoint of a key that is known. One of another key proves nothing: nothing is built on it.
    async fn last_signed(&mut self, keys: &SigningKeys) -> Result<Option<Checkpoint>, StoreError> {
        let shop = self.shop();
        let known: Vec<String> = keys.public().into_iter().map(|(id, _)| id).collect();
        let last = sqlx::query_as!(
            Row,
            "SELECT position, hash, signed_at, key_id, signature
             FROM log_checkpoints
             WHERE shop_id = $1 AND key_id = ANY ($2)
             ORDER BY position DESC
             LIMIT 1",
            shop.0,
            &known,
        )
        .fetch_optional(&mut **self)
        .await?;
        let Some(last) = last.map(|row| row.of(shop)) else { return Ok(None) };
        if last.is_signed_by(&keys.public()) == Some(true) {
            return Ok(Some(last));
        }
        Err(self.broken(last.position, "what was signed before was not signed by us"))
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
        let rows = sqlx::query_as!(
            Row,
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
        Ok(rows.into_iter().map(|row| row.of(shop)).collect())
    }
}

/// The checkpoint of a shop's log as it is now. Signed is only what was verified: all that was added since the last genuine
/// checkpoint, page by page.
///
/// # Errors
/// [`StoreError::BrokenChain`] when it does not follow from what was signed before: nothing is signed then.
/// [`StoreError::NoSuchShop`] or [`StoreError::Unavailable`].
pub async fn sign(
    database: &Database,
    shop: ShopId,
    keys: &SigningKeys,
    now: DateTime<Utc>,
) -> Result<Checkpoint, StoreError> {
    let mut tx = database.begin(shop).await?;
    let last = tx.last_signed(keys).await?;
    tx.commit().await?;
    let trust = Trust { keys: keys.public(), accepts_unknown_keys: true, ..Trust::default() };
    let mut verification = Verification::begin_behind(database, shop, trust, last.as_ref()).await?;
    let verified = loop {
        if let Some(verified) = verification.step().await? {
            break verified;
        }
    };
    if let Some(fault) = verified.fault {
        return Err(StoreError::BrokenChain { shop, position: fault.position, what: fault.kind.to_string() });
    }
    let is_it = |last: &Checkpoint| last.position == verified.events && last.key_id == keys.newest_id();
    if let Some(last) = last.filter(is_it) {
        return Ok(last);
    }
    let mut tx = database.begin(shop).await?;
    let signed = tx.sign_verified(&verified, keys, now).await?;
    tx.commit().await?;
    Ok(signed)
}

/// The same where enough was added to the log since it was signed, or where that was a day ago.
///
/// # Errors
/// As [`sign`].
pub async fn sign_if_due(
    database: &Database,
    shop: ShopId,
    keys: &SigningKeys,
    now: DateTime<Utc>,
) -> Result<Option<Checkpoint>, StoreError> {
    let mut tx = database.begin_reading(shop).await?;
    let (head, _) = tx.head().await?;
    let last = tx.last_signed(keys).await?;
    let of_head = tx.checkpoints_after(head - 1, 1).await?;
    tx.commit().await?;
    let news = head - last.as_ref().map_or(0, |last| last.position);
    let is_old = last.is_none_or(|last| now - last.at >= AT_LEAST);
    // Less than was signed is found to be wrong.
    let is_due = !(0..EVERY).contains(&news) || news > 0 && is_old;
    // Where one of an unknown key stands, nothing could be stored: it is waited for the next event.
    let is_taken = news > 0 && of_head.first().is_some_and(|stored| stored.position == head);
    if is_due && !is_taken {
        return sign(database, shop, keys, now).await.map(Some);
    }
    Ok(None)
}
