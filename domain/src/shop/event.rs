//! What happened to a shop.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use cqrs_es::DomainEvent;
use serde::{Deserialize, Serialize};

use crate::{command::Stored, ids::ShopifyShopId, money::Currency, personal::Personal, version::Version, zone::Zone};

/// An event of a shop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ShopEvent {
    /// The shop is ours to watch from here on.
    ShopRegistered {
        /// Sealed under the shop's own key.
        domain: Personal<String>,
        /// Shopify's number, when it is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        shopify_id: Option<ShopifyShopId>,
        /// The zone that days are cut in.
        timezone: Zone,
        /// The currency of its figures.
        currency: Currency,
        /// When.
        at: DateTime<Utc>,
    },
    /// A `shop/update` told something new.
    ShopUpdated {
        /// Of the body.
        version: Version,
        /// When the body has one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timezone: Option<Zone>,
        /// When the body has one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        currency: Option<Currency>,
        /// The owner's and the shop's own data.
        profile: Personal<ShopProfile>,
    },
    /// The app was removed; the data stays until Shopify asks for its erasure.
    AppUninstalled {
        /// When it was triggered.
        at: DateTime<Utc>,
    },
    /// What the app may read was changed.
    ScopesChanged {
        /// Of the body.
        version: Version,
        /// What it may now: `read_orders` …
        scopes: Vec<String>,
    },
    /// A rebuilt ledger that shows other figures took the place of the old one.
    LedgerRestated(Restatement),
    /// The shop's key is destroyed: nothing personal of it can be read from here on. Its history ends.
    ShopRedacted {
        /// Which redaction did it.
        redaction: String,
    },
}

/// What a switch to a rebuilt read model changed: without it, "what was shown" would be lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restatement {
    /// Which projection.
    pub projection: String,
    /// Version of its definition before and after.
    pub definition: (u32, u32),
    /// Zone that its days were cut in, before and after.
    pub timezone: (Zone, Zone),
    /// Both were compared at this position of the log.
    pub position: i64,
    /// Sums before, by currency and name, in minor units or counts.
    pub before: BTreeMap<String, i64>,
    /// Sums after.
    pub after: BTreeMap<String, i64>,
}

/// What a shop's body says of the shop and its owner.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ShopProfile {
    /// The storefront's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The owner's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The owner's address for mail from Shopify.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// The address that customers see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer_email: Option<String>,
    /// As typed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
    /// Street, city, postal code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

impl DomainEvent for ShopEvent {
    fn event_type(&self) -> String {
        match self {
            Self::ShopRegistered { .. } => "ShopRegistered",
            Self::ShopUpdated { .. } => "ShopUpdated",
            Self::AppUninstalled { .. } => "AppUninstalled",
            Self::ScopesChanged { .. } => "ScopesChanged",
            Self::LedgerRestated(_) => "LedgerRestated",
            Self::ShopRedacted { .. } => "ShopRedacted",
        }
        .to_owned()
    }

    fn event_version(&self) -> String {
        "1".to_owned()
    }
}

impl Stored for ShopEvent {
    fn knows(event_type: &str, event_version: &str) -> bool {
        let known =
            ["ShopRegistered", "ShopUpdated", "AppUninstalled", "ScopesChanged", "LedgerRestated", "ShopRedacted"];
        event_version == "1" && known.contains(&event_type)
    }
}
