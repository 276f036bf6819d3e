//! A sample of every event: its stored bytes never change, whatever becomes of the types.

use super::{LookedUp, LookupEvent};
use crate::{document::samples::at, ids::CustomerId, personal::Subject};

/// Every event, with every field filled.
#[must_use]
pub fn samples() -> Vec<LookupEvent> {
    vec![LookupEvent::PersonLookedUp(LookedUp {
        by_what: "email".to_owned(),
        purpose: "redaction".to_owned(),
        found: vec![Subject::Customer(CustomerId(7)), Subject::Customer(CustomerId(8))],
        reason: "case 12".to_owned(),
        by: "compliance 018f".to_owned(),
        at: at("2026-11-01T12:00:00Z"),
    })]
}
