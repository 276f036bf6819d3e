//! What happened to a token.

use chrono::{DateTime, Utc};
use cqrs_es::DomainEvent;
use serde::{Deserialize, Serialize};

use crate::{command::Stored, redaction::Said};

/// An event of a token.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum TokenEvent {
    /// Its holder may ask.
    TokenIssued(Issued),
    /// Not any more.
    TokenRevoked(Said),
}

/// As what somebody may ask, and for how long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issued {
    /// `merchant`, `auditor` or `compliance`.
    pub role: String,
    /// From then on it is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<DateTime<Utc>>,
    /// At whose word, why and when.
    #[serde(flatten)]
    pub said: Said,
}

impl DomainEvent for TokenEvent {
    fn event_type(&self) -> String {
        match self {
            Self::TokenIssued(_) => "TokenIssued",
            Self::TokenRevoked(_) => "TokenRevoked",
        }
        .to_owned()
    }

    fn event_version(&self) -> String {
        "1".to_owned()
    }
}

impl Stored for TokenEvent {
    fn knows(event_type: &str, event_version: &str) -> bool {
        event_version == "1" && ["TokenIssued", "TokenRevoked"].contains(&event_type)
    }
}
