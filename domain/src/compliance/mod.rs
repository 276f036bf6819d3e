//! A request of Shopify's about somebody's data: to hand it out, or to erase it. A [`Document`] that is told once.
//!
//! This is the record that it came, and when. What is done about it is told by those whom it is about.

#[cfg(test)]
pub(crate) mod samples;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    document::Document,
    ids::{CustomerId, OrderId},
    personal::{Field, Personal, PersonalFields, Subject, Visit},
};

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ComplianceKind {
    /// To give the shop's owner what is kept of a customer.
    CustomerData,
    /// To erase a customer.
    CustomerRedaction,
    /// To erase the shop.
    ShopRedaction,
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComplianceRequest {
    /// What is asked for.
    pub kind: ComplianceKind,
    /// When it reached us: what the deadline runs from.
    pub received_at: DateTime<Utc>,
    /// Shopify's number of a request for data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_request: Option<u64>,
    /// Whom it is about, when the body has a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer_id: Option<CustomerId>,
    /// By what else they can be found. Sealed under the customer's key, or the shop's when there is no number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact: Option<Personal<Contact>>,
    /// Orders that the body names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub orders: Vec<OrderId>,
}

/// How the person of a request is reached.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Contact {
    /// As the body has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// As the body has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
}

impl PersonalFields for ComplianceRequest {
    fn personal_fields(&mut self, visit: Visit<'_>) {
        let subject = self.customer_id.map_or(Subject::Shop, Subject::Customer);
        if let Some(contact) = &mut self.contact {
            visit(subject, Field::ComplianceContact, contact);
        }
    }
}

impl Document for ComplianceRequest {
    const TYPE: &'static str = "compliance_request";
    const EVENTS: [&'static str; 4] =
        ["ComplianceRequested", "ComplianceRepeated", "ComplianceWithdrawn", "ComplianceRedacted"];
}
