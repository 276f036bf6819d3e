//! What happened to a customer.

use chrono::{DateTime, Utc};
use cqrs_es::DomainEvent;
use serde::{Deserialize, Serialize};

use crate::{
    command::Stored,
    ids::{CustomerId, OrderId},
    money::Currency,
    personal::Personal,
    version::Version,
};

/// An event of a customer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum CustomerEvent {
    /// The newest body says something new.
    CustomerUpdated {
        /// Of the body.
        #[serde(rename = "v")]
        version: Version,
        /// What it says.
        profile: Box<Profile>,
    },
    /// The newest body says the same: kept because it may outrank a later arrival.
    CustomerReaffirmed {
        /// Of the body.
        #[serde(rename = "v")]
        version: Version,
    },
    /// A merge with another customer took place, or failed.
    CustomerMerged {
        /// Of the body.
        #[serde(rename = "v")]
        version: Version,
        /// With whom.
        other: CustomerId,
        /// Which way, and whether it took place.
        merge: Merge,
    },
    /// Shopify's own counters changed.
    PurchasesCounted {
        /// Of the body.
        #[serde(rename = "v")]
        version: Version,
        /// What they say.
        purchases: Purchases,
    },
    /// The customer was deleted.
    CustomerDeleted {
        /// When that was triggered, if the delivery says.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<DateTime<Utc>>,
    },
    /// The customer's key is destroyed: what was personal is gone, and none will be kept again.
    CustomerRedacted {
        /// By which redaction.
        redaction: String,
    },
}

/// What a body says of a customer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// When Shopify made the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<DateTime<Utc>>,
    /// `enabled`, `disabled`, `invited`, `declined`: of the account, not of the person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// ISO country of the default address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    /// Region code within that country.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Who it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<Personal<Person>>,
}

/// Everything in a customer's body that is about the person.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Person {
    /// Given name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_name: Option<String>,
    /// Family name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_name: Option<String>,
    /// As Shopify has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// As Shopify has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
    /// The default address as Shopify sent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_address: Option<serde_json::Value>,
    /// What staff noted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Comma-separated; in bodies from before 2025-01.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<String>,
}

/// A merge of two customers, seen from one of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Merge {
    /// Whether this one stays.
    pub role: MergeRole,
    /// `completed`, `failed` …, in lower case.
    pub status: String,
}

impl Merge {
    /// It took place.
    #[must_use]
    pub fn is_completed(&self) -> bool {
        self.status == "completed"
    }
}

/// What a merge makes of one of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MergeRole {
    /// It stays and takes over the other's orders.
    Kept,
    /// It goes; its orders are the other's.
    Absorbed,
}

/// What Shopify counts of a customer: shown beside our own figures, never used in them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purchases {
    /// Orders of all time.
    pub orders: i64,
    /// Payments of all time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spent_minor: Option<i64>,
    /// Of which currency.
    pub currency: Currency,
    /// The newest order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_order: Option<OrderId>,
}

impl DomainEvent for CustomerEvent {
    fn event_type(&self) -> String {
        match self {
            Self::CustomerUpdated { .. } => "CustomerUpdated",
            Self::CustomerReaffirmed { .. } => "CustomerReaffirmed",
            Self::CustomerMerged { .. } => "CustomerMerged",
            Self::PurchasesCounted { .. } => "PurchasesCounted",
            Self::CustomerDeleted { .. } => "CustomerDeleted",
            Self::CustomerRedacted { .. } => "CustomerRedacted",
        }
        .to_owned()
    }

    fn event_version(&self) -> String {
        "1".to_owned()
    }
}

impl Stored for CustomerEvent {
    fn knows(event_type: &str, event_version: &str) -> bool {
        let known = [
            "CustomerUpdated",
            "CustomerReaffirmed",
            "CustomerMerged",
            "PurchasesCounted",
            "CustomerDeleted",
            "CustomerRedacted",
        ];
        event_version == "1" && known.contains(&event_type)
    }
}
