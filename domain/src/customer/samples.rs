//! A sample of every event: its stored bytes never change, whatever becomes of the types.

use chrono::{DateTime, Utc};

use super::{CustomerEvent, Merge, MergeRole, Profile, Purchases};
use crate::{
    ids::{CustomerId, OrderId},
    personal::{Personal, Sealed, Subject},
    version::{Digest, Version},
};

fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("an instant")
}

/// Every event, with every field filled.
#[must_use]
pub fn samples() -> Vec<CustomerEvent> {
    let version = Version {
        updated_at: Some(at("2026-11-01T12:00:00Z")),
        triggered_at: None,
        digest: Digest([0xab; 16]),
        revision: 1,
    };
    let subject = Subject::Customer(CustomerId(7));
    let profile = Profile {
        created_at: Some(at("2026-10-01T12:00:00Z")),
        state: Some("enabled".to_owned()),
        country: Some("CA".to_owned()),
        region: Some("ON".to_owned()),
        person: Some(Personal::Sealed(Sealed { subject, bytes: "c2VhbGVkIGJ5dGVz".to_owned() })),
    };
    vec![
        CustomerEvent::CustomerUpdated { version, profile: Box::new(profile) },
        CustomerEvent::CustomerReaffirmed { version },
        CustomerEvent::CustomerMerged {
            version,
            other: CustomerId(8),
            merge: Merge { role: MergeRole::Absorbed, status: "completed".to_owned() },
        },
        CustomerEvent::PurchasesCounted {
            version,
            purchases: Purchases {
                orders: 3,
                spent_minor: Some(12345),
                currency: "USD".parse().expect("a currency"),
                last_order: Some(OrderId(u64::MAX)),
            },
        },
        CustomerEvent::CustomerDeleted { at: Some(at("2026-11-06T12:00:00Z")) },
        CustomerEvent::CustomerRedacted { redaction: "0199c0de-0000-7000-8000-000000000001".to_owned() },
    ]
}
