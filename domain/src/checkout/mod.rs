//! A checkout: what a buyer was about to order, and whether it became an order. A [`Document`].
//!
//! Nothing about the buyer is kept but the customer's number and whether there was a way to reach them.

#[cfg(test)]
pub(crate) mod samples;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    document::Document,
    ids::{CustomerId, ProductId, VariantId},
    money::Currency,
    personal::{PersonalFields, Subject, Visit},
};

/// What a body says of a checkout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkout {
    /// When the buyer began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<DateTime<Utc>>,
    /// When it became an order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<DateTime<Utc>>,
    /// The shop's.
    pub currency: Currency,
    /// Goods after discounts.
    pub subtotal_minor: i64,
    /// With shipping and tax.
    pub total_minor: i64,
    /// Who, if Shopify knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer_id: Option<CustomerId>,
    /// An e-mail address or a phone number was left.
    pub has_contact: bool,
    /// ISO country of delivery, else of billing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    /// What was in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<CheckoutItem>,
}

/// Units of one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckoutItem {
    /// `None` for what is not in the catalogue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product_id: Option<ProductId>,
    /// `None` for what is not in the catalogue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant_id: Option<VariantId>,
    /// How many.
    pub units: i64,
}

impl PersonalFields for Checkout {
    fn about(&self) -> Option<Subject> {
        self.customer_id.map(Subject::Customer)
    }

    fn personal_fields(&mut self, _: Visit<'_>) {}
}

impl Document for Checkout {
    const TYPE: &'static str = "checkout";
    const EVENTS: [&'static str; 4] = ["CheckoutUpdated", "CheckoutReaffirmed", "CheckoutDeleted", "CheckoutRedacted"];
}
