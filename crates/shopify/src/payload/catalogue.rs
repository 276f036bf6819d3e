//! Products, variants, inventory and locations.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;

use super::Number;

/// A product.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "Shopify's names")]
pub struct ProductBody {
    pub id: Option<Number>,
    pub title: Option<String>,
    pub vendor: Option<String>,
    pub product_type: Option<String>,
    pub handle: Option<String>,
    pub status: Option<String>,
    pub tags: Option<Value>,
    pub created_at: Option<DateTime<Utc>>,
    pub updated_at: Option<DateTime<Utc>>,
    pub published_at: Option<DateTime<Utc>>,
    pub variants: Option<Vec<VariantBody>>,
    /// All variants, where `variants` has the first hundred.
    pub variant_gids: Option<Vec<GidBody>>,
}

/// Something of which only the GraphQL id matters.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "Shopify's names")]
pub struct GidBody {
    pub admin_graphql_api_id: Option<Number>,
}

/// A variant, inside a product or on its own.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "Shopify's names")]
pub struct VariantBody {
    pub id: Option<Number>,
    pub product_id: Option<Number>,
    pub title: Option<String>,
    pub sku: Option<String>,
    pub barcode: Option<String>,
    pub price: Option<Number>,
    pub compare_at_price: Option<Number>,
    pub inventory_item_id: Option<Number>,
    pub updated_at: Option<DateTime<Utc>>,
}

/// An inventory item.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "Shopify's names")]
pub struct InventoryItemBody {
    pub id: Option<Number>,
    pub sku: Option<String>,
    pub cost: Option<Number>,
    pub tracked: Option<bool>,
    pub updated_at: Option<DateTime<Utc>>,
}

/// Stock of an item at a location.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "Shopify's names")]
pub struct InventoryLevelBody {
    pub inventory_item_id: Option<Number>,
    pub location_id: Option<Number>,
    pub available: Option<Number>,
    pub updated_at: Option<DateTime<Utc>>,
}

/// A location.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "Shopify's names")]
pub struct LocationBody {
    pub id: Option<Number>,
    pub name: Option<String>,
    pub address1: Option<String>,
    pub address2: Option<String>,
    pub zip: Option<String>,
    pub city: Option<String>,
    pub phone: Option<String>,
    pub country_code: Option<String>,
    pub province_code: Option<String>,
    pub active: Option<bool>,
    pub updated_at: Option<DateTime<Utc>>,
}

/// A discount: no `id` but the GraphQL one.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "Shopify's names")]
pub struct DiscountNodeBody {
    pub admin_graphql_api_id: Option<Number>,
    pub title: Option<String>,
    pub status: Option<String>,
    pub created_at: Option<DateTime<Utc>>,
    pub updated_at: Option<DateTime<Utc>>,
}
