//! What can be said of a shop.

use chrono::{DateTime, Utc};

use super::event::{Restatement, ShopProfile};
use crate::{
    ids::ShopifyShopId,
    money::Currency,
    personal::{Field, Personal, PersonalFields, Subject, Visit},
    version::Version,
    zone::Zone,
};

/// A command to a shop.
#[derive(Debug, Clone, PartialEq)]
pub enum ShopCommand {
    /// The app was installed, or an operator registered the shop.
    Register {
        /// `*.myshopify.com`; sealed, so that it goes with the shop.
        domain: Personal<String>,
        /// Shopify's number, when it is known.
        shopify_id: Option<ShopifyShopId>,
        /// Days are cut in it until a `shop/update` says otherwise.
        timezone: Zone,
        /// Figures are in it until a `shop/update` says otherwise.
        currency: Currency,
        /// When.
        at: DateTime<Utc>,
    },
    /// A `shop/update` was seen.
    Observe {
        /// Of the body.
        version: Version,
        /// When the body has one.
        timezone: Option<Zone>,
        /// When the body has one.
        currency: Option<Currency>,
        /// The owner's and the shop's own data.
        profile: Personal<ShopProfile>,
    },
    /// The app was removed.
    ObserveUninstall {
        /// When it was triggered.
        at: DateTime<Utc>,
    },
    /// What the app may read was changed.
    ObserveScopes {
        /// Of the body.
        version: Version,
        /// What it may now.
        scopes: Vec<String>,
    },
    /// A rebuilt read model that shows another figure than the old one took its place.
    Restate(Restatement),
    /// The shop's key is destroyed, in the same transaction.
    Redact {
        /// By which redaction.
        redaction: String,
    },
}

impl PersonalFields for ShopCommand {
    fn personal_fields(&mut self, visit: Visit<'_>) {
        match self {
            Self::Register { domain, .. } => visit(Subject::Shop, Field::ShopDomain, domain),
            Self::Observe { profile, .. } => visit(Subject::Shop, Field::ShopProfile, profile),
            Self::ObserveUninstall { .. } | Self::ObserveScopes { .. } | Self::Restate(_) | Self::Redact { .. } => {}
        }
    }
}
