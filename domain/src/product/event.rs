//! What happened to a product.

use chrono::{DateTime, Utc};
use cqrs_es::DomainEvent;
use serde::{Deserialize, Serialize};

use crate::{
    command::Stored,
    ids::{InventoryItemId, VariantId},
    join::Listed,
    money::Currency,
    personal::Personal,
    version::Version,
};

/// An event of a product.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ProductEvent {
    /// A body told something new of the product or its variants.
    ProductUpdated(Box<ProductNews>),
    /// A body that is newer and says the same: kept because it may outrank a later arrival.
    ProductReaffirmed(Box<ProductNews>),
    /// A body about one variant.
    VariantUpdated {
        /// Of the body.
        #[serde(rename = "v")]
        version: Version,
        /// Which.
        id: VariantId,
        /// What it says.
        variant: Variant,
    },
    /// The product was deleted.
    ProductDeleted {
        /// When that was triggered, if the delivery says.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<DateTime<Utc>>,
    },
}

/// What a body changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProductNews {
    /// Of the body.
    #[serde(rename = "v")]
    pub version: Version,
    /// When they changed and this is the newest body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terms: Option<ProductTerms>,
    /// The variants that this body tells something about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variants: Vec<Listed<VariantId, Variant>>,
}

/// All of a product but its variants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProductTerms {
    /// `active`, `draft`, `archived`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// When the shop made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<DateTime<Utc>>,
    /// Since when it is for sale.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published_at: Option<DateTime<Utc>>,
    /// The variants that exist.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variants: Vec<VariantId>,
    /// The shop's words.
    pub text: Personal<ProductText>,
}

/// The words on a product.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ProductText {
    /// Its title.
    pub title: String,
    /// Who makes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vendor: Option<String>,
    /// What kind of thing it is, in the shop's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product_type: Option<String>,
    /// Its place in URLs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handle: Option<String>,
    /// Comma-separated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<String>,
}

/// A variant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variant {
    /// Of one unit.
    pub price_minor: i64,
    /// The struck-out price beside it: not a discount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compare_at_minor: Option<i64>,
    /// The shop's.
    pub currency: Currency,
    /// What is counted of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inventory_item_id: Option<InventoryItemId>,
    /// The shop's words.
    pub text: Personal<VariantText>,
}

/// The words on a variant.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct VariantText {
    /// Its title.
    pub title: String,
    /// Stock-keeping unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sku: Option<String>,
    /// As printed on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub barcode: Option<String>,
}

impl DomainEvent for ProductEvent {
    fn event_type(&self) -> String {
        match self {
            Self::ProductUpdated(_) => "ProductUpdated",
            Self::ProductReaffirmed(_) => "ProductReaffirmed",
            Self::VariantUpdated { .. } => "VariantUpdated",
            Self::ProductDeleted { .. } => "ProductDeleted",
        }
        .to_owned()
    }

    fn event_version(&self) -> String {
        "1".to_owned()
    }
}

impl Stored for ProductEvent {
    fn knows(event_type: &str, event_version: &str) -> bool {
        let known = ["ProductUpdated", "ProductReaffirmed", "VariantUpdated", "ProductDeleted"];
        event_version == "1" && known.contains(&event_type)
    }
}
