//! A draft of an order: it counts nowhere until it is converted, and then the order does. A [`Document`].

#[cfg(test)]
pub(crate) mod samples;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    document::Document,
    ids::{CustomerId, OrderId},
    money::Currency,
    personal::{PersonalFields, Subject, Visit},
};

/// What a body says of a draft. Nothing about the buyer is kept but the customer's number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DraftOrder {
    /// `open`, `invoice_sent`, `completed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// When staff made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<DateTime<Utc>>,
    /// When it became an order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<DateTime<Utc>>,
    /// The order that it became.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_id: Option<OrderId>,
    /// For whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer_id: Option<CustomerId>,
    /// The shop's.
    pub currency: Currency,
    /// Goods after discounts.
    pub subtotal_minor: i64,
    /// With shipping and tax.
    pub total_minor: i64,
}

impl PersonalFields for DraftOrder {
    fn about(&self) -> Option<Subject> {
        self.customer_id.map(Subject::Customer)
    }

    fn personal_fields(&mut self, _: Visit<'_>) {}
}

impl Document for DraftOrder {
    const TYPE: &'static str = "draft_order";
    const EVENTS: [&'static str; 4] =
        ["DraftOrderUpdated", "DraftOrderReaffirmed", "DraftOrderDeleted", "DraftOrderRedacted"];
}
