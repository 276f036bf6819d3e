//! Signatures by which others can check what this service says of a log.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use sha2::{Digest, Sha256};

use crate::VaultError;

/// Ed25519 keys: the first one signs. A key's id stands in whatever it signed.
pub struct SigningKeys(Vec<Ed25519KeyPair>);

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<String> = self.0.iter().map(|pair| id_of(pair.public_key().as_ref())).collect();
        f.debug_tuple("SigningKeys").field(&ids).finish()
    }
}

impl SigningKeys {
    /// Reads `SIGNING_KEYS`: 32-byte seeds in base64 or hex, separated by commas, newest first.
    ///
    /// # Errors
    /// [`VaultError::EmptyRing`], or [`VaultError::MalformedKey`] with the place in the list.
    pub fn parse(list: &str) -> Result<Self, VaultError> {
        let mut keys = Vec::new();
        for (place, text) in list.split(',').map(str::trim).filter(|text| !text.is_empty()).enumerate() {
            let seed = if text.len() == 64 { hex::decode(text).ok() } else { STANDARD.decode(text).ok() };
            let pair = seed.and_then(|seed| Ed25519KeyPair::from_seed_unchecked(&seed).ok());
            keys.push(pair.ok_or(VaultError::MalformedKey(place + 1))?);
        }
        if keys.is_empty() { Err(VaultError::EmptyRing) } else { Ok(Self(keys)) }
    }

    /// Signs with the newest key, in base64.
    #[must_use]
    pub fn sign(&self, text: &[u8]) -> String {
        STANDARD.encode(self.0[0].sign(text))
    }

    /// The id of the key that [`Self::sign`] uses.
    #[must_use]
    pub fn newest_id(&self) -> String {
        id_of(self.0[0].public_key().as_ref())
    }

    /// The public keys, newest first: id, and 32 bytes in base64.
    #[must_use]
    pub fn public(&self) -> Vec<(String, String)> {
        let public = self.0.iter().map(|pair| pair.public_key().as_ref());
        public.map(|key| (id_of(key), STANDARD.encode(key))).collect()
    }
}

/// Whether a public key, in base64, made the signature of a text.
#[must_use]
pub fn is_signed(public_key: &str, text: &[u8], signature: &str) -> bool {
    let (Ok(key), Ok(signature)) = (STANDARD.decode(public_key), STANDARD.decode(signature)) else { return false };
    UnparsedPublicKey::new(&ED25519, key).verify(text, &signature).is_ok()
}

/// The id of a public key in base64; `None` where it is none.
#[must_use]
pub fn key_id(public_key: &str) -> Option<String> {
    let bytes = STANDARD.decode(public_key).ok().filter(|bytes| bytes.len() == 32)?;
    Some(id_of(&bytes))
}

/// A public key of 32 bytes in base64 or hex, in base64; `None` where it is none.
#[must_use]
pub fn parse_public_key(text: &str) -> Option<String> {
    let bytes = if text.len() == 64 { hex::decode(text).ok() } else { STANDARD.decode(text).ok() };
    Some(STANDARD.encode(bytes.filter(|bytes| bytes.len() == 32)?))
}

fn id_of(public_key: &[u8]) -> String {
    hex::encode(&Sha256::digest(public_key)[..4])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MasterRing;

    #[test]
    fn what_the_newest_key_signed_is_checked_by_its_public_key_alone() {
        let (old, new) = (MasterRing::generate_key().unwrap(), MasterRing::generate_key().unwrap());
        let keys = SigningKeys::parse(&format!("{new}, {old}")).unwrap();
        let signature = keys.sign(b"a receipt");
        let public = keys.public();
        assert_eq!(public[0].0, keys.newest_id());
        assert!(is_signed(&public[0].1, b"a receipt", &signature));
        assert!(!is_signed(&public[0].1, b"another receipt", &signature));
        assert!(!is_signed(&public[1].1, b"a receipt", &signature));
        assert_eq!(SigningKeys::parse("short").unwrap_err(), VaultError::MalformedKey(1));
    }
}
