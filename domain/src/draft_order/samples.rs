//! A sample of every event: its stored bytes never change, whatever becomes of the types.

use super::DraftOrder;
use crate::{
    document::{
        DocumentEvent,
        samples::{at, of},
    },
    ids::{CustomerId, OrderId},
};

/// Every event, with every field filled.
#[must_use]
pub fn samples() -> Vec<DocumentEvent<DraftOrder>> {
    of(DraftOrder {
        status: Some("completed".to_owned()),
        created_at: Some(at("2026-10-01T12:00:00Z")),
        completed_at: Some(at("2026-10-02T12:00:00Z")),
        order_id: Some(OrderId(u64::MAX)),
        customer_id: Some(CustomerId(7)),
        currency: "USD".parse().expect("a currency"),
        subtotal_minor: 49700,
        total_minor: 43600,
    })
}
