//! What happened to an order, in the shop's words. Each event carries only what a body changed.

use chrono::{DateTime, Utc};
use cqrs_es::DomainEvent;
use serde::{Deserialize, Serialize};

use super::parts::{Edit, Line, Refund, Return, ShippingLine, Status, Terms};
use crate::{
    command::Stored,
    ids::{CustomerId, EditId, LineId, RefundId, ReturnId, ShippingLineId},
    version::Version,
};

/// An event of an order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum OrderEvent {
    /// The first snapshot.
    OrderPlaced(Box<SnapshotNews>),
    /// A snapshot that changed what we believed: newer, or late and older.
    OrderRevised(Box<SnapshotNews>),
    /// A snapshot that tells of the cancellation.
    OrderCancelled(Box<SnapshotNews>),
    /// A snapshot that is newer and says the same: kept because it may outrank a later arrival.
    OrderReaffirmed(Box<SnapshotNews>),
    /// A refund that was not known.
    RefundIssued {
        /// Of the body.
        version: Version,
        /// Which.
        id: RefundId,
        /// What it gave back.
        refund: Refund,
    },
    /// A known refund whose newest body differs.
    RefundRevised {
        /// Of the body.
        version: Version,
        /// Which.
        id: RefundId,
        /// What it gave back.
        refund: Refund,
    },
    /// A committed edit.
    OrderEdited {
        /// Of the body.
        version: Version,
        /// Which.
        id: EditId,
        /// What it changed.
        edit: Edit,
    },
    /// The order was deleted: it counts nowhere any more.
    OrderDeleted {
        /// When, if the delivery says.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<DateTime<Utc>>,
    },
}

/// What a snapshot changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SnapshotNews {
    /// Of the body.
    #[serde(rename = "v")]
    pub version: Version,
    /// When they changed and this is the newest body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terms: Option<Terms>,
    /// When it changed and this is the newest body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// Whom the body names, if anyone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer: Option<CustomerId>,
    /// The body's lines that this body tells something about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<Listed<LineId, Line>>,
    /// Likewise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shipping_lines: Vec<Listed<ShippingLineId, ShippingLine>>,
    /// Refunds that the body repeats unchanged; changed ones are events of their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refunds: Vec<RefundId>,
    /// Its returns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub returns: Vec<Listed<ReturnId, Return>>,
}

/// A member that a snapshot lists.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Listed<Id, T> {
    /// Which.
    pub id: Id,
    /// `None`: as it is known already; this body only vouches for it.
    #[serde(rename = "is", default = "none", skip_serializing_if = "Option::is_none")]
    pub value: Option<T>,
}

fn none<T>() -> Option<T> {
    None
}

impl DomainEvent for OrderEvent {
    fn event_type(&self) -> String {
        match self {
            Self::OrderPlaced(_) => "OrderPlaced",
            Self::OrderRevised(_) => "OrderRevised",
            Self::OrderCancelled(_) => "OrderCancelled",
            Self::OrderReaffirmed(_) => "OrderReaffirmed",
            Self::RefundIssued { .. } => "RefundIssued",
            Self::RefundRevised { .. } => "RefundRevised",
            Self::OrderEdited { .. } => "OrderEdited",
            Self::OrderDeleted { .. } => "OrderDeleted",
        }
        .to_owned()
    }

    fn event_version(&self) -> String {
        "1".to_owned()
    }
}

impl Stored for OrderEvent {
    fn knows(event_type: &str, event_version: &str) -> bool {
        let known = [
            "OrderPlaced",
            "OrderRevised",
            "OrderCancelled",
            "OrderReaffirmed",
            "RefundIssued",
            "RefundRevised",
            "OrderEdited",
            "OrderDeleted",
        ];
        event_version == "1" && known.contains(&event_type)
    }
}
