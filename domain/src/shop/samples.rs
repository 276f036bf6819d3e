//! A sample of every event: its stored bytes never change, whatever becomes of the types.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::{Restatement, ShopEvent};
use crate::{
    ids::ShopifyShopId,
    personal::{Personal, Sealed, Subject},
    version::{Digest, Version},
    zone::Zone,
};

fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("an instant")
}

fn sealed<T>() -> Personal<T> {
    Personal::Sealed(Sealed { subject: Subject::Shop, bytes: "c2VhbGVkIGJ5dGVz".to_owned() })
}

/// Every event, with every field filled.
#[must_use]
pub fn samples() -> Vec<ShopEvent> {
    let tokyo: Zone = "Asia/Tokyo".parse().expect("a zone");
    vec![
        ShopEvent::ShopRegistered {
            domain: sealed(),
            shopify_id: Some(ShopifyShopId(548_380_009)),
            timezone: "America/New_York".parse().expect("a zone"),
            currency: "USD".parse().expect("a currency"),
            at: at("2026-11-01T12:00:00Z"),
        },
        ShopEvent::ShopUpdated {
            version: Version {
                updated_at: Some(at("2026-11-02T12:00:00Z")),
                triggered_at: None,
                digest: Digest([1; 16]),
                revision: 1,
            },
            timezone: Some(tokyo),
            currency: "JPY".parse().ok(),
            profile: sealed(),
        },
        ShopEvent::AppUninstalled { at: at("2026-11-03T12:00:00Z") },
        ShopEvent::ScopesChanged {
            version: Version {
                updated_at: Some(at("2026-11-02T12:00:00Z")),
                triggered_at: None,
                digest: Digest([1; 16]),
                revision: 1,
            },
            scopes: vec!["read_orders".to_owned()],
        },
        ShopEvent::LedgerRestated(Restatement {
            projection: "sales".to_owned(),
            definition: (1, 2),
            timezone: (Zone::UTC, tokyo),
            position: 99,
            before: BTreeMap::from([("USD.net_minor".to_owned(), 100)]),
            after: BTreeMap::from([("USD.net_minor".to_owned(), 101)]),
        }),
        ShopEvent::ShopRedacted { redaction: "0197f3b1".to_owned() },
    ]
}
