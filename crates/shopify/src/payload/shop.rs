//! The shop's own body, as `shop/update` and `app/uninstalled` send it.

use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::Number;

/// A shop. Shopify's samples have null domains and zones.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "Shopify's names")]
pub struct ShopBody {
    pub id: Option<Number>,
    pub myshopify_domain: Option<String>,
    pub updated_at: Option<DateTime<Utc>>,
    pub iana_timezone: Option<String>,
    pub currency: Option<String>,
    pub name: Option<String>,
    pub shop_owner: Option<String>,
    pub email: Option<String>,
    pub customer_email: Option<String>,
    pub phone: Option<String>,
    pub address1: Option<String>,
    pub address2: Option<String>,
    pub zip: Option<String>,
    pub city: Option<String>,
}

/// What an app may read.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "Shopify's names")]
pub struct ScopesBody {
    pub shop_id: Option<Number>,
    pub current: Option<Vec<String>>,
    pub updated_at: Option<DateTime<Utc>>,
}
