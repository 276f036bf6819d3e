//! Which of two bodies about one thing is the newer, whatever order they arrived in.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// The order of observations: Shopify's bodies are late, doubled, unordered, and equal in `updated_at` more often
/// than one thinks. Compared field by field from the top; arrival plays no part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Version {
    /// The body's own `updated_at`, to the second.
    #[serde(rename = "u")]
    pub updated_at: Option<DateTime<Utc>>,
    /// When Shopify says that the delivery was triggered (X-Shopify-Triggered-At).
    #[serde(rename = "t", default, skip_serializing_if = "Option::is_none")]
    pub triggered_at: Option<DateTime<Utc>>,
    /// Of the body: decides where the times are equal.
    #[serde(rename = "d")]
    pub digest: Digest,
    /// Of the translation: a mended translation of the same body replaces what the old one contributed.
    #[serde(rename = "r")]
    pub revision: u32,
}

/// By which a body is known: 16 bytes, made under the key of the shop that it came to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 16]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        let mut bytes = [0; 16];
        let fault = || serde::de::Error::custom("a digest is 32 hex digits");
        if text.len() != 32 || !text.is_ascii() {
            return Err(fault());
        }
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).map_err(|_| fault())?;
        }
        Ok(Self(bytes))
    }
}
