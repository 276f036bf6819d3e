//! The events of one document, for the samples of each kind.

use chrono::{DateTime, Utc};

use super::DocumentEvent;
use crate::version::{Digest, Version};

/// An instant of a sample.
///
/// # Panics
/// When it is none.
#[must_use]
pub fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("an instant")
}

/// Every event of a document that says `value`.
#[must_use]
pub fn of<T>(value: T) -> Vec<DocumentEvent<T>> {
    let version = Version {
        updated_at: Some(at("2026-11-01T12:00:00Z")),
        triggered_at: None,
        digest: Digest([0xab; 16]),
        revision: 1,
    };
    vec![
        DocumentEvent::Updated { version, value },
        DocumentEvent::Reaffirmed { version },
        DocumentEvent::Deleted { at: Some(at("2026-11-06T12:00:00Z")) },
        DocumentEvent::Redacted { redaction: "0199c0de-0000-7000-8000-000000000001".to_owned() },
    ]
}
