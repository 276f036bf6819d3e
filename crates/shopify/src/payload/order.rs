//! Orders, refunds and edits, as `orders/*`, `refunds/create` and `orders/edited` send them.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;

use super::{Number, Present};

/// `*_set`, or a `MoneyBag`: the shop's side of it. The buyer's side is never read.
#[derive(Debug, Default, Deserialize)]
pub struct MoneySet {
    #[serde(alias = "shopMoney")]
    shop_money: Option<ShopMoney>,
}

#[derive(Debug, Deserialize)]
struct ShopMoney {
    amount: Option<Number>,
    #[serde(alias = "currencyCode")]
    currency_code: Option<String>,
}

impl MoneySet {
    pub(crate) fn into_amount(self) -> Option<Number> {
        self.shop_money.and_then(|money| money.amount)
    }

    /// The shop's amount, else the plain field beside the set.
    pub(crate) fn or<'a>(set: Option<&'a Self>, plain: Option<&'a Number>) -> Option<&'a Number> {
        set.and_then(|set| set.shop_money.as_ref()).and_then(|money| money.amount.as_ref()).or(plain)
    }

    pub(crate) fn currency(&self) -> Option<&str> {
        self.shop_money.as_ref().and_then(|money| money.currency_code.as_deref())
    }
}

/// A whole order.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "Shopify's names")]
pub struct OrderBody {
    pub id: Option<Number>,
    pub name: Option<String>,
    pub created_at: Option<DateTime<Utc>>,
    pub updated_at: Option<DateTime<Utc>>,
    pub processed_at: Option<DateTime<Utc>>,
    pub cancelled_at: Option<DateTime<Utc>>,
    pub closed_at: Option<DateTime<Utc>>,
    pub cancel_reason: Option<String>,
    pub currency: Option<String>,
    pub presentment_currency: Option<String>,
    pub taxes_included: Option<bool>,
    pub test: Option<bool>,
    pub source_name: Option<String>,
    pub financial_status: Option<String>,
    pub fulfillment_status: Option<String>,
    pub landing_site: Option<String>,
    pub email: Option<String>,
    pub contact_email: Option<String>,
    pub phone: Option<String>,
    pub browser_ip: Option<String>,
    pub note: Option<String>,
    pub note_attributes: Option<Value>,
    pub tags: Option<Value>,
    pub total_price: Option<Number>,
    pub total_price_set: Option<MoneySet>,
    pub total_tip_received: Option<Number>,
    pub original_total_duties_set: Option<MoneySet>,
    pub original_total_additional_fees_set: Option<MoneySet>,
    pub customer: Option<CustomerBody>,
    pub shipping_address: Option<AddressBody>,
    pub billing_address: Option<AddressBody>,
    pub discount_applications: Option<Vec<DiscountBody>>,
    pub line_items: Option<Vec<LineBody>>,
    pub shipping_lines: Option<Vec<ShippingLineBody>>,
    pub refunds: Option<Vec<RefundBody>>,
    pub returns: Option<Vec<ReturnBody>>,
    pub fulfillments: Option<Vec<FulfillmentBody>>,
    pub transactions: Option<Vec<TransactionBody>>,
}

/// The customer inside an order.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "Shopify's names")]
pub struct CustomerBody {
    pub id: Option<Number>,
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    pub email: Option<String>,
    pub phone: Option<String>,
}

/// An address: kept whole and sealed; country and region stay readable.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub struct AddressBody(pub Value);

impl AddressBody {
    pub(crate) fn text(&self, key: &str) -> Option<String> {
        self.0.get(key).and_then(Value::as_str).map(str::to_owned)
    }
}

/// A discount application.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "Shopify's names")]
pub struct DiscountBody {
    pub r#type: Option<String>,
    pub code: Option<String>,
    pub title: Option<String>,
    pub description: Option<String>,
}

/// A line.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "Shopify's names")]
pub struct LineBody {
    pub id: Option<Number>,
    pub product_id: Option<Number>,
    pub variant_id: Option<Number>,
    pub title: Option<String>,
    pub variant_title: Option<String>,
    pub vendor: Option<String>,
    pub sku: Option<String>,
    pub price: Option<Number>,
    pub price_set: Option<MoneySet>,
    pub quantity: Option<Number>,
    pub current_quantity: Option<Number>,
    pub gift_card: Option<bool>,
    /// The key is there on tip lines only; its value may be null.
    pub tip_payment_gateway: Present,
    pub properties: Option<Value>,
    pub discount_allocations: Option<Vec<AllocationBody>>,
    pub tax_lines: Option<Vec<TaxBody>>,
    pub duties: Option<Vec<DutyBody>>,
}

/// A share of a discount application.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "Shopify's names")]
pub struct AllocationBody {
    pub amount: Option<Number>,
    pub amount_set: Option<MoneySet>,
    pub discount_application_index: Option<Number>,
}

/// One tax.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "Shopify's names")]
pub struct TaxBody {
    pub price: Option<Number>,
    pub price_set: Option<MoneySet>,
    pub rate: Option<Number>,
}

/// One duty of a line.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "Shopify's names")]
pub struct DutyBody {
    pub price: Option<Number>,
    pub price_set: Option<MoneySet>,
    pub amount_set: Option<MoneySet>,
}

/// A shipping line.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "Shopify's names")]
pub struct ShippingLineBody {
    pub id: Option<Number>,
    pub price: Option<Number>,
    pub price_set: Option<MoneySet>,
    pub is_removed: Option<bool>,
    pub discount_allocations: Option<Vec<AllocationBody>>,
    pub tax_lines: Option<Vec<TaxBody>>,
}

/// A refund, inside an order or on its own.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "Shopify's names")]
pub struct RefundBody {
    pub id: Option<Number>,
    pub order_id: Option<Number>,
    pub created_at: Option<DateTime<Utc>>,
    pub processed_at: Option<DateTime<Utc>>,
    pub note: Option<String>,
    pub r#return: Option<IdBody>,
    pub total_duties_set: Option<MoneySet>,
    pub total_additional_fees_set: Option<MoneySet>,
    pub duties: Option<Vec<RefundDutyBody>>,
    pub refund_line_items: Option<Vec<RefundLineBody>>,
    pub refund_shipping_lines: Option<Vec<RefundShippingBody>>,
    pub order_adjustments: Option<Vec<AdjustmentBody>>,
    pub transactions: Option<Vec<TransactionBody>>,
}

/// A duty given back.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "Shopify's names")]
pub struct RefundDutyBody {
    pub amount_set: Option<MoneySet>,
}

/// Something of which only the id matters.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "Shopify's names")]
pub struct IdBody {
    pub id: Option<Number>,
}

/// Units of a line given back.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "Shopify's names")]
pub struct RefundLineBody {
    pub id: Option<Number>,
    pub line_item_id: Option<Number>,
    pub quantity: Option<Number>,
    pub restock_type: Option<String>,
    pub subtotal: Option<Number>,
    pub subtotal_set: Option<MoneySet>,
    pub total_tax: Option<Number>,
    pub total_tax_set: Option<MoneySet>,
}

/// Shipping given back.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "Shopify's names")]
pub struct RefundShippingBody {
    pub id: Option<Number>,
    pub shipping_line_id: Option<Number>,
    pub shipping_line: Option<IdBody>,
    pub subtotal_amount_set: Option<MoneySet>,
}

/// A signed correction of a refund.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "Shopify's names")]
pub struct AdjustmentBody {
    pub id: Option<Number>,
    pub kind: Option<String>,
    pub amount: Option<Number>,
    pub amount_set: Option<MoneySet>,
    pub tax_amount: Option<Number>,
    pub tax_amount_set: Option<MoneySet>,
}

/// A return, inside an order or on its own.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "Shopify's names")]
pub struct ReturnBody {
    pub id: Option<Number>,
    pub order_id: Option<Number>,
    pub order: Option<IdBody>,
    pub status: Option<String>,
    pub return_shipping_fees: Option<Vec<ReturnFeeBody>>,
}

/// A fulfilment, inside an order or on its own.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "Shopify's names")]
pub struct FulfillmentBody {
    pub id: Option<Number>,
    pub order_id: Option<Number>,
    pub status: Option<String>,
    pub shipment_status: Option<String>,
    pub created_at: Option<DateTime<Utc>>,
    pub updated_at: Option<DateTime<Utc>>,
    pub location_id: Option<Number>,
    pub tracking_company: Option<String>,
    pub line_items: Option<Vec<LineBody>>,
}

/// A transaction, inside a refund or on its own.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "Shopify's names")]
pub struct TransactionBody {
    pub id: Option<Number>,
    pub order_id: Option<Number>,
    pub kind: Option<String>,
    pub status: Option<String>,
    pub gateway: Option<String>,
    pub created_at: Option<DateTime<Utc>>,
    pub processed_at: Option<DateTime<Utc>>,
    pub amount: Option<Number>,
    pub currency: Option<String>,
    pub parent_id: Option<Number>,
    pub test: Option<bool>,
}

/// A fee of a return.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "Shopify's names")]
pub struct ReturnFeeBody {
    pub price: Option<MoneySet>,
}

/// The body of `orders/edited`: ids and deltas, no money.
#[derive(Debug, Deserialize)]
#[allow(missing_docs, reason = "Shopify's names")]
pub struct OrderEdited {
    pub order_edit: EditBody,
}

/// A committed edit.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "Shopify's names")]
pub struct EditBody {
    pub id: Option<Number>,
    pub order_id: Option<Number>,
    pub created_at: Option<DateTime<Utc>>,
    pub committed_at: Option<DateTime<Utc>>,
    pub staff_note: Option<String>,
    pub line_items: Option<EditedLines>,
    pub shipping_lines: Option<EditedLines>,
}

/// What an edit added and took off.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "Shopify's names")]
pub struct EditedLines {
    pub additions: Option<Vec<DeltaBody>>,
    pub removals: Option<Vec<DeltaBody>>,
}

/// Units of one line.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "Shopify's names")]
pub struct DeltaBody {
    pub id: Option<Number>,
    pub delta: Option<Number>,
}
