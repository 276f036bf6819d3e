//! The master key ring: wraps shop keys, newest key first.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use domain::{Digest, ShopId};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::{
    ShopKey, VaultError,
    key::{Secret, digest_of_body},
};

const KEY_ID_LENGTH: usize = 4;

/// The master keys: the first one wraps, every one unwraps. A key's id stands in each of its ciphertexts.
#[derive(Clone)]
pub struct MasterRing(Vec<([u8; KEY_ID_LENGTH], Secret)>);

impl fmt::Debug for MasterRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MasterRing").field(&self.ids()).finish()
    }
}

impl MasterRing {
    /// Reads `ENCRYPTION_KEYS`: 32-byte keys in base64 or hex, separated by commas, newest first.
    ///
    /// # Errors
    /// [`VaultError::EmptyRing`], or [`VaultError::MalformedKey`] with the place in the list.
    pub fn parse(list: &str) -> Result<Self, VaultError> {
        let mut keys = Vec::new();
        for (place, text) in list.split(',').map(str::trim).filter(|text| !text.is_empty()).enumerate() {
            let bytes = match text.len() {
                64 => hex::decode(text).ok(),
                _ => STANDARD.decode(text).ok(),
            };
            let bytes = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
            let secret = Secret(bytes.ok_or(VaultError::MalformedKey(place + 1))?);
            let hash = Sha256::digest(secret.0);
            let mut id = [0; KEY_ID_LENGTH];
            id.copy_from_slice(&hash[..KEY_ID_LENGTH]);
            keys.push((id, secret));
        }
        if keys.is_empty() { Err(VaultError::EmptyRing) } else { Ok(Self(keys)) }
    }

    /// A new key in base64, as `ENCRYPTION_KEYS` takes it.
    ///
    /// # Errors
    /// [`VaultError::NoRandomness`].
    pub fn generate_key() -> Result<String, VaultError> {
        Ok(STANDARD.encode(Secret::random()?.0))
    }

    /// The ids of its keys, newest first: safe to show.
    #[must_use]
    pub fn ids(&self) -> Vec<String> {
        self.0.iter().map(|(id, _)| hex::encode(id)).collect()
    }

    /// The id of the key that seals.
    #[must_use]
    pub fn newest(&self) -> String {
        hex::encode(self.0[0].0)
    }

    /// Whether one of its keys has this id.
    #[must_use]
    pub fn holds(&self, id: &str) -> bool {
        self.0.iter().any(|(known, _)| hex::encode(known) == id)
    }

    /// The id of the key that a ciphertext needs: safe to show.
    #[must_use]
    pub fn id_of(sealed: &[u8]) -> String {
        hex::encode(sealed.get(..KEY_ID_LENGTH).unwrap_or_default())
    }

    /// The shop key as the key table holds it.
    #[must_use]
    pub fn wrap(&self, shop: ShopId, key: &ShopKey) -> Vec<u8> {
        self.seal(format!("shop-key/{shop}").as_bytes(), &key.secret().0)
    }

    /// The shop key that [`Self::wrap`] wrapped.
    ///
    /// # Errors
    /// [`VaultError::UnknownKey`] when the ring lacks the key, [`VaultError::DoesNotOpen`] for another shop's.
    pub fn unwrap(&self, shop: ShopId, wrapped: &[u8]) -> Result<ShopKey, VaultError> {
        ShopKey::from_secret(shop, &self.open(format!("shop-key/{shop}").as_bytes(), wrapped)?)
    }

    /// The same shop key under the newest key; `None` where it is already.
    ///
    /// # Errors
    /// As [`Self::unwrap`].
    pub fn rewrap(&self, shop: ShopId, wrapped: &[u8]) -> Result<Option<Vec<u8>>, VaultError> {
        if Self::id_of(wrapped) == self.newest() {
            return Ok(None);
        }
        Ok(Some(self.wrap(shop, &self.unwrap(shop, wrapped)?)))
    }

    /// Seals the body of a delivery whose shop is not known.
    #[must_use]
    pub fn seal_unclaimed(&self, inbox_id: Uuid, body: &[u8]) -> Vec<u8> {
        self.seal(format!("unclaimed/{inbox_id}").as_bytes(), body)
    }

    /// By which deliveries of one body are known as such while their shop is not: under the newest key.
    #[must_use]
    pub fn unclaimed_digest(&self, body: &[u8]) -> Digest {
        digest_of_body(self.0[0].1.keyed(), body)
    }

    /// Opens what [`Self::seal_unclaimed`] sealed.
    ///
    /// # Errors
    /// [`VaultError::UnknownKey`] or [`VaultError::DoesNotOpen`].
    pub fn open_unclaimed(&self, inbox_id: Uuid, sealed: &[u8]) -> Result<Vec<u8>, VaultError> {
        self.open(format!("unclaimed/{inbox_id}").as_bytes(), sealed)
    }

    fn seal(&self, bound_to: &[u8], plain: &[u8]) -> Vec<u8> {
        let (id, newest) = &self.0[0];
        let mut sealed = id.to_vec();
        sealed.extend(newest.seal(bound_to, plain));
        sealed
    }

    fn open(&self, bound_to: &[u8], sealed: &[u8]) -> Result<Vec<u8>, VaultError> {
        let (id, sealed) = sealed.split_at_checked(KEY_ID_LENGTH).ok_or(VaultError::DoesNotOpen)?;
        let known = self.0.iter().find(|(known, _)| known == id);
        let (_, secret) = known.ok_or_else(|| VaultError::UnknownKey(hex::encode(id)))?;
        secret.open(bound_to, sealed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_key_wraps_and_every_key_unwraps() {
        let (old, new) = (MasterRing::generate_key().unwrap(), MasterRing::generate_key().unwrap());
        let shop = ShopId(Uuid::from_u128(1));
        let key = ShopKey::generate(shop).unwrap();
        let before = MasterRing::parse(&old).unwrap();
        let both = MasterRing::parse(&format!("{new}, {old}")).unwrap();
        let after = MasterRing::parse(&new).unwrap();

        let wrapped = before.wrap(shop, &key);
        assert!(both.unwrap(shop, &wrapped).is_ok());
        assert_eq!(after.unwrap(shop, &wrapped).unwrap_err(), VaultError::UnknownKey(before.ids()[0].clone()));
        let again = both.rewrap(shop, &wrapped).unwrap().expect("it was under the old key");
        assert_eq!(MasterRing::id_of(&again), both.newest());
        assert!(after.unwrap(shop, &again).is_ok());
        assert_eq!(both.rewrap(shop, &again).unwrap(), None);
        let other_shop = ShopId(Uuid::from_u128(2));
        assert_eq!(before.unwrap(other_shop, &wrapped).unwrap_err(), VaultError::DoesNotOpen);
    }

    #[test]
    fn a_malformed_key_is_named_by_its_place_and_not_shown() {
        let good = MasterRing::generate_key().unwrap();
        let error = MasterRing::parse(&format!("{good},hunter2")).unwrap_err();
        assert_eq!(error, VaultError::MalformedKey(2));
        assert!(!error.to_string().contains("hunter2"));
        assert_eq!(MasterRing::parse(" , ").unwrap_err(), VaultError::EmptyRing);
    }
}
