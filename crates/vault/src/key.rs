//! The three kinds of key, and what each seals.

use std::fmt;

use aes_gcm::{
    Aes256Gcm, KeyInit, Nonce,
    aead::{Aead, AeadInOut, Payload},
};
use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD as BASE64};
use domain::{Digest, Sealed, ShopId, Subject};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use uuid::Uuid;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::VaultError;

const NONCE_LENGTH: usize = 12;
const DIGEST_LENGTH: usize = 16;
const TAG_LENGTH: usize = 16;

/// 32 secret bytes, wiped when dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub(crate) struct Secret(pub(crate) [u8; 32]);

impl Secret {
    pub(crate) fn random() -> Result<Self, VaultError> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(|_| VaultError::NoRandomness)?;
        Ok(Self(bytes))
    }

    fn from_slice(bytes: &[u8]) -> Result<Self, VaultError> {
        bytes.try_into().map(Self).map_err(|_| VaultError::DoesNotOpen)
    }

    /// All that [`derive`] needs of it; wiped when dropped.
    pub(crate) fn keyed(&self) -> Hmac<Sha256> {
        <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(&self.0).expect("HMAC takes a key of any length")
    }

    /// Seals under a nonce that stands before the ciphertext. It is a digest, under the key, of what is sealed and where it
    /// stands: so none comes twice but for the same bytes in the same place, whatever the machine's randomness is worth.
    pub(crate) fn seal(&self, bound_to: &[u8], plain: &[u8]) -> Vec<u8> {
        self.seal_keyed(self.keyed(), bound_to, plain)
    }

    fn seal_keyed(&self, keyed: Hmac<Sha256>, bound_to: &[u8], plain: &[u8]) -> Vec<u8> {
        let nonce = *derive(keyed, 7, &[bound_to, plain]).first_chunk().expect("it is longer");
        encrypt(&self.0, &nonce, bound_to, &nonce, plain)
    }

    pub(crate) fn open(&self, bound_to: &[u8], sealed: &[u8]) -> Result<Vec<u8>, VaultError> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE_LENGTH).ok_or(VaultError::DoesNotOpen)?;
        decrypt(&self.0, nonce.try_into().expect("split there"), bound_to, sealed)
    }
}

/// HMAC-SHA256 over a purpose and parts; each part is preceded by its length, so that no two lists are alike.
fn derive(mut keyed: Hmac<Sha256>, purpose: u8, parts: &[&[u8]]) -> [u8; 32] {
    keyed.update(&[purpose]);
    for part in parts {
        keyed.update(&(part.len() as u64).to_be_bytes());
        keyed.update(part);
    }
    keyed.finalize().into_bytes().into()
}

pub(crate) fn digest_of_body(keyed: Hmac<Sha256>, body: &[u8]) -> Digest {
    Digest(*derive(keyed, 8, &[body]).first_chunk().expect("it is longer"))
}

/// The head, which stays as it is, and the ciphertext with its tag.
fn encrypt(key: &[u8; 32], nonce: &[u8; NONCE_LENGTH], bound_to: &[u8], head: &[u8], plain: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::with_capacity(head.len() + plain.len() + TAG_LENGTH);
    sealed.extend_from_slice(head);
    sealed.extend_from_slice(plain);
    let tag = Aes256Gcm::new(key.into())
        .encrypt_inout_detached(&Nonce::from(*nonce), bound_to, (&mut sealed[head.len()..]).into())
        .expect("a body is far below the 64 GiB that GCM allows");
    sealed.extend_from_slice(&tag);
    sealed
}

fn decrypt(key: &[u8; 32], nonce: &[u8; NONCE_LENGTH], bound_to: &[u8], sealed: &[u8]) -> Result<Vec<u8>, VaultError> {
    Aes256Gcm::new(key.into())
        .decrypt(&Nonce::from(*nonce), Payload { msg: sealed, aad: bound_to })
        .map_err(|_| VaultError::DoesNotOpen)
}

/// A shop's key: wraps its subjects' keys and seals the bodies of its webhooks and the states of its aggregates.
#[derive(Clone)]
pub struct ShopKey {
    shop: ShopId,
    secret: Secret,
    /// Made once: every key that is wrapped and every digest of an address needs it.
    keyed: Hmac<Sha256>,
}

impl fmt::Debug for ShopKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ShopKey({})", self.shop)
    }
}

impl ShopKey {
    /// A new key for a new shop.
    ///
    /// # Errors
    /// [`VaultError::NoRandomness`].
    pub fn generate(shop: ShopId) -> Result<Self, VaultError> {
        Ok(Self::new(shop, Secret::random()?))
    }

    pub(crate) fn from_secret(shop: ShopId, bytes: &[u8]) -> Result<Self, VaultError> {
        Ok(Self::new(shop, Secret::from_slice(bytes)?))
    }

    fn new(shop: ShopId, secret: Secret) -> Self {
        Self { shop, keyed: secret.keyed(), secret }
    }

    pub(crate) fn secret(&self) -> &Secret {
        &self.secret
    }

    /// See [`derive`].
    pub(crate) fn derive(&self, purpose: u8, parts: &[&[u8]]) -> [u8; 32] {
        derive(self.keyed.clone(), purpose, parts)
    }

    /// By which deliveries of one body are known as such in this shop. Of a body that is little more than an address, a digest
    /// without a key would confirm whoever guesses it, also after the person is erased.
    #[must_use]
    pub fn body_digest(&self, body: &[u8]) -> Digest {
        digest_of_body(self.keyed.clone(), body)
    }

    /// A new subject key and its wrapped form, which is what the key table holds.
    ///
    /// # Errors
    /// [`VaultError::NoRandomness`].
    pub fn generate_subject(&self, subject: Subject) -> Result<(SubjectKey, Vec<u8>), VaultError> {
        let secret = Secret::random()?;
        let bound_to = self.subject_binding(subject);
        let wrapped = self.secret.seal_keyed(self.keyed.clone(), bound_to.as_bytes(), &secret.0);
        Ok((SubjectKey::new(self.shop, subject, &secret), wrapped))
    }

    /// The subject key that [`Self::generate_subject`] wrapped.
    ///
    /// # Errors
    /// [`VaultError::DoesNotOpen`] for another shop's, another subject's or a changed key.
    pub fn unwrap_subject(&self, subject: Subject, wrapped: &[u8]) -> Result<SubjectKey, VaultError> {
        let bytes = self.secret.open(self.subject_binding(subject).as_bytes(), wrapped)?;
        Ok(SubjectKey::new(self.shop, subject, &Secret::from_slice(&bytes)?))
    }

    fn subject_binding(&self, subject: Subject) -> String {
        format!("subject-key/{}/{subject}", self.shop)
    }

    /// The key of one webhook's body: a body has a key of its own, so its nonce cannot repeat.
    #[must_use]
    pub fn body(&self, inbox_id: Uuid) -> BodyKey {
        BodyKey(Secret(self.derive(3, &[self.shop.0.as_bytes(), inbox_id.as_bytes()])))
    }

    /// The key of the shop's snapshots.
    pub(crate) fn snapshots(&self) -> Secret {
        Secret(self.derive(4, &[self.shop.0.as_bytes()]))
    }
}

/// Seals one webhook's body.
pub struct BodyKey(Secret);

impl BodyKey {
    /// The sealed body.
    #[must_use]
    pub fn seal(&self, body: &[u8]) -> Vec<u8> {
        encrypt(&self.0.0, &[0; NONCE_LENGTH], b"inbox", &[], body)
    }

    /// The body again.
    ///
    /// # Errors
    /// [`VaultError::DoesNotOpen`] when it was changed or belongs to another delivery.
    pub fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, VaultError> {
        decrypt(&self.0.0, &[0; NONCE_LENGTH], b"inbox", sealed)
    }
}

/// A subject's key: seals that subject's values.
#[derive(Clone)]
pub struct SubjectKey {
    shop: ShopId,
    subject: Subject,
    /// All that a value's key is derived from; wiped when dropped.
    keyed: Hmac<Sha256>,
    /// What the binding of each of its fields begins with.
    binding: String,
}

impl fmt::Debug for SubjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SubjectKey({})", self.shop)
    }
}

impl SubjectKey {
    fn new(shop: ShopId, subject: Subject, secret: &Secret) -> Self {
        Self { shop, subject, keyed: secret.keyed(), binding: format!("{shop}/{subject}/") }
    }

    /// Seals a value. The same value in the same field gives the same bytes, and no two values share a key and nonce:
    /// each is encrypted under a key derived from the digest of what it says and where it stands. So nonces cannot
    /// repeat by construction, and 'changed or not' is a comparison of bytes.
    #[must_use]
    pub fn seal(&self, field: &str, plain: &[u8]) -> Sealed {
        let bound_to = self.binding(field);
        let digest = derive(self.keyed.clone(), 1, &[bound_to.as_bytes(), plain]);
        let digest = &digest[..DIGEST_LENGTH];
        let key = derive(self.keyed.clone(), 2, &[digest]);
        let bytes = encrypt(&key, &[0; NONCE_LENGTH], bound_to.as_bytes(), digest, plain);
        Sealed { subject: self.subject, bytes: BASE64.encode(bytes) }
    }

    /// The value again.
    ///
    /// # Errors
    /// [`VaultError::DoesNotOpen`] when it was changed, or moved to another field, subject or shop.
    pub fn open(&self, field: &str, sealed: &Sealed) -> Result<Vec<u8>, VaultError> {
        let bytes = BASE64.decode(&sealed.bytes).map_err(|_| VaultError::DoesNotOpen)?;
        let (digest, sealed) = bytes.split_at_checked(DIGEST_LENGTH).ok_or(VaultError::DoesNotOpen)?;
        let key = derive(self.keyed.clone(), 2, &[digest]);
        decrypt(&key, &[0; NONCE_LENGTH], self.binding(field).as_bytes(), sealed)
    }

    fn binding(&self, field: &str) -> String {
        [&self.binding, field].concat()
    }
}

#[cfg(test)]
mod tests {
    use domain::ids::CustomerId;
    use proptest::prelude::*;

    use super::*;

    const SHOP: ShopId = ShopId(Uuid::from_u128(1));
    const JANE: Subject = Subject::Customer(CustomerId(1));

    #[test]
    fn a_value_opens_only_where_it_was_sealed() {
        let shop = ShopKey::generate(SHOP).unwrap();
        let (jane, wrapped) = shop.generate_subject(JANE).unwrap();
        let sealed = jane.seal("order.note", b"\"call me\"");
        assert_eq!(jane.open("order.note", &sealed).unwrap(), b"\"call me\"");
        assert_eq!(jane.open("order.buyer", &sealed), Err(VaultError::DoesNotOpen));
        let (other, _) = shop.generate_subject(JANE).unwrap();
        assert_eq!(other.open("order.note", &sealed), Err(VaultError::DoesNotOpen));
        assert!(shop.unwrap_subject(JANE, &wrapped).unwrap().open("order.note", &sealed).is_ok());
        assert!(shop.unwrap_subject(Subject::Shop, &wrapped).is_err());
        let elsewhere = ShopKey::from_secret(ShopId(Uuid::from_u128(2)), &shop.secret.0).unwrap();
        assert!(elsewhere.unwrap_subject(JANE, &wrapped).is_err());
    }

    #[test]
    fn no_nonce_stands_before_two_different_ciphertexts() {
        let secret = Secret::random().unwrap();
        let mut seen = std::collections::HashMap::new();
        for place in 0..200_u32 {
            for value in 0..50_u32 {
                let sealed = secret.seal(&place.to_be_bytes(), &value.to_be_bytes());
                assert_eq!(secret.open(&place.to_be_bytes(), &sealed).unwrap(), value.to_be_bytes());
                assert_eq!(
                    secret.seal(&place.to_be_bytes(), &value.to_be_bytes()),
                    sealed,
                    "the same in the same place"
                );
                assert_eq!(seen.insert(sealed[..NONCE_LENGTH].to_vec(), sealed), None);
            }
        }
    }

    #[test]
    fn a_body_opens_only_under_its_own_delivery() {
        let shop = ShopKey::generate(SHOP).unwrap();
        let sealed = shop.body(Uuid::from_u128(7)).seal(b"{}");
        assert_eq!(shop.body(Uuid::from_u128(7)).open(&sealed).unwrap(), b"{}");
        assert!(shop.body(Uuid::from_u128(8)).open(&sealed).is_err());
    }

    proptest! {
        #[test]
        fn sealed_bytes_are_equal_exactly_when_the_values_are(a in ".{0,40}", b in ".{0,40}") {
            let shop = ShopKey::generate(SHOP).unwrap();
            let (jane, _) = shop.generate_subject(JANE).unwrap();
            let seal = |text: &str| jane.seal("f", text.as_bytes());
            prop_assert_eq!(seal(&a) == seal(&b), a == b);
            prop_assert_eq!(seal(&a), seal(&a));
        }

        #[test]
        fn a_flipped_bit_does_not_open(text in ".{0,40}", at in any::<prop::sample::Index>(), bit in 0_u8..8) {
            let shop = ShopKey::generate(SHOP).unwrap();
            let (jane, _) = shop.generate_subject(JANE).unwrap();
            let mut sealed = jane.seal("f", text.as_bytes());
            let mut bytes = BASE64.decode(&sealed.bytes).unwrap();
            let index = at.index(bytes.len());
            bytes[index] ^= 1 << bit;
            sealed.bytes = BASE64.encode(bytes);
            prop_assert_eq!(jane.open("f", &sealed), Err(VaultError::DoesNotOpen));
        }
    }
}
