//! A sample of every event: its stored bytes never change, whatever becomes of the types.

use super::Discount;
use crate::{
    document::{
        DocumentEvent,
        samples::{at, of},
    },
    personal::{Personal, Sealed, Subject},
};

/// Every event, with every field filled.
#[must_use]
pub fn samples() -> Vec<DocumentEvent<Discount>> {
    of(Discount {
        kind: Some("DiscountCodeNode".to_owned()),
        status: Some("ACTIVE".to_owned()),
        created_at: Some(at("2026-10-01T12:00:00Z")),
        title: Personal::Sealed(Sealed { subject: Subject::Shop, bytes: "c2VhbGVkIGJ5dGVz".to_owned() }),
    })
}
