//! A sample of every event: its stored bytes never change, whatever becomes of the types.

use chrono::{DateTime, Utc};

use super::{ProductEvent, ProductNews, ProductTerms, Variant};
use crate::{
    ids::{InventoryItemId, VariantId},
    join::Listed,
    personal::{Personal, Sealed, Subject},
    version::{Digest, Version},
};

fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("an instant")
}

fn sealed<T>() -> Personal<T> {
    Personal::Sealed(Sealed { subject: Subject::Shop, bytes: "c2VhbGVkIGJ5dGVz".to_owned() })
}

/// Every event, with every field filled.
#[must_use]
pub fn samples() -> Vec<ProductEvent> {
    let version = Version {
        updated_at: Some(at("2026-11-01T12:00:00Z")),
        triggered_at: None,
        digest: Digest([0xab; 16]),
        revision: 1,
    };
    let terms = ProductTerms {
        status: Some("active".to_owned()),
        created_at: Some(at("2026-10-01T12:00:00Z")),
        published_at: Some(at("2026-10-02T12:00:00Z")),
        variants: vec![VariantId(1), VariantId(u64::MAX)],
        text: sealed(),
    };
    let variant = Variant {
        price_minor: 1999,
        compare_at_minor: Some(2499),
        currency: "USD".parse().expect("a currency"),
        inventory_item_id: Some(InventoryItemId(3)),
        text: sealed(),
    };
    let variants = vec![
        Listed { id: VariantId(1), value: Some(variant.clone()) },
        Listed { id: VariantId(u64::MAX), value: None },
    ];
    vec![
        ProductEvent::ProductUpdated(Box::new(ProductNews { version, terms: Some(terms), variants })),
        ProductEvent::ProductReaffirmed(Box::new(ProductNews { version, terms: None, variants: vec![] })),
        ProductEvent::VariantUpdated { version, id: VariantId(1), variant },
        ProductEvent::ProductDeleted { at: Some(at("2026-11-06T12:00:00Z")) },
    ]
}
