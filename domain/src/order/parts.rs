//! What an order consists of. Amounts are minor units of the order's shop currency.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    ids::{LineId, LocationId, ProductId, ReturnId, RowId, ShippingLineId, TransactionId, VariantId},
    money::Currency,
    personal::{Field, Personal, Subject, Visit},
};

fn is_zero(minor: &i64) -> bool {
    *minor == 0
}

fn is_false(flag: &bool) -> bool {
    !*flag
}

/// What an order is from the start and seldom changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Terms {
    /// `#1001`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// When Shopify made the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<DateTime<Utc>>,
    /// When the sale took place: imported orders may lie years back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processed_at: Option<DateTime<Utc>>,
    /// The shop's currency at that time: every amount of the order is in it.
    pub currency: Currency,
    /// The buyer's currency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub presentment_currency: Option<Currency>,
    /// Line prices contain the tax.
    #[serde(default, skip_serializing_if = "is_false")]
    pub taxes_included: bool,
    /// A test order never counts.
    #[serde(default, skip_serializing_if = "is_false")]
    pub test: bool,
    /// The channel: `web`, `pos`, an app's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_name: Option<String>,
    /// ISO country of delivery, else of billing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    /// Region code within that country.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// `original_total_duties_set`, when the body has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duties: Option<i64>,
    /// `original_total_additional_fees_set`, when the body has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub additional_fees: Option<i64>,
    /// `total_tip_received`: counts when no line is a tip.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub tip: i64,
    /// `total_price` as the body says it; shown in lists, never summed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub total_price: i64,
    /// Whitelisted `utm_*` values of the landing page, whose URL is not kept.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub utm: BTreeMap<String, String>,
    /// Discount applications, in the order that allocations count them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub discounts: Vec<Discount>,
    /// Who bought it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buyer: Option<Personal<Buyer>>,
}

/// What changes as the order goes on its way.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Status {
    /// `pending`, `paid`, `refunded`, `voided` …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub financial: Option<String>,
    /// `fulfilled`, `partial`; `None` while nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fulfillment: Option<String>,
    /// When it was cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancelled_at: Option<DateTime<Utc>>,
    /// `customer`, `fraud`, `inventory` …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel_reason: Option<String>,
    /// When it was archived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<DateTime<Utc>>,
}

/// Everything on an order that is about a person.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Buyer {
    /// Given and family name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `email`, else `contact_email`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// As typed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
    /// The shipping address as Shopify sent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shipping_address: Option<serde_json::Value>,
    /// The billing address as Shopify sent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub billing_address: Option<serde_json::Value>,
    /// The browser's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// The order's note.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The order's additional details.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note_attributes: Option<serde_json::Value>,
    /// Comma-separated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<String>,
}

/// A discount application: a code, an automatic rule, or one that staff made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Discount {
    /// `discount_code`, `automatic`, `manual`, `script`.
    pub kind: String,
    /// The code or the rule's title, when nothing in it is about a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// A code that holds an address or a phone number, or a title that staff typed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub personal_label: Option<Personal<String>>,
}

/// A share of a discount application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allocation {
    /// Which of [`Terms::discounts`].
    #[serde(rename = "of")]
    pub application: u32,
    /// How much.
    #[serde(rename = "minor")]
    pub amount_minor: i64,
}

/// One tax on a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tax {
    /// In billionths: 0.1 is 100,000,000. A decimal, never a float.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub rate_nano: i64,
    /// How much.
    #[serde(rename = "minor")]
    pub amount_minor: i64,
}

/// What kind of thing a line sells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LineKind {
    /// Goods and services, custom lines included.
    #[default]
    Product,
    /// A liability, not a sale.
    GiftCard,
    /// The key `tip_payment_gateway` is present.
    Tip,
}

/// A line of an order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// What it sells.
    #[serde(default, skip_serializing_if = "is_product")]
    pub kind: LineKind,
    /// `None` for custom lines and deleted products.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product_id: Option<ProductId>,
    /// `None` for custom lines and deleted products.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant_id: Option<VariantId>,
    /// Of one unit, before discounts.
    pub price_minor: i64,
    /// Units as sold; removed and refunded ones stay in it.
    pub quantity: i64,
    /// Units left.
    pub current_quantity: i64,
    /// Discounts of the line and its shares of the order's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allocations: Vec<Allocation>,
    /// Its taxes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taxes: Vec<Tax>,
    /// Import duties of the line.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub duties_minor: i64,
    /// What it was called when it was sold.
    pub text: Personal<LineText>,
    /// What the buyer typed for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub properties: Option<Personal<serde_json::Value>>,
}

fn is_product(kind: &LineKind) -> bool {
    *kind == LineKind::Product
}

/// The words on a line.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LineText {
    /// The product's title at that time.
    pub title: String,
    /// The variant's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant_title: Option<String>,
    /// Who makes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vendor: Option<String>,
    /// Stock-keeping unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sku: Option<String>,
}

/// A shipping line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShippingLine {
    /// Before discounts.
    pub price_minor: i64,
    /// Discounts on it: they are not discounts on goods.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allocations: Vec<Allocation>,
    /// Its taxes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taxes: Vec<Tax>,
    /// Taken off the order by an edit.
    #[serde(default, skip_serializing_if = "is_false")]
    pub removed: bool,
}

/// What a refund gave back. Rows whose line is not known yet wait for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Refund {
    /// `processed_at`, else `created_at`: the day it counts on.
    pub at: DateTime<Utc>,
    /// The return that it pays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub return_id: Option<ReturnId>,
    /// Goods given back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<RefundLine>,
    /// Shipping given back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shipping: Vec<RefundShipping>,
    /// What the lines do not explain.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub adjustments: Vec<Adjustment>,
    /// Duties given back.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub duties_minor: i64,
    /// Additional fees given back.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub additional_fees_minor: i64,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<Personal<String>>,
}

/// What happened to the goods of a refund line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Restock {
    /// Back in stock.
    Return,
    /// Never left: removed or cancelled before it was fulfilled.
    Cancel,
    /// Lost.
    NoRestock,
    /// Back in stock, in old bodies.
    LegacyRestock,
    /// A kind that this build does not know.
    Other,
}

/// Units of one line given back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefundLine {
    /// Of this row.
    pub id: RowId,
    /// Which line.
    pub line_id: LineId,
    /// How many.
    pub units: i64,
    /// What became of them.
    pub restock: Restock,
    /// After discounts; contains the tax when the order's prices do.
    pub subtotal_minor: i64,
    /// The tax given back.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub tax_minor: i64,
}

/// Shipping given back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefundShipping {
    /// Of this row.
    pub id: RowId,
    /// Which shipping line, when the body says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shipping_line_id: Option<ShippingLineId>,
    /// How much; contains the tax when the order's prices do.
    pub amount_minor: i64,
}

/// Which of the two kinds of adjustment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdjustmentKind {
    /// Shipping given back, in bodies older than 2024-10 (and beside `refund_shipping_lines` in some newer ones).
    ShippingRefund,
    /// Everything else, whatever the reason.
    Discrepancy,
}

/// A signed correction: negative when the shop gave back more than the lines explain. Never includes its tax.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adjustment {
    /// Of this row.
    pub id: RowId,
    /// Shipping or not.
    pub kind: AdjustmentKind,
    /// Signed.
    pub amount_minor: i64,
    /// Signed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub tax_minor: i64,
}

/// A committed order edit: which lines gained and lost units. It has no money.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Edit {
    /// `committed_at`: the day it counts on.
    pub at: DateTime<Utc>,
    /// Units added.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub additions: BTreeMap<LineId, i64>,
    /// Units taken off.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub removals: BTreeMap<LineId, i64>,
    /// Shipping lines added.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shipping_additions: Vec<ShippingLineId>,
    /// Shipping lines taken off.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shipping_removals: Vec<ShippingLineId>,
    /// What staff wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<Personal<String>>,
}

/// A return as far as one body tells it: what it leaves out, it does not change.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Return {
    /// `requested`, `open`, `closed`, `cancelled`, `declined` …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// What it costs the buyer: the sum of `return_shipping_fees[].price`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fees_minor: Option<i64>,
}

/// A parcel on its way, or some of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fulfillment {
    /// `success`, `cancelled`, `pending` …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// `in_transit`, `delivered` …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shipment_status: Option<String>,
    /// When it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<DateTime<Utc>>,
    /// From where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location_id: Option<LocationId>,
    /// By whom; the tracking numbers are not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carrier: Option<String>,
    /// Units of each line in it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub units: BTreeMap<LineId, i64>,
}

/// Money that moved, or was to move: payments are another family of figures than sales.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transaction {
    /// `authorization`, `capture`, `sale`, `void`, `refund`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// `success`, `pending`, `failure`, `error`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// `shopify_payments`, `gift_card` …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    /// `processed_at`, else `created_at`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<DateTime<Utc>>,
    /// In the buyer's currency. `None` in some old records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount_minor: Option<i64>,
    /// The buyer's.
    pub currency: Currency,
    /// The authorization that it captures, or the sale that it refunds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<TransactionId>,
    /// Made in test mode.
    #[serde(default, skip_serializing_if = "is_false")]
    pub test: bool,
}

impl Terms {
    pub(super) fn personal_fields(&mut self, buyer: Subject, visit: Visit<'_>) {
        if let Some(field) = &mut self.buyer {
            visit(buyer, Field::OrderBuyer, field);
        }
        for discount in &mut self.discounts {
            if let Some(field) = &mut discount.personal_label {
                visit(buyer, Field::OrderDiscount, field);
            }
        }
    }
}

impl Line {
    pub(super) fn personal_fields(&mut self, buyer: Subject, visit: Visit<'_>) {
        // A product's title is the shop's; what staff typed for a custom line may be about the buyer.
        let of_title = if self.product_id.is_some() { Subject::Shop } else { buyer };
        visit(of_title, Field::OrderLineText, &mut self.text);
        if let Some(field) = &mut self.properties {
            visit(buyer, Field::OrderLineProperties, field);
        }
    }
}

impl Refund {
    pub(super) fn personal_fields(&mut self, buyer: Subject, visit: Visit<'_>) {
        if let Some(field) = &mut self.note {
            visit(buyer, Field::OrderRefundNote, field);
        }
    }
}

impl Edit {
    pub(super) fn personal_fields(&mut self, buyer: Subject, visit: Visit<'_>) {
        if let Some(field) = &mut self.note {
            visit(buyer, Field::OrderEditNote, field);
        }
    }
}
