//! A shop's place in the store: its head and its key.

use domain::ShopId;
use vault::{MasterRing, ShopKey, VaultError};

use crate::{GENESIS, ShopTx, StoreError};

/// Makes the head and the key of a new shop. Doing it twice is doing it once.
///
/// # Errors
/// [`StoreError::Unavailable`], or [`StoreError::Keys`] without randomness.
pub async fn create_shop(tx: &mut ShopTx) -> Result<(), StoreError> {
    let shop = tx.shop();
    let key = ShopKey::generate(shop).and_then(|key| tx.ring().wrap(shop, &key));
    let wrapped = key.map_err(|error| StoreError::Keys(shop, error))?;
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
    let shop = tx.shop();
    let wrapped = sqlx::query_scalar!("SELECT wrapped FROM shop_keys WHERE shop_id = $1", shop.0)
        .fetch_optional(&mut **tx)
        .await?
        .ok_or(StoreError::NoSuchShop(shop))?;
    unwrap_shop_key(tx.ring(), shop, wrapped.as_deref())
}

pub(crate) fn unwrap_shop_key(ring: &MasterRing, shop: ShopId, wrapped: Option<&[u8]>) -> Result<ShopKey, StoreError> {
    let wrapped = wrapped.ok_or(StoreError::Keys(shop, VaultError::Redacted))?;
    ring.unwrap(shop, wrapped).map_err(|error| StoreError::Keys(shop, error))
}
