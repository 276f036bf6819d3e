//! What a body adds up to must be a sum that all later sums can hold: each order's, each day's, each period's.

use domain::{
    MoneyError,
    ids::AgreementId,
    money::MAX_MINOR,
    order::{Agreement, Line, ObservedOrder, Refund, ShippingLine},
};

use super::TranslateError;

/// Refuses an order whose amounts, added up without their signs, are beyond [`MAX_MINOR`].
pub(super) fn order(order: &ObservedOrder) -> Result<(), TranslateError> {
    let terms = &order.terms;
    let of_terms = [terms.duties.unwrap_or(0), terms.additional_fees.unwrap_or(0), terms.tip];
    let worth = sum(of_terms)
        + order.lines.iter().map(|(_, line)| of_line(line)).sum::<u128>()
        + order.shipping_lines.iter().map(|(_, line)| of_shipping(line)).sum::<u128>()
        + order.refunds.iter().map(|(_, refund)| of_refund(refund)).sum::<u128>()
        + sum(order.returns.iter().map(|(_, of_return)| of_return.fees_minor.unwrap_or(0)));
    within("order", worth)
}

/// The same for a refund on its own.
pub(super) fn refund(refund: &Refund) -> Result<(), TranslateError> {
    within("refund", of_refund(refund))
}

/// The same for the agreements of an order.
pub(super) fn agreements(agreements: &[(AgreementId, Agreement)]) -> Result<(), TranslateError> {
    let sales = agreements.iter().flat_map(|(_, agreement)| &agreement.sales);
    within("agreements", sum(sales.flat_map(|sale| [sale.total_minor, sale.tax_minor, sale.discount_minor])))
}

fn within(field: &'static str, worth: u128) -> Result<(), TranslateError> {
    if worth <= u128::from(MAX_MINOR.unsigned_abs()) {
        return Ok(());
    }
    Err(TranslateError::Amount { field, source: MoneyError::OutOfRange })
}

fn sum(amounts: impl IntoIterator<Item = i64>) -> u128 {
    amounts.into_iter().map(|amount| u128::from(amount.unsigned_abs())).sum()
}

fn of_line(line: &Line) -> u128 {
    let units = u128::from(line.quantity.max(line.current_quantity).unsigned_abs());
    u128::from(line.price_minor.unsigned_abs()) * units
        + sum(line.allocations.iter().map(|allocation| allocation.amount_minor))
        + sum(line.taxes.iter().map(|tax| tax.amount_minor))
        + u128::from(line.duties_minor.unsigned_abs())
}

fn of_shipping(line: &ShippingLine) -> u128 {
    sum([line.price_minor])
        + sum(line.allocations.iter().map(|allocation| allocation.amount_minor))
        + sum(line.taxes.iter().map(|tax| tax.amount_minor))
}

fn of_refund(refund: &Refund) -> u128 {
    sum(refund.lines.iter().flat_map(|line| [line.subtotal_minor, line.tax_minor]))
        + sum(refund.shipping.iter().map(|line| line.amount_minor))
        + sum(refund.adjustments.iter().flat_map(|line| [line.amount_minor, line.tax_minor]))
        + u128::from(refund.duties_minor.unsigned_abs())
}
