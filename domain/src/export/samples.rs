//! A sample of every event: its stored bytes never change, whatever becomes of the types.

use super::{Built, Chosen, ExportEvent, ExportRequest, Gone};
use crate::{document::samples::at, ids::CustomerId, personal::Subject, redaction::Said};

/// Every event, with every field filled.
#[must_use]
pub fn samples() -> Vec<ExportEvent> {
    let by = || "compliance 018f".to_owned();
    vec![
        ExportEvent::ExportRequested(ExportRequest {
            subjects: vec![Subject::Customer(CustomerId(7))],
            reason: "case 12".to_owned(),
            by: by(),
            at: at("2026-11-01T12:00:00Z"),
            request: Some("data_request/9999".to_owned()),
            several: Vec::new(),
        }),
        ExportEvent::ExportRequested(ExportRequest {
            subjects: Vec::new(),
            reason: "customers/data_request".to_owned(),
            by: "webhook".to_owned(),
            at: at("2026-11-01T12:00:00Z"),
            request: Some("data_request/9999".to_owned()),
            several: vec![Subject::Customer(CustomerId(8)), Subject::Customer(CustomerId(9))],
        }),
        ExportEvent::ExportChosen(Chosen {
            subjects: vec![Subject::Customer(CustomerId(8))],
            reason: "case 12: seen by letter".to_owned(),
            by: by(),
            at: at("2026-11-01T12:30:00Z"),
        }),
        ExportEvent::ExportRenewed(Said { by: by(), reason: None, at: at("2026-11-09T12:00:00Z") }),
        ExportEvent::ExportRenewed(Said {
            by: by(),
            reason: Some("it was not handed on in time".to_owned()),
            at: at("2026-11-09T12:00:00Z"),
        }),
        ExportEvent::ExportGone { why: Gone::Expired, at: at("2026-11-08T12:00:01Z") },
        ExportEvent::ExportBuilt(Built {
            histories: 3,
            values: 9,
            bytes: 4096,
            at: at("2026-11-01T12:00:01Z"),
            expires_at: at("2026-11-08T12:00:01Z"),
        }),
        ExportEvent::ExportFetched { by: by(), form: "json".to_owned(), at: at("2026-11-02T12:00:00Z") },
    ]
}
