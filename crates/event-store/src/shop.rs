//! A shop's place in the store: its head and its key.

use domain::ShopId;
use vault::{MasterRing, ShopKey, VaultError};

use crate::{
    GENESIS, ShopTx, StoreError,
    metrics::{SealedThing, opened},
};

/// Makes the head and the key of a new shop. Doing it twice is doing it once.
///
/// # Errors
/// [`StoreError::Unavailable`], or [`StoreError::Keys`] without randomness.
pub async fn create_shop(tx: &mut ShopTx) -> Result<(), StoreError> {
    let shop = tx.shop();
    let key = ShopKey::generate(shop).map_err(|error| StoreError::Keys(shop, error))?;
    let wrapped = tx.ring().wrap(shop, &key);
    sqlx::query!(
        "INSERT INTO shop_keys (shop_id, wrapped) VALUES ($1, $2) ON CONFLICT ON CONSTRAINT shop_keys_pkey DO NOTHING",
        shop.0,
        wrapped,
    )
    .execute(&mut **tx)
    .await?;
    sqlx::query!(
        "INSERT INTO heads (shop_id, position, hash, recorded_at)
         VALUES ($1, 0, $2, 'epoch')
         ON CONFLICT ON CONSTRAINT heads_pkey DO NOTHING",
        shop.0,
        GENESIS.as_slice(),
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// The shop's key.
///
/// # Errors
/// [`StoreError::NoSuchShop`], or [`StoreError::Keys`] when it is destroyed or the ring cannot open it.
pub async fn shop_key(tx: &mut ShopTx) -> Result<ShopKey, StoreError> {
    let wrapped = wrapped_shop_key(tx).await?;
    unwrap_shop_key(tx.ring(), tx.shop(), Some(&wrapped))
}

impl ShopTx {
    /// Destroys the shop's key, and with it whatever was sealed under it or under a key of a subject. Under the log's lock, and
    /// with an event, so that nobody decides on what was known before. Returns how many keys of subjects there were.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn destroy_shop(&mut self) -> Result<u64, StoreError> {
        let shop = self.shop();
        let keys = sqlx::query_scalar!(r#"SELECT destroy_shop($1) AS "keys!""#, shop.0).fetch_one(&mut **self).await?;
        Ok(keys.unsigned_abs())
    }

    /// Lets go of at most `limit` rows of each kind of what is left of a shop whose key is destroyed, but for its log and its
    /// read models. Returns how many there were.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn sweep_shop(&mut self, limit: i64) -> Result<u64, StoreError> {
        let shop = self.shop();
        let swept = sqlx::query_scalar!(r#"SELECT sweep_shop($1, $2) AS "rows!""#, shop.0, limit);
        Ok(swept.fetch_one(&mut **self).await?.unsigned_abs())
    }

    /// The shop's key, unless it is destroyed.
    ///
    /// # Errors
    /// [`StoreError::NoSuchShop`], or [`StoreError::Keys`] when the ring cannot open it.
    pub async fn living_shop_key(&mut self) -> Result<Option<ShopKey>, StoreError> {
        match shop_key(self).await {
            Ok(key) => Ok(Some(key)),
            Err(StoreError::Keys(_, VaultError::Redacted)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// `None` where it is destroyed.
pub(crate) fn shop_key_unless_destroyed(
    ring: &MasterRing,
    shop: ShopId,
    wrapped: Option<&[u8]>,
) -> Result<Option<ShopKey>, StoreError> {
    wrapped.map(|wrapped| unwrap_shop_key(ring, shop, Some(wrapped))).transpose()
}

/// The shop's key as it is stored, for whoever keeps it for a moment.
///
/// # Errors
/// [`StoreError::NoSuchShop`], or [`StoreError::Keys`] when it is destroyed.
pub async fn wrapped_shop_key(tx: &mut ShopTx) -> Result<Vec<u8>, StoreError> {
    let shop = tx.shop();
    sqlx::query_scalar!("SELECT wrapped FROM shop_keys WHERE shop_id = $1", shop.0)
        .fetch_optional(&mut **tx)
        .await?
        .ok_or(StoreError::NoSuchShop(shop))?
        .ok_or(StoreError::Keys(shop, VaultError::Redacted))
}

/// Wraps the shop's key under the newest master key. `false`: it is already, or the shop has none (any more).
///
/// # Errors
/// [`StoreError::Keys`] when it does not open, or [`StoreError::Unavailable`].
pub async fn rewrap_shop_key(tx: &mut ShopTx) -> Result<bool, StoreError> {
    let shop = tx.shop();
    let wrapped = match wrapped_shop_key(tx).await {
        Err(StoreError::NoSuchShop(_) | StoreError::Keys(..)) => return Ok(false),
        wrapped => wrapped?,
    };
    let again = opened(SealedThing::ShopKey, tx.ring().rewrap(shop, &wrapped));
    let Some(again) = again.map_err(|error| StoreError::Keys(shop, error))? else { return Ok(false) };
    // Only in place of what was read: a key that was destroyed meanwhile stays so.
    let done =
        sqlx::query!("UPDATE shop_keys SET wrapped = $3 WHERE shop_id = $1 AND wrapped = $2", shop.0, wrapped, again);
    Ok(done.execute(&mut **tx).await?.rows_affected() == 1)
}

/// The key of [`wrapped_shop_key`]; `None` is one that is destroyed.
///
/// # Errors
/// [`StoreError::Keys`] when it is destroyed or the ring cannot open it.
pub fn unwrap_shop_key(ring: &MasterRing, shop: ShopId, wrapped: Option<&[u8]>) -> Result<ShopKey, StoreError> {
    let wrapped = wrapped.ok_or(StoreError::Keys(shop, VaultError::Redacted))?;
    opened(SealedThing::ShopKey, ring.unwrap(shop, wrapped)).map_err(|error| StoreError::Keys(shop, error))
}
