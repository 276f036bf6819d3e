//! Keys and sealing. Only this crate sees key bytes.
//!
//! ```text
//! master ring (configuration) ─wraps─► shop key ─wraps─► subject key ─seals─► one personal value
//!                                          └─seals─► webhook bodies, snapshots
//! ```
//!
//! AES-256-GCM throughout; the associated data binds a ciphertext to its shop, subject and field, so that it opens
//! nowhere else. No key and nonce meet twice by construction: one of the two follows from what is sealed and where it stands. Destroying a subject's key makes every value of that person unreadable at once, in the log too.

mod contact;
mod key;
mod ring;
mod sealer;
mod signing;
mod snapshot;

pub use contact::{ContactKey, digit};
pub use key::{BodyKey, ShopKey, SubjectKey};
pub use ring::MasterRing;
pub use sealer::{Named, Sealer, SubjectState};
pub use signing::{SigningKeys, is_signed, key_id, parse_public_key};
pub use snapshot::SnapshotOf;

/// Why a key or a sealed value could not be used. No variant shows a byte of either.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// A key in the configuration is not 32 bytes in base64 or hex.
    #[error("key {0} of the ring is not 32 bytes in base64 or hex")]
    MalformedKey(usize),
    /// The ring is empty.
    #[error("the key ring holds no key")]
    EmptyRing,
    /// Sealed under a key that the ring does not hold.
    #[error("sealed under master key {0}, which the ring does not hold")]
    UnknownKey(String),
    /// Changed, cut, moved to another place, or sealed under another key.
    #[error("a sealed value does not open here")]
    DoesNotOpen,
    /// The subject's key is destroyed.
    #[error("the subject is redacted")]
    Redacted,
    /// A key is needed that was not loaded.
    #[error("no key was loaded for a subject of the command")]
    NoKey,
    /// The operating system gave no random bytes.
    #[error("no randomness available")]
    NoRandomness,
}
