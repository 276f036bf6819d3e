//! Values whose JSON type is not to be relied on.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, de::IgnoredAny};
use serde_json::value::RawValue;

/// A number as its text: `12.50`, `"12.50"` and `"1e2"` alike, so that no float ever holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Number(pub String);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&'de RawValue>::deserialize(deserializer)?.get();
        let text = match raw.as_bytes().first() {
            Some(b'"') => serde_json::from_str::<Cow<'_, str>>(raw).map_err(serde::de::Error::custom)?,
            Some(b'-' | b'0'..=b'9') => Cow::Borrowed(raw),
            _ => return Err(serde::de::Error::custom("expected a number")),
        };
        Ok(Self(text.trim().to_owned()))
    }
}

impl Number {
    /// An id: digits only, or a `gid://shopify/…/digits`.
    #[must_use]
    pub fn id(&self) -> Option<u64> {
        self.0.rsplit('/').next().and_then(|digits| digits.parse().ok())
    }
}

/// Whether a key is there at all, whatever its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Present(pub bool);

impl<'de> Deserialize<'de> for Present {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self(true))
    }
}
