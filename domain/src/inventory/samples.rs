//! A sample of every event: its stored bytes never change, whatever becomes of the types.

use chrono::{DateTime, Utc};

use super::{InventoryEvent, ItemTerms, Level};
use crate::{
    ids::LocationId,
    personal::{Personal, Sealed, Subject},
    version::{Digest, Version},
};

fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("an instant")
}

/// Every event, with every field filled.
#[must_use]
pub fn samples() -> Vec<InventoryEvent> {
    let version = Version {
        updated_at: Some(at("2026-11-01T12:00:00Z")),
        triggered_at: None,
        digest: Digest([0xab; 16]),
        revision: 1,
    };
    let terms = ItemTerms {
        tracked: true,
        cost_minor: Some(1250),
        currency: "USD".parse().expect("a currency"),
        sku: Some(Personal::Sealed(Sealed { subject: Subject::Shop, bytes: "c2VhbGVkIGJ5dGVz".to_owned() })),
    };
    vec![
        InventoryEvent::ItemUpdated { version, terms },
        InventoryEvent::ItemReaffirmed { version },
        InventoryEvent::StockCounted {
            version,
            location: LocationId(u64::MAX),
            level: Level { available: Some(-3), connected: true },
        },
        InventoryEvent::ItemDeleted { at: Some(at("2026-11-06T12:00:00Z")) },
    ]
}
