//! Customers, what they begin to buy, and what is asked for about them.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;

use super::{AddressBody, IdBody, Number};

/// A customer.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "Shopify's names")]
pub struct WholeCustomerBody {
    pub id: Option<Number>,
    pub created_at: Option<DateTime<Utc>>,
    pub updated_at: Option<DateTime<Utc>>,
    pub state: Option<String>,
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    pub email: Option<String>,
    pub phone: Option<String>,
    pub note: Option<String>,
    pub tags: Option<Value>,
    pub default_address: Option<AddressBody>,
}

/// A merge of two customers.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "Shopify's names")]
pub struct MergeBody {
    pub admin_graphql_api_customer_kept_id: Option<Number>,
    pub admin_graphql_api_customer_deleted_id: Option<Number>,
    pub status: Option<String>,
}

/// Shopify's counters of a customer. The names are GraphQL's.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs, reason = "Shopify's names")]
pub struct PurchasesBody {
    pub customer_id: Option<Number>,
    pub number_of_orders: Option<Number>,
    pub amount_spent: Option<AmountBody>,
    pub last_order_id: Option<Number>,
    pub occurred_at: Option<DateTime<Utc>>,
}

/// An amount of GraphQL's.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs, reason = "Shopify's names")]
pub struct AmountBody {
    pub amount: Option<Number>,
    pub currency_code: Option<String>,
}

/// A checkout.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "Shopify's names")]
pub struct CheckoutBody {
    pub id: Option<Number>,
    /// `#` and the id, also where `id` is left out.
    pub name: Option<String>,
    pub created_at: Option<DateTime<Utc>>,
    pub updated_at: Option<DateTime<Utc>>,
    pub completed_at: Option<DateTime<Utc>>,
    pub currency: Option<String>,
    pub subtotal_price: Option<Number>,
    pub total_price: Option<Number>,
    pub email: Option<String>,
    pub phone: Option<String>,
    pub sms_marketing_phone: Option<String>,
    pub customer: Option<IdBody>,
    pub shipping_address: Option<AddressBody>,
    pub billing_address: Option<AddressBody>,
    pub line_items: Option<Vec<CheckoutLineBody>>,
}

/// A line of a checkout.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "Shopify's names")]
pub struct CheckoutLineBody {
    pub product_id: Option<Number>,
    pub variant_id: Option<Number>,
    pub quantity: Option<Number>,
}

/// A draft of an order.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "Shopify's names")]
pub struct DraftOrderBody {
    pub id: Option<Number>,
    pub status: Option<String>,
    pub created_at: Option<DateTime<Utc>>,
    pub updated_at: Option<DateTime<Utc>>,
    pub completed_at: Option<DateTime<Utc>>,
    pub order_id: Option<Number>,
    pub customer: Option<IdBody>,
    pub currency: Option<String>,
    pub subtotal_price: Option<Number>,
    pub total_price: Option<Number>,
}

/// A request about somebody's data.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "Shopify's names")]
pub struct ComplianceBody {
    pub shop_id: Option<Number>,
    pub shop_domain: Option<String>,
    pub customer: Option<ContactBody>,
    pub orders_requested: Option<Vec<Number>>,
    pub orders_to_redact: Option<Vec<Number>>,
    pub data_request: Option<IdBody>,
}

/// Whom a request is about.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "Shopify's names")]
pub struct ContactBody {
    pub id: Option<Number>,
    pub email: Option<String>,
    pub phone: Option<String>,
}
