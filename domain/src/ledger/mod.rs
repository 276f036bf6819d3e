//! The sale ledger: what an order sold and reversed, and when, as a pure function of its state.
//!
//! [`sales_of`] derives all of an order's sales, keyed by what they are about; [`difference`] says which rows turn
//! one such set into another. Figures are sums over the rows: see `docs/metrics.md`, which the rulings named here
//! (A-01 …) are listed in.
//!
//! A change to the derivation is a change of definition: raise [`DEFINITION`], and every shop's ledger is rebuilt.

mod agreed;
mod goods;
mod shipping;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use agreed::Agreed;

use crate::{
    ids::{LineId, ProductId, VariantId},
    money::{Currency, divide_half_even},
    order::{AdjustmentKind, Order, Refund, RefundLine, Terms},
};

/// Version of the derivation. Shown with every figure.
pub const DEFINITION: u32 = 2;

/// Why a row exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The order was placed.
    Order,
    /// A committed edit.
    OrderEdit,
    /// A refund that pays a return.
    Return,
    /// Any other refund.
    Refund,
    /// The order was cancelled.
    Cancel,
    /// A reason that this build does not know.
    Unknown,
}

impl Reason {
    /// As the ledger's column has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Order => "order",
            Self::OrderEdit => "order_edit",
            Self::Return => "return",
            Self::Refund => "refund",
            Self::Cancel => "cancel",
            Self::Unknown => "unknown",
        }
    }
}

/// What a row is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LineType {
    /// Goods and services.
    Product,
    /// Shipping.
    Shipping,
    /// A tip.
    Tip,
    /// A gift card sold.
    GiftCard,
    /// Import duties.
    Duty,
    /// A fee on the order.
    AdditionalFee,
    /// A return fee.
    Fee,
    /// What a refund's lines do not explain.
    Adjustment,
    /// Of no type that this build knows: counts in total sales alone.
    Unknown,
}

impl LineType {
    /// As [`Self::as_str`] names it; [`Self::Unknown`] for what this build does not know.
    #[must_use]
    pub fn named(name: &str) -> Self {
        let all = [
            Self::Product,
            Self::Shipping,
            Self::Tip,
            Self::GiftCard,
            Self::Duty,
            Self::AdditionalFee,
            Self::Fee,
            Self::Adjustment,
        ];
        all.into_iter().find(|known| known.as_str() == name).unwrap_or(Self::Unknown)
    }

    /// As the ledger's column has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Product => "product",
            Self::Shipping => "shipping",
            Self::Tip => "tip",
            Self::GiftCard => "gift_card",
            Self::Duty => "duty",
            Self::AdditionalFee => "additional_fee",
            Self::Fee => "fee",
            Self::Adjustment => "adjustment",
            Self::Unknown => "unknown",
        }
    }
}

/// Where a row comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Provenance {
    /// Shopify booked it.
    Agreement,
    /// It was derived from the order's other parts.
    Derived,
}

impl Provenance {
    /// As the ledger's column has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Agreement => "agreement",
            Self::Derived => "derived_from_order_json",
        }
    }
}

/// What can be added up. Minor units of the row's currency, signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Amounts {
    /// Units: positive ordered, negative reversed.
    pub units: i64,
    /// Before discounts and tax.
    pub gross_minor: i64,
    /// `gross - net`.
    pub discount_minor: i64,
    /// After discounts, before tax.
    pub net_minor: i64,
    /// The tax.
    pub tax_minor: i64,
    /// 1 on the row that makes the order count: its first sale of goods.
    pub orders: i64,
    /// 1 on the first row of an order that sells nothing but gift cards (and tips).
    pub gift_card_orders: i64,
}

impl Amounts {
    /// Nothing to add up: such a row is not written.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        *self == Self::default()
    }

    fn add(&mut self, other: &Self) {
        let nothing = Self::default();
        *self = self.minus(&nothing.minus(other));
    }

    fn minus(&self, other: &Self) -> Self {
        Self {
            units: self.units - other.units,
            gross_minor: self.gross_minor - other.gross_minor,
            discount_minor: self.discount_minor - other.discount_minor,
            net_minor: self.net_minor - other.net_minor,
            tax_minor: self.tax_minor - other.tax_minor,
            orders: self.orders - other.orders,
            gift_card_orders: self.gift_card_orders - other.gift_card_orders,
        }
    }
}

/// What a row is about, and where and when it counts. Rows net by it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dimensions {
    /// `line/7/order`, `shipping/3/refund/9`, `tip/cancel` …: the same thing has the same key in every derivation.
    pub business_key: String,
    /// The instant that decides its day.
    pub occurred_at: DateTime<Utc>,
    /// Why.
    pub reason: Reason,
    /// What.
    pub line_type: LineType,
    /// Of which currency the amounts are.
    pub currency: Currency,
    /// For goods.
    pub line_id: Option<LineId>,
    /// For goods whose product is known.
    pub product_id: Option<ProductId>,
    /// For goods whose variant is known.
    pub variant_id: Option<VariantId>,
    /// Of the order's first agreement: counts in the average order value.
    pub is_initial: bool,
    /// It gives something back. A compensating row of a sale is a negative sale, not a reversal.
    pub is_reversal: bool,
    /// Where the row comes from.
    pub provenance: Provenance,
}

/// An order's sales: the rows that currently hold, netted.
pub type Sales = BTreeMap<Dimensions, Amounts>;

/// The rows that make `after` of `before`: compensation and replacement, in one order for everyone.
#[must_use]
pub fn difference(before: &Sales, after: &Sales) -> Vec<(Dimensions, Amounts)> {
    let nothing = Amounts::default();
    let mut rows: Vec<_> = before
        .iter()
        .filter(|(key, _)| !after.contains_key(*key))
        .map(|(key, amounts)| (key.clone(), nothing.minus(amounts)))
        .collect();
    for (key, amounts) in after {
        let change = amounts.minus(before.get(key).unwrap_or(&nothing));
        if !change.is_zero() {
            rows.push((key.clone(), change));
        }
    }
    rows.sort_by(|(left, _), (right, _)| left.cmp(right));
    rows
}

/// All sales of an order. Empty until a snapshot of it is known, for test orders and for deleted ones.
#[must_use]
pub fn sales_of(order: &Order) -> Sales {
    let Some(terms) = &order.terms else {
        return Sales::new();
    };
    if order.deleted || terms.test {
        return Sales::new();
    }
    let Some(placed_at) = terms.processed_at.or(terms.created_at).or(order.first_seen) else {
        return Sales::new();
    };
    let mut book = Book::new(order, terms, placed_at);
    agreed::enter(&mut book);
    goods::enter(&mut book);
    shipping::enter(&mut book);
    enter_duties(&mut book);
    enter_fees_and_tips(&mut book);
    enter_adjustments(&mut book);
    enter_return_fees(&mut book);
    agreed::enter_cancellation(&mut book);
    mark_the_order(&mut book.sales);
    book.sales
}

/// The sales being written, with what every part of the derivation looks at.
struct Book<'a> {
    order: &'a Order,
    terms: &'a Terms,
    placed_at: DateTime<Utc>,
    agreed: Option<Agreed>,
    /// Those that no agreement names, by instant, then id.
    refunds: Vec<(u64, &'a Refund)>,
    /// By instant, then id.
    edits: Vec<(u64, &'a crate::order::Edit)>,
    /// Rows of those refunds, by the line that they give back, in the refunds' order.
    refund_rows: BTreeMap<LineId, Vec<(u64, &'a Refund, &'a RefundLine)>>,
    /// Units of each line in any refund, booked or not, and when.
    refunded_units: BTreeMap<LineId, Vec<(DateTime<Utc>, i64)>>,
    sales: Sales,
}

impl<'a> Book<'a> {
    fn new(order: &'a Order, terms: &'a Terms, placed_at: DateTime<Utc>) -> Self {
        let agreed = Agreed::of(order);
        let is_open = |id, refund| agreed.as_ref().is_none_or(|agreed| !agreed.names(id, refund));
        let refunds = order.refunds.iter().map(|(id, refund)| (*id, &refund.value));
        let mut refunds: Vec<_> =
            refunds.filter(|(id, refund)| is_open(*id, refund)).map(|(id, refund)| (id.0, refund)).collect();
        refunds.sort_by_key(|(id, refund)| (refund.at, *id));
        let mut edits: Vec<_> = order.edits.iter().map(|(id, edit)| (id.0, &edit.value)).collect();
        edits.sort_by_key(|(id, edit)| (edit.at, *id));
        let mut refund_rows: BTreeMap<LineId, Vec<_>> = BTreeMap::new();
        for (id, refund) in &refunds {
            for row in &refund.lines {
                refund_rows.entry(row.line_id).or_default().push((*id, *refund, row));
            }
        }
        let mut refunded_units: BTreeMap<LineId, Vec<_>> = BTreeMap::new();
        for refund in order.refunds.values().map(|refund| &refund.value) {
            for row in &refund.lines {
                refunded_units.entry(row.line_id).or_default().push((refund.at, row.units));
            }
        }
        Self { order, terms, placed_at, agreed, refunds, edits, refund_rows, refunded_units, sales: Sales::new() }
    }

    /// The instant of a part that no known edit added: the order's own, unless an older snapshot lacks the part.
    /// A part that agreements name was added when they say.
    fn appeared_at(&self, first_seen: Option<DateTime<Utc>>, is_agreed: bool) -> (DateTime<Utc>, Reason) {
        match (first_seen, self.order.first_seen) {
            (Some(seen), Some(order_seen)) if seen > order_seen && !is_agreed => (seen, Reason::OrderEdit),
            _ => (self.placed_at, Reason::Order),
        }
    }

    /// What a refund and a cancellation say gives back; what an edit says may do either.
    fn row(&self, key: String, at: DateTime<Utc>, reason: Reason, line_type: LineType) -> Dimensions {
        Dimensions {
            business_key: key,
            occurred_at: at,
            reason,
            line_type,
            currency: self.terms.currency,
            line_id: None,
            product_id: None,
            variant_id: None,
            is_initial: false,
            is_reversal: matches!(reason, Reason::Return | Reason::Refund | Reason::Cancel),
            provenance: Provenance::Derived,
        }
    }

    /// When it was cancelled, unless agreements are the ones to say what that gave back.
    fn cancelled_at(&self) -> Option<DateTime<Utc>> {
        self.order.status.cancelled_at.filter(|_| self.agreed.is_none())
    }

    /// Enters a row that was derived, unless agreements tell it.
    fn enter(&mut self, row: Dimensions, amounts: Amounts) {
        if !amounts.is_zero() && self.derives(row.reason, row.occurred_at) {
            self.sales.insert(row, amounts);
        }
    }

    fn derives(&self, reason: Reason, at: DateTime<Utc>) -> bool {
        self.agreed.as_ref().is_none_or(|agreed| agreed.leaves(reason, at))
    }

    /// A row of money alone, without discount: a duty, a fee, a tip.
    fn enter_plain(&mut self, key: String, at: DateTime<Utc>, reason: Reason, line_type: LineType, net: i64) {
        let row = self.row(key, at, reason, line_type);
        self.enter(row, Amounts { gross_minor: net, net_minor: net, ..Amounts::default() });
    }
}

fn reason_of(refund: &Refund) -> Reason {
    if refund.return_id.is_some() { Reason::Return } else { Reason::Refund }
}

/// `left * units / of`, half to even; all that is left when the last unit goes.
fn share(left: i64, units: i64, of: i64) -> i64 {
    if units >= of { left } else { divide_half_even(i128::from(left) * i128::from(units), i128::from(of)) }
}

/// One source: the order's total when it has one, else its lines'. A line that an edit added brings its own.
fn enter_duties(book: &mut Book<'_>) {
    let mut of_lines = 0;
    let mut added = Vec::new();
    for (id, line) in &book.order.lines {
        if line.value.duties_minor != 0 {
            match goods::first_placed(book, *id, line) {
                (at, Reason::OrderEdit) => added.push((*id, at, line.value.duties_minor)),
                _ => of_lines += line.value.duties_minor,
            }
        }
    }
    let original = book.terms.duties.unwrap_or(of_lines);
    book.enter_plain("duty/order".into(), book.placed_at, Reason::Order, LineType::Duty, original);
    let mut left = original;
    for (id, at, duties) in added {
        left += duties;
        book.enter_plain(format!("duty/line/{id}"), at, Reason::OrderEdit, LineType::Duty, duties);
    }
    left -= enter_given_back(book, "duty", LineType::Duty, |refund| refund.duties_minor);
    cancel_rest(book, "duty/cancel", LineType::Duty, left);
}

fn enter_fees_and_tips(book: &mut Book<'_>) {
    let fees = book.terms.additional_fees.unwrap_or(0);
    book.enter_plain("additional_fee/order".into(), book.placed_at, Reason::Order, LineType::AdditionalFee, fees);
    let given_back =
        enter_given_back(book, "additional_fee", LineType::AdditionalFee, |refund| refund.additional_fees_minor);
    cancel_rest(book, "additional_fee/cancel", LineType::AdditionalFee, fees - given_back);
    // Tip lines win over the order's total: a tip is never counted twice.
    if !book.order.lines.values().any(|line| line.value.kind == crate::order::LineKind::Tip) {
        let tip = book.terms.tip;
        book.enter_plain("tip/order".into(), book.placed_at, Reason::Order, LineType::Tip, tip);
        cancel_rest(book, "tip/cancel", LineType::Tip, tip);
    }
}

/// What refunds give back of it, each on its own day. Returns how much all of them do.
fn enter_given_back(book: &mut Book<'_>, what: &str, line_type: LineType, of: fn(&Refund) -> i64) -> i64 {
    let mut all = 0;
    for (id, refund) in book.refunds.clone() {
        all += of(refund);
        book.enter_plain(format!("{what}/refund/{id}"), refund.at, reason_of(refund), line_type, -of(refund));
    }
    all
}

/// A cancellation reverses what is still unreversed in the whole known set.
fn cancel_rest(book: &mut Book<'_>, key: &str, line_type: LineType, left: i64) {
    if let Some(at) = book.cancelled_at() {
        book.enter_plain(key.to_owned(), at, Reason::Cancel, line_type, -left.max(0));
    }
}

/// Negative: the shop gave back more than the lines explain; positive: it kept a part. A cancellation leaves them alone.
fn enter_adjustments(book: &mut Book<'_>) {
    for (id, refund) in book.refunds.clone() {
        for adjustment in &refund.adjustments {
            if adjustment.kind == AdjustmentKind::Discrepancy {
                let key = format!("adjustment/{}/refund/{id}", adjustment.id);
                let row = book.row(key, refund.at, reason_of(refund), LineType::Adjustment);
                let (net, tax) = (adjustment.amount_minor, adjustment.tax_minor);
                let amounts = Amounts { gross_minor: net, net_minor: net, tax_minor: tax, ..Amounts::default() };
                book.enter(row, amounts);
            }
        }
    }
}

/// What a return cost the buyer counts on the day of the refund that pays the return.
fn enter_return_fees(book: &mut Book<'_>) {
    let order = book.order;
    for (id, fees) in &order.return_fees {
        let refunds = order.refunds.iter().map(|(id, refund)| (*id, &refund.value));
        let of_return = refunds.filter(|(_, refund)| refund.return_id == Some(*id));
        let paid_by = of_return.min_by_key(|(id, refund)| (refund.at, *id));
        // A fee is booked with the return, or with the refund that pays it first.
        let is_told = |(id, refund): &(_, &Refund)| {
            book.agreed.as_ref().is_some_and(|agreed| agreed.names(*id, refund) || agreed.books_goods_of(refund))
        };
        if let Some((_, refund)) = paid_by.filter(|paid_by| !is_told(paid_by)) {
            let at = refund.at;
            book.enter_plain(format!("fee/return/{id}"), at, Reason::Return, LineType::Fee, fees.value);
        }
    }
}

/// An order counts once, on the day of its first sale of goods; one that sells only gift cards is counted apart.
fn mark_the_order(sales: &mut Sales) {
    let first = |sales: &Sales, line_type: LineType| {
        let sold = |(row, amounts): &(&Dimensions, &Amounts)| row.line_type == line_type && amounts.units > 0;
        let rows = sales.iter().filter(sold);
        rows.min_by_key(|(row, _)| (row.occurred_at, row.line_id)).map(|(row, _)| row.clone())
    };
    if let Some(row) = first(sales, LineType::Product) {
        sales.get_mut(&row).expect("found in it").orders = 1;
    } else if let Some(row) = first(sales, LineType::GiftCard) {
        sales.get_mut(&row).expect("found in it").gift_card_orders = 1;
    }
}
