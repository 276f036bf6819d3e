//! What happened to a grant.

use chrono::{DateTime, Utc};
use cqrs_es::DomainEvent;
use serde::{Deserialize, Serialize};

use crate::{
    command::Stored,
    redaction::{Actor, Said},
};

/// An event of a grant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum GrantEvent {
    /// Somebody may see personal data for a while.
    GrantIssued(Issued),
    /// Not any more.
    GrantRevoked(Said),
    /// Personal data is about to be shown.
    GrantUsed(Used),
}

/// Who may see personal data, for how long, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issued {
    /// The id of the auditor's token.
    pub token: String,
    /// Why: a case's number … Not who.
    pub reason: String,
    /// Who grants it.
    pub by: Actor,
    /// When.
    pub at: DateTime<Utc>,
    /// From then on it is over.
    pub until: DateTime<Utc>,
}

/// A use of a grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Used {
    /// The token that asked.
    pub token: String,
    /// What is shown.
    pub read: Read,
    /// When.
    pub at: DateTime<Utc>,
}

/// What is read of a log: a part of it, or one history.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Read {
    /// The route, as the document has it.
    pub route: String,
    /// Only of this type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aggregate_type: Option<String>,
    /// Only of this history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aggregate_id: Option<String>,
    /// Only these events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_type: Option<String>,
    /// Only what stands behind this position; of one history, this sequence.
    pub after: i64,
    /// And at most this.
    pub up_to: i64,
    /// At most so many events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<i64>,
    /// Not recorded before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<DateTime<Utc>>,
    /// Recorded before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<DateTime<Utc>>,
}

impl DomainEvent for GrantEvent {
    fn event_type(&self) -> String {
        match self {
            Self::GrantIssued(_) => "GrantIssued",
            Self::GrantRevoked(_) => "GrantRevoked",
            Self::GrantUsed(_) => "GrantUsed",
        }
        .to_owned()
    }

    fn event_version(&self) -> String {
        "1".to_owned()
    }
}

impl Stored for GrantEvent {
    fn knows(event_type: &str, event_version: &str) -> bool {
        event_version == "1" && ["GrantIssued", "GrantRevoked", "GrantUsed"].contains(&event_type)
    }
}
