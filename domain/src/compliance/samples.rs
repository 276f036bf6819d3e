//! A sample of every event: its stored bytes never change, whatever becomes of the types.

use super::{ComplianceKind, ComplianceRequest};
use crate::{
    document::{
        DocumentEvent,
        samples::{at, of},
    },
    ids::{CustomerId, OrderId},
    personal::{Personal, Sealed, Subject},
};

/// Every event, with every field filled.
#[must_use]
pub fn samples() -> Vec<DocumentEvent<ComplianceRequest>> {
    of(ComplianceRequest {
        kind: ComplianceKind::CustomerData,
        received_at: at("2026-10-01T12:00:00Z"),
        data_request: Some(9999),
        customer_id: Some(CustomerId(7)),
        contact: Some(Personal::Sealed(Sealed {
            subject: Subject::Customer(CustomerId(7)),
            bytes: "c2VhbGVkIGJ5dGVz".to_owned(),
        })),
        orders: vec![OrderId(1), OrderId(2)],
    })
}
