//! A sample of every event: its stored bytes never change, whatever becomes of the types.

use super::{Checkout, CheckoutItem};
use crate::{
    document::{
        DocumentEvent,
        samples::{at, of},
    },
    ids::{CustomerId, ProductId, VariantId},
};

/// Every event, with every field filled.
#[must_use]
pub fn samples() -> Vec<DocumentEvent<Checkout>> {
    of(Checkout {
        created_at: Some(at("2026-10-01T12:00:00Z")),
        completed_at: Some(at("2026-10-01T12:05:00Z")),
        currency: "USD".parse().expect("a currency"),
        subtotal_minor: 39800,
        total_minor: 42188,
        customer_id: Some(CustomerId(7)),
        has_contact: true,
        country: Some("CA".to_owned()),
        items: vec![CheckoutItem { product_id: Some(ProductId(1)), variant_id: Some(VariantId(2)), units: 3 }],
    })
}
