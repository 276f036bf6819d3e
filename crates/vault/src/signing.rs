//! Signatures by which others can check what this service says of a log.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use sha2::{Digest, Sha256};

use crate::VaultError;

/// What stands before a key in `SIGNING_KEYS` that signs no more, and of which only the public half is kept.
const PUBLIC: &str = "public:";

/// Ed25519 keys: the newest one signs, and all of them check. A key's id stands in whatever it signed.
pub struct SigningKeys {
    newest: Ed25519KeyPair,
    /// Newest first.
    public: Vec<(String, String)>,
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<&str> = self.public.iter().map(|(id, _)| id.as_str()).collect();
        f.debug_tuple("SigningKeys").field(&ids).finish()
    }
}

impl SigningKeys {
    /// Reads `SIGNING_KEYS`: keys of 32 bytes in base64 or hex, separated by commas, newest first. Each is a seed or, behind
    /// the first, a public key with `public:` before it.
    ///
    /// # Errors
    /// [`VaultError::EmptyRing`], or [`VaultError::MalformedKey`] with the place in the list.
    pub fn parse(list: &str) -> Result<Self, VaultError> {
        let (mut newest, mut public) = (None, Vec::new());
        for (place, text) in list.split(',').map(str::trim).filter(|text| !text.is_empty()).enumerate() {
            let malformed = VaultError::MalformedKey(place + 1);
            if let Some(text) = text.strip_prefix(PUBLIC).filter(|_| newest.is_some()) {
                let bytes = key_bytes(text).ok_or(malformed)?;
                public.push((id_of(&bytes), STANDARD.encode(bytes)));
                continue;
            }
            let seed = key_bytes(text).ok_or(malformed.clone())?;
            let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| malformed)?;
            let bytes = pair.public_key().as_ref();
            public.push((id_of(bytes), STANDARD.encode(bytes)));
            newest.get_or_insert(pair);
        }
        Ok(Self { newest: newest.ok_or(VaultError::EmptyRing)?, public })
    }

    /// Signs with the newest key, in base64.
    #[must_use]
    pub fn sign(&self, text: &[u8]) -> String {
        STANDARD.encode(self.newest.sign(text))
    }

    /// The id of the key that [`Self::sign`] uses.
    #[must_use]
    pub fn newest_id(&self) -> String {
        self.public[0].0.clone()
    }

    /// The public keys, newest first: id, and 32 bytes in base64.
    #[must_use]
    pub fn public(&self) -> Vec<(String, String)> {
        self.public.clone()
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
    Some(STANDARD.encode(key_bytes(text.strip_prefix(PUBLIC).unwrap_or(text))?))
}

fn key_bytes(text: &str) -> Option<Vec<u8>> {
    let bytes = if text.len() == 64 { hex::decode(text).ok() } else { STANDARD.decode(text).ok() };
    bytes.filter(|bytes| bytes.len() == 32)
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
    #[test]
    fn of_a_key_that_signs_no_more_the_public_half_is_enough() {
        let (old, new) = (MasterRing::generate_key().unwrap(), MasterRing::generate_key().unwrap());
        let before = SigningKeys::parse(&old).unwrap();
        let signature = before.sign(b"a receipt");
        let (id, public) = &before.public()[0];
        for retired in
            [format!("public:{public}"), format!(" public:{}", hex::encode(STANDARD.decode(public).unwrap()))]
        {
            let keys = SigningKeys::parse(&format!("{new},{retired}")).unwrap();
            assert_eq!(keys.public()[1], (id.clone(), public.clone()));
            assert!(is_signed(&keys.public()[1].1, b"a receipt", &signature));
            assert!(!is_signed(public, b"a receipt", &keys.sign(b"a receipt")), "the new one signs");
        }
        // With none to sign with there is nothing to do.
        assert_eq!(SigningKeys::parse(&format!("public:{public},{new}")).unwrap_err(), VaultError::MalformedKey(1));
        assert_eq!(SigningKeys::parse(&format!("{new},public:short")).unwrap_err(), VaultError::MalformedKey(2));
        assert_eq!(SigningKeys::parse(" , ").unwrap_err(), VaultError::EmptyRing);
    }
}
