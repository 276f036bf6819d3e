//! What can be said of an order. Shopify is the authority: nothing here is refused.

use chrono::{DateTime, Utc};

use super::{
    agreement::Agreement,
    parts::{Edit, Fulfillment, Line, Refund, Return, ShippingLine, Status, Terms, Transaction},
};
use crate::{
    ids::{
        AgreementId, CustomerId, EditId, FulfillmentId, LineId, OrderId, RefundId, ReturnId, ShippingLineId,
        TransactionId,
    },
    personal::{PersonalFields, Subject, Visit},
    version::Version,
};

/// A command to one order.
#[derive(Debug, Clone, PartialEq)]
pub enum OrderCommand {
    /// A whole snapshot was seen.
    Observe(Box<ObservedOrder>),
    /// A refund was seen on its own.
    ObserveRefund {
        /// Of the body.
        version: Version,
        /// Which order: it owns the refund's note.
        order_id: OrderId,
        /// Which refund.
        id: RefundId,
        /// What it gave back.
        refund: Refund,
    },
    /// A committed edit was seen.
    ObserveEdit {
        /// Of the body.
        version: Version,
        /// Which order: it owns the edit's note.
        order_id: OrderId,
        /// Which edit.
        id: EditId,
        /// What it changed.
        edit: Edit,
    },
    /// A fulfilment was seen on its own.
    ObserveFulfillment {
        /// Of the body.
        version: Version,
        /// Which fulfilment.
        id: FulfillmentId,
        /// How it stands.
        fulfillment: Fulfillment,
    },
    /// A transaction was seen on its own.
    ObserveTransaction {
        /// Of the body.
        version: Version,
        /// Which transaction.
        id: TransactionId,
        /// How it stands.
        transaction: Transaction,
    },
    /// A return was seen on its own.
    ObserveReturn {
        /// Of the body.
        version: Version,
        /// Which return.
        id: ReturnId,
        /// What the body tells of it.
        seen: Return,
    },
    /// The order was deleted.
    ObserveDeletion {
        /// When the deletion was triggered, if the delivery says.
        at: Option<DateTime<Utc>>,
    },
    /// The buyer's key was destroyed, in the same transaction.
    Redact {
        /// By which redaction.
        redaction: String,
    },
}

/// A snapshot of an order, as one body tells it.
#[derive(Debug, Clone, PartialEq)]
pub struct ObservedOrder {
    /// Which order: it is the subject of a guest's data.
    pub order_id: OrderId,
    /// Of the body.
    pub version: Version,
    /// What seldom changes.
    pub terms: Terms,
    /// What changes.
    pub status: Status,
    /// `None` never erases a customer that is known.
    pub customer: Option<CustomerId>,
    /// Its lines.
    pub lines: Vec<(LineId, Line)>,
    /// Its shipping lines.
    pub shipping_lines: Vec<(ShippingLineId, ShippingLine)>,
    /// Its refunds so far.
    pub refunds: Vec<(RefundId, Refund)>,
    /// Its returns so far.
    pub returns: Vec<(ReturnId, Return)>,
    /// Its fulfilments so far.
    pub fulfillments: Vec<(FulfillmentId, Fulfillment)>,
    /// Its transactions so far, as far as the body has them.
    pub transactions: Vec<(TransactionId, Transaction)>,
    /// Its sales agreements so far; empty where the body has none, as webhooks have.
    pub agreements: Vec<(AgreementId, Agreement)>,
}

impl PersonalFields for OrderCommand {
    fn about(&self) -> Option<Subject> {
        match self {
            Self::Observe(seen) => seen.customer.map(Subject::Customer),
            _ => None,
        }
    }

    fn personal_fields(&mut self, visit: Visit<'_>) {
        match self {
            Self::Observe(seen) => {
                let buyer = match seen.customer {
                    Some(id) => Subject::Customer(id),
                    None => Subject::Order(seen.order_id),
                };
                seen.terms.personal_fields(buyer, visit);
                for (_, line) in &mut seen.lines {
                    line.personal_fields(buyer, visit);
                }
                for (_, refund) in &mut seen.refunds {
                    refund.personal_fields(buyer, visit);
                }
            }
            Self::ObserveRefund { order_id, refund, .. } => refund.personal_fields(Subject::Order(*order_id), visit),
            Self::ObserveEdit { order_id, edit, .. } => edit.personal_fields(Subject::Order(*order_id), visit),
            Self::ObserveFulfillment { .. }
            | Self::ObserveTransaction { .. }
            | Self::ObserveReturn { .. }
            | Self::ObserveDeletion { .. }
            | Self::Redact { .. } => {}
        }
    }
}
