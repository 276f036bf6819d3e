//! What happened to an export.

use chrono::{DateTime, Utc};
use cqrs_es::DomainEvent;
use serde::{Deserialize, Serialize};

use crate::{
    command::Stored,
    personal::Subject,
    redaction::{Actor, Said},
};

/// An event of an export.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ExportEvent {
    /// Somebody is to be told what is kept of them.
    ExportRequested(ExportRequest),
    /// Who is meant of several.
    ExportChosen(Chosen),
    /// It is put together, and can be fetched for a while.
    ExportBuilt(Built),
    /// Somebody fetched it.
    ExportFetched {
        /// Who.
        by: Actor,
        /// In which form: `json`, `html`.
        form: String,
        /// When.
        at: DateTime<Utc>,
    },
    /// What was put together is there no more.
    ExportGone {
        /// Why.
        why: Gone,
        /// When.
        at: DateTime<Utc>,
    },
    /// It is to be put together again.
    ExportRenewed(Said),
}

/// Whose data is asked for, and at whose word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportRequest {
    /// Whose; nobody, if nobody is known by what was asked with.
    pub subjects: Vec<Subject>,
    /// Why: a case's number, `customers/data_request` … Not who.
    pub reason: String,
    /// Who asks.
    pub by: Actor,
    /// When it was asked for: what the deadline runs from.
    pub at: DateTime<Utc>,
    /// The history of Shopify's request, if it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// Whoever is known by the address or number that Shopify asks with, where these are several: what is kept of one is not for
    /// another's eyes, so somebody has to choose before anything is put together.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub several: Vec<Subject>,
}

/// Who is meant of several that are known by what was asked with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chosen {
    /// Whose data it is to be; nobody, where none of them is meant.
    pub subjects: Vec<Subject>,
    /// By what somebody knows that it is they. Not who.
    pub reason: String,
    /// Who says so.
    pub by: Actor,
    /// When.
    pub at: DateTime<Utc>,
}

/// What was put together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Built {
    /// Histories that are in it.
    pub histories: u64,
    /// Personal values that are in it.
    pub values: u64,
    /// How long it is.
    pub bytes: u64,
    /// When.
    pub at: DateTime<Utc>,
    /// Until when it can be fetched.
    pub expires_at: DateTime<Utc>,
}

/// Why what was put together is there no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gone {
    /// It was there for as long as it was to be.
    Expired,
    /// Somebody in it is erased.
    Redacted,
}

impl DomainEvent for ExportEvent {
    fn event_type(&self) -> String {
        match self {
            Self::ExportRequested(_) => "ExportRequested",
            Self::ExportChosen(_) => "ExportChosen",
            Self::ExportBuilt(_) => "ExportBuilt",
            Self::ExportFetched { .. } => "ExportFetched",
            Self::ExportGone { .. } => "ExportGone",
            Self::ExportRenewed(_) => "ExportRenewed",
        }
        .to_owned()
    }

    fn event_version(&self) -> String {
        "1".to_owned()
    }
}

impl Stored for ExportEvent {
    fn knows(event_type: &str, event_version: &str) -> bool {
        const KNOWN: [&str; 6] =
            ["ExportRequested", "ExportChosen", "ExportBuilt", "ExportFetched", "ExportGone", "ExportRenewed"];
        event_version == "1" && KNOWN.contains(&event_type)
    }
}
