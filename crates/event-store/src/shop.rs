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
