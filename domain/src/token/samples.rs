//! A sample of every event: its stored bytes never change, whatever becomes of the types.

use super::{Issued, TokenEvent};
use crate::{document::samples::at, redaction::Said};

/// Every event, with every field filled.
#[must_use]
pub fn samples() -> Vec<TokenEvent> {
    let said = |reason: &str, time| Said { by: "ann".to_owned(), reason: Some(reason.to_owned()), at: at(time) };
    vec![
        TokenEvent::TokenIssued(Issued {
            role: "auditor".to_owned(),
            until: Some(at("2026-12-01T12:00:00Z")),
            said: said("audit of 2026", "2026-11-01T12:00:00Z"),
        }),
        TokenEvent::TokenRevoked(said("the audit is over", "2026-11-20T12:00:00Z")),
    ]
}
