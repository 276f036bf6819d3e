//! A sample of every event: its stored bytes never change, whatever becomes of the types.

use uuid::Uuid;

use super::{Erased, Receipt, RedactionEvent, Request, Said, WEBHOOK};
use crate::{
    document::samples::at,
    ids::{CustomerId, OrderId, ShopId},
    personal::Subject,
};

fn requested() -> Request {
    Request {
        subjects: vec![Subject::Customer(CustomerId(7)), Subject::Order(OrderId(1))],
        reason: "case 12".to_owned(),
        by: "compliance 018f".to_owned(),
        at: at("2026-11-01T12:00:00Z"),
        due_at: at("2026-11-02T12:00:00Z"),
        request: Some("customer_redaction/7".to_owned()),
        needs_confirmation: true,
        triggered_at: Some(at("2026-10-01T12:00:00Z")),
    }
}

fn erased() -> Erased {
    Erased {
        subjects: requested().subjects,
        keys: 2,
        streams: 3,
        histories: vec!["customer:7".to_owned(), "order:1".to_owned(), "order:2".to_owned()],
        tables: vec![("inbox".to_owned(), 4), ("subject_keys".to_owned(), 2)],
        values: 9,
        fields: vec![("order.buyer".to_owned(), 2)],
        bodies: 4,
        contacts: 2,
        goes_on_as: Some(ShopId(Uuid::from_u128(9))),
        installed_again_at: Some(at("2026-10-02T12:00:00Z")),
        at: at("2026-11-02T12:00:00Z"),
    }
}

/// As releases wrote it that listed neither.
fn erased_before() -> Erased {
    Erased { histories: Vec::new(), tables: Vec::new(), ..erased() }
}

/// Every event, with every field filled.
#[must_use]
pub fn samples() -> Vec<RedactionEvent> {
    let by = || "compliance 018f".to_owned();
    let said = |by: &str, reason: Option<&str>, time| Said {
        by: by.to_owned(),
        reason: reason.map(str::to_owned),
        at: at(time),
    };
    vec![
        RedactionEvent::RedactionRequested(requested()),
        RedactionEvent::RedactionReleased(said("compliance 018f", None, "2026-11-01T14:00:00Z")),
        RedactionEvent::RedactionReleased(said("compliance 018f", Some("the audit is over"), "2026-11-01T14:00:00Z")),
        RedactionEvent::RedactionHeld { reason: "tax audit".to_owned(), by: by(), at: at("2026-11-01T13:00:00Z") },
        RedactionEvent::RedactionHeld {
            reason: "named by address alone".to_owned(),
            by: WEBHOOK.to_owned(),
            at: at("2026-11-01T12:30:00Z"),
        },
        RedactionEvent::RedactionConfirmed(said("compliance 0190", None, "2026-11-01T15:00:00Z")),
        RedactionEvent::RedactionConfirmed(said("compliance 0190", Some("case 12"), "2026-11-01T15:00:00Z")),
        RedactionEvent::RedactionCancelled(said("compliance 018f", None, "2026-11-01T16:00:00Z")),
        RedactionEvent::RedactionCancelled(said("compliance 018f", Some("taken back"), "2026-11-01T16:00:00Z")),
        RedactionEvent::SubjectsErased(erased_before()),
        RedactionEvent::SubjectsErased(erased()),
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

/// What samples of versions that are not written any more mean now, in the file's order.
#[cfg(test)]
pub(super) fn of_older() -> Vec<RedactionEvent> {
    vec![
        RedactionEvent::RedactionRequested(Request { needs_confirmation: false, triggered_at: None, ..requested() }),
        RedactionEvent::SubjectsErased(Erased { goes_on_as: None, installed_again_at: None, ..erased_before() }),
    ]
}
