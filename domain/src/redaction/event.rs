//! What happened to a redaction.

use chrono::{DateTime, Utc};
use cqrs_es::DomainEvent;
use serde::{Deserialize, Serialize};

use crate::{command::Stored, ids::ShopId, personal::Subject};

/// Who did something: `webhook`, `command`, what the program calls itself, a token's role and id, or whom an operator named. Never a buyer.
pub type Actor = String;

/// An event of a redaction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum RedactionEvent {
    /// Somebody is to be erased.
    RedactionRequested(Request),
    /// The law says that it is to be kept for now.
    RedactionHeld {
        /// Which law or case.
        reason: String,
        /// Who says so.
        by: Actor,
        /// When.
        at: DateTime<Utc>,
    },
    /// The law does not say so any more.
    RedactionReleased(Said),
    /// A second person said that it is not to be waited with.
    RedactionConfirmed(Said),
    /// It is not to be, after all.
    RedactionCancelled(Said),
    /// The keys are destroyed: nothing of the subjects can be read from here on.
    SubjectsErased(Erased),
    /// What was looked at afterwards, signed.
    RedactionCertified(Receipt),
}

/// At whose word something was done, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// Who says so.
    pub by: Actor,
    /// Why; earlier releases did not ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When.
    pub at: DateTime<Utc>,
}

/// Who is to be erased, and at whose word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Whose keys are to be destroyed, beside those of the orders that are theirs by then.
    pub subjects: Vec<Subject>,
    /// Why: a case's number, `customers/redact` … Not who.
    pub reason: String,
    /// Who asks.
    pub by: Actor,
    /// When it was asked for.
    pub at: DateTime<Utc>,
    /// Not to be done before.
    pub due_at: DateTime<Utc>,
    /// The history of Shopify's request, if it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// It is not done before another person has confirmed it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub needs_confirmation: bool,
    /// Of Shopify's request about a shop: when it was sent. What is of a later installation stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub triggered_at: Option<DateTime<Utc>>,
}

impl Request {
    /// The whole shop is meant.
    #[must_use]
    pub fn is_of_shop(&self) -> bool {
        self.subjects.contains(&Subject::Shop)
    }
}

/// What was erased.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erased {
    /// Whose keys were destroyed, those of orders included.
    pub subjects: Vec<Subject>,
    /// Keys that there were.
    pub keys: u64,
    /// How many histories they stand in.
    pub streams: u64,
    /// Which, like `order:7`; of a shop all of its own, which are not listed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub histories: Vec<String>,
    /// Out of which tables what was let go, by how many rows, or values in rows that stay.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tables: Vec<(String, u64)>,
    /// Sealed values in these histories that no key opens any more.
    pub values: u64,
    /// Which fields: `order.buyer` …, by how many values.
    pub fields: Vec<(String, u64)>,
    /// Bodies of deliveries that were let go.
    pub bodies: u64,
    /// Digests of addresses and numbers that were let go.
    pub contacts: u64,
    /// Of a shop: as which shop its later installation goes on, with what came since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goes_on_as: Option<ShopId>,
    /// Since when that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub installed_again_at: Option<DateTime<Utc>>,
    /// When.
    pub at: DateTime<Utc>,
}

impl Erased {
    /// Nobody, of whom nothing was there.
    #[must_use]
    pub fn nothing(at: DateTime<Utc>) -> Self {
        Self {
            subjects: Vec::new(),
            keys: 0,
            streams: 0,
            histories: Vec::new(),
            tables: Vec::new(),
            values: 0,
            fields: Vec::new(),
            bodies: 0,
            contacts: 0,
            goes_on_as: None,
            installed_again_at: None,
            at,
        }
    }

    /// The whole shop was.
    #[must_use]
    pub fn is_of_shop(&self) -> bool {
        self.subjects.contains(&Subject::Shop)
    }
}

/// What was looked at after an erasure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Of the erasure's event in the shop's log.
    pub position: i64,
    /// The hash of that event, in hex: what it says is chained.
    pub hash: String,
    /// Values of the person that were known before and were searched for.
    pub searched: u64,
    /// Of these found in rows that are the person's, with keys that are still there and settled bodies that are about them.
    pub found: u64,
    /// Links of the chain at the person's events that were followed, and all held.
    pub links: u64,
    /// What the person's orders add to the ledger is as before; `None` where it was not known any more.
    pub sums_unchanged: Option<bool>,
    /// Old row versions of the key tables and bodies were vacuumed, and nobody saw them any more.
    pub vacuumed: bool,
    /// Write-ahead log and backups from before this instant may hold the keys and bodies until they are let go: all was destroyed by
    /// then, and if it says `vacuumed`, vacuumed.
    pub horizon: DateTime<Utc>,
    /// The id of the key that signed.
    pub key_id: String,
    /// Ed25519 over the canonical text of the redaction, from who asked for it on, in base64.
    pub signature: String,
    /// When.
    pub at: DateTime<Utc>,
}

impl DomainEvent for RedactionEvent {
    fn event_type(&self) -> String {
        match self {
            Self::RedactionRequested(_) => "RedactionRequested",
            Self::RedactionHeld { .. } => "RedactionHeld",
            Self::RedactionReleased(_) => "RedactionReleased",
            Self::RedactionConfirmed(_) => "RedactionConfirmed",
            Self::RedactionCancelled(_) => "RedactionCancelled",
            Self::SubjectsErased(_) => "SubjectsErased",
            Self::RedactionCertified(_) => "RedactionCertified",
        }
        .to_owned()
    }

    fn event_version(&self) -> String {
        match self {
            // 2: may be of a whole shop.
            Self::RedactionRequested(_) | Self::SubjectsErased(_) => "2".to_owned(),
            _ => "1".to_owned(),
        }
    }
}

impl Stored for RedactionEvent {
    fn knows(event_type: &str, event_version: &str) -> bool {
        match event_type {
            "RedactionRequested" | "SubjectsErased" => matches!(event_version, "1" | "2"),
            "RedactionHeld" | "RedactionReleased" | "RedactionConfirmed" | "RedactionCancelled"
            | "RedactionCertified" => event_version == "1",
            _ => false,
        }
    }
}
