//! A sample of every event: its stored bytes never change, whatever becomes of the types.

use super::{GrantEvent, Issued, Read, Used};
use crate::{document::samples::at, redaction::Said};

/// Every event, with every field filled.
#[must_use]
pub fn samples() -> Vec<GrantEvent> {
    let revoked = || Said {
        by: "compliance 0190".to_owned(),
        reason: Some("the audit is over".to_owned()),
        at: at("2026-11-01T14:00:00Z"),
    };
    let token = || "0190aaaa-0000-7000-8000-000000000002".to_owned();
    vec![
        GrantEvent::GrantIssued(Issued {
            token: token(),
            reason: "audit of 2026".to_owned(),
            by: "compliance 018f".to_owned(),
            at: at("2026-11-01T12:00:00Z"),
            until: at("2026-11-02T12:00:00Z"),
        }),
        GrantEvent::GrantUsed(Used {
            token: token(),
            read: Read {
                route: "/api/audit/events".to_owned(),
                aggregate_type: Some("order".to_owned()),
                aggregate_id: Some("7".to_owned()),
                event_type: Some("OrderPlaced".to_owned()),
                after: 0,
                up_to: 12,
                limit: Some(100),
                from: Some(at("2026-10-01T00:00:00Z")),
                to: Some(at("2026-11-01T00:00:00Z")),
            },
            at: at("2026-11-01T13:00:00Z"),
        }),
        GrantEvent::GrantRevoked(Said { reason: None, ..revoked() }),
        GrantEvent::GrantRevoked(revoked()),
    ]
}
