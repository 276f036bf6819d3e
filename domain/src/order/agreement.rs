//! Sales agreements: the rows that Shopify itself booked, each with its instant. Where an order has them, they take the
//! place of what can be derived from its other parts.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::ids::{LineId, ProductId, RefundId, ReturnId, SaleId, ShippingLineId, VariantId};

/// What was agreed at one instant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agreement {
    /// `happenedAt`: the day it counts on.
    pub at: DateTime<Utc>,
    /// Why it was made.
    pub reason: AgreementReason,
    /// The refund that it books.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refund_id: Option<RefundId>,
    /// The return that it books.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub return_id: Option<ReturnId>,
    /// Its rows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sales: Vec<AgreedSale>,
}

/// `OrderActionType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgreementReason {
    /// The order was placed.
    Order,
    /// It was edited.
    OrderEdit,
    /// It was refunded.
    Refund,
    /// A return was processed.
    Return,
    /// A reason that this build does not know.
    Unknown,
}

/// `SaleActionType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SaleAction {
    /// A purchase or a charge.
    Order,
    /// Given back, or taken off.
    Return,
    /// Another price, tax or discount of what was sold before. It has no units.
    Update,
    /// An action that this build does not know.
    Unknown,
}

/// `SaleLineType`, with what it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgreedLine {
    /// Goods.
    Product(LineId),
    /// A gift card sold.
    GiftCard(LineId),
    /// A tip.
    Tip(LineId),
    /// Shipping; an agreement may not say which of its lines.
    Shipping(Option<ShippingLineId>),
    /// Import duties.
    Duty,
    /// A fee on the order.
    AdditionalFee,
    /// A fee on a return.
    Fee,
    /// What its rows do not explain.
    Adjustment,
    /// A type that this build does not know.
    Unknown,
}

/// One row. Amounts are signed minor units of the order's shop currency: what was given back is negative.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgreedSale {
    /// Of this row.
    pub id: SaleId,
    /// What was done.
    pub action: SaleAction,
    /// To what.
    pub line: AgreedLine,
    /// For goods whose product is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product_id: Option<ProductId>,
    /// For goods whose variant is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant_id: Option<VariantId>,
    /// Signed units; 0 where units say nothing.
    pub units: i64,
    /// After discounts, with tax.
    pub total_minor: i64,
    /// The tax in it.
    pub tax_minor: i64,
    /// The discount, before tax.
    pub discount_minor: i64,
}
