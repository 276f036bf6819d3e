//! A sample of every event: its stored bytes never change, whatever becomes of the types.

use super::{Erased, Receipt, RedactionEvent, Request};
use crate::{
    document::samples::at,
    ids::{CustomerId, OrderId},
    personal::Subject,
};

/// Every event, with every field filled.
#[must_use]
pub fn samples() -> Vec<RedactionEvent> {
    let by = || "compliance 018f".to_owned();
    let subjects = vec![Subject::Customer(CustomerId(7)), Subject::Order(OrderId(1))];
    vec![
        RedactionEvent::RedactionRequested(Request {
            subjects: subjects.clone(),
            reason: "case 12".to_owned(),
            by: by(),
            at: at("2026-11-01T12:00:00Z"),
            due_at: at("2026-11-02T12:00:00Z"),
            request: Some("customer_redaction/7".to_owned()),
        }),
        RedactionEvent::RedactionReleased { by: by(), at: at("2026-11-01T14:00:00Z") },
        RedactionEvent::RedactionHeld { reason: "tax audit".to_owned(), by: by(), at: at("2026-11-01T13:00:00Z") },
        RedactionEvent::RedactionConfirmed { by: "compliance 0190".to_owned(), at: at("2026-11-01T15:00:00Z") },
        RedactionEvent::RedactionCancelled { by: by(), at: at("2026-11-01T16:00:00Z") },
        RedactionEvent::SubjectsErased(Erased {
            subjects,
            keys: 2,
            streams: 3,
            values: 9,
            fields: vec![("order.buyer".to_owned(), 2)],
            bodies: 4,
            contacts: 2,
            at: at("2026-11-02T12:00:00Z"),
        }),
        RedactionEvent::RedactionCertified(Receipt {
            position: 12,
            hash: "ab".repeat(32),
            searched: 8,
            found: 0,
            links: 5,
            sums_unchanged: Some(true),
            vacuumed: true,
            horizon: at("2026-11-02T12:00:00Z"),
            key_id: "a1b2c3d4".to_owned(),
            signature: "c2lnbmF0dXJl".to_owned(),
            at: at("2026-11-02T12:00:01Z"),
        }),
    ]
}
