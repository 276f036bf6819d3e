//! What happened to an order, in the shop's words. Each event carries only what a body changed.

use chrono::{DateTime, Utc};
use cqrs_es::DomainEvent;
use serde::{Deserialize, Serialize};

use super::{
    agreement::Agreement,
    parts::{Edit, Fulfillment, Line, Refund, Return, ShippingLine, Status, Terms, Transaction},
};
use crate::{
    command::Stored,
    ids::{AgreementId, CustomerId, EditId, FulfillmentId, LineId, RefundId, ReturnId, ShippingLineId, TransactionId},
    join::Listed,
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
    /// A fulfilment that is new or stands otherwise.
    FulfillmentUpdated {
        /// Of the body.
        version: Version,
        /// Which.
        id: FulfillmentId,
        /// How it stands.
        fulfillment: Fulfillment,
    },
    /// A transaction that is new or stands otherwise.
    TransactionRecorded {
        /// Of the body.
        version: Version,
        /// Which.
        id: TransactionId,
        /// How it stands.
        transaction: Transaction,
    },
    /// A return that is new or stands otherwise.
    ReturnUpdated {
        /// Of the body.
        version: Version,
        /// Which.
        id: ReturnId,
        /// What the body tells of it.
        seen: Return,
    },
    /// What Shopify itself booked: it takes the place of what was derived from the order's other parts.
    SalesAgreed {
        /// Of the document.
        version: Version,
        /// Its agreements.
        agreements: Vec<Listed<AgreementId, Agreement>>,
    },
    /// The order was deleted: it counts nowhere any more.
    OrderDeleted {
        /// When, if the delivery says.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<DateTime<Utc>>,
    },
    /// The buyer's key is destroyed: what was personal is gone, and none will be kept again. What was sold stays.
    OrderRedacted {
        /// By which redaction.
        redaction: String,
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
    /// How its returns stand.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub return_states: Vec<Listed<ReturnId, String>>,
    /// What its returns cost the buyer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub return_fees: Vec<Listed<ReturnId, i64>>,
    /// Its fulfilments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fulfillments: Vec<Listed<FulfillmentId, Fulfillment>>,
    /// Its transactions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transactions: Vec<Listed<TransactionId, Transaction>>,
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
            Self::FulfillmentUpdated { .. } => "FulfillmentUpdated",
            Self::TransactionRecorded { .. } => "TransactionRecorded",
            Self::ReturnUpdated { .. } => "ReturnUpdated",
            Self::SalesAgreed { .. } => "SalesAgreed",
            Self::OrderDeleted { .. } => "OrderDeleted",
            Self::OrderRedacted { .. } => "OrderRedacted",
        }
        .to_owned()
    }

    fn event_version(&self) -> String {
        let version = match self {
            Self::OrderPlaced(_) | Self::OrderRevised(_) | Self::OrderCancelled(_) | Self::OrderReaffirmed(_) => "2",
            // An older build would pass over them.
            Self::RefundIssued { refund, .. } | Self::RefundRevised { refund, .. }
                if refund.additional_fees_minor != 0 =>
            {
                "2"
            }
            _ => "1",
        };
        version.to_owned()
    }
}

impl Stored for OrderEvent {
    fn knows(event_type: &str, event_version: &str) -> bool {
        match event_type {
            "OrderPlaced" | "OrderRevised" | "OrderCancelled" | "OrderReaffirmed" | "RefundIssued"
            | "RefundRevised" => {
                matches!(event_version, "1" | "2")
            }
            "OrderEdited"
            | "OrderDeleted"
            | "FulfillmentUpdated"
            | "TransactionRecorded"
            | "ReturnUpdated"
            | "SalesAgreed"
            | "OrderRedacted" => event_version == "1",
            _ => false,
        }
    }

    fn from_stored(event_type: &str, event_version: &str, payload: &str) -> Result<Self, serde_json::Error> {
        match (event_type, event_version) {
            ("OrderPlaced" | "OrderRevised" | "OrderCancelled" | "OrderReaffirmed", "1") => snapshot_from_v1(payload),
            _ => serde_json::from_str(payload),
        }
    }
}

/// Version 1 told of returns by their fees alone, in `returns`.
fn snapshot_from_v1(payload: &str) -> Result<OrderEvent, serde_json::Error> {
    #[derive(Deserialize)]
    struct ReturnV1 {
        fees_minor: i64,
    }
    let mut event: serde_json::Value = serde_json::from_str(payload)?;
    let news = event.as_object_mut().and_then(|event| event.values_mut().next()?.as_object_mut());
    if let Some(news) = news
        && let Some(returns) = news.remove("returns")
    {
        let returns: Vec<Listed<ReturnId, ReturnV1>> = serde_json::from_value(returns)?;
        let fees = returns.into_iter().map(|Listed { id, value }| Listed { id, value: value.map(|v1| v1.fees_minor) });
        news.insert("return_fees".to_owned(), serde_json::to_value(fees.collect::<Vec<_>>())?);
    }
    serde_json::from_value(event)
}
