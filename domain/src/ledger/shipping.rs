//! Shipping: what was charged, given back, taken off and cancelled of each shipping line.

use std::collections::BTreeMap;

use super::{Amounts, Book, Dimensions, LineType, Reason, reason_of, share};
use crate::{
    ids::ShippingLineId,
    order::{AdjustmentKind, Refund},
};

/// What of a shipping line is not given back yet.
struct Left {
    net: i64,
    tax: i64,
}

pub(super) fn enter(book: &mut Book<'_>) {
    let order = book.order;
    let included = book.terms.taxes_included;
    let mut left = BTreeMap::new();
    for (id, seen) in &order.shipping_lines {
        let line = &seen.value;
        let discount: i64 = line.allocations.iter().map(|allocation| allocation.amount_minor).sum();
        let tax: i64 = line.taxes.iter().map(|tax| tax.amount_minor).sum();
        let net = line.price_minor - discount - if included { tax } else { 0 };
        let added_by = book.edits.iter().find(|(_, edit)| edit.shipping_additions.contains(id));
        let (at, reason) = match added_by {
            Some((_, edit)) => (edit.at, Reason::OrderEdit),
            None => {
                let is_agreed = book.agreed.as_ref().is_some_and(|agreed| agreed.shipping(*id).is_some());
                book.appeared_at(seen.first_seen, is_agreed)
            }
        };
        let amounts = Amounts {
            gross_minor: net + discount,
            discount_minor: discount,
            net_minor: net,
            tax_minor: tax,
            ..Amounts::default()
        };
        let row = book.row(format!("shipping/{id}/order"), at, reason, LineType::Shipping);
        book.enter(row, amounts);
        left.insert(
            *id,
            match &book.agreed {
                None => Left { net, tax },
                Some(agreed) => {
                    let known = agreed.shipping(*id).map_or(Left { net: 0, tax: 0 }, Left::of);
                    let (net, tax) = if book.derives(reason, at) { (net, tax) } else { (0, 0) };
                    Left { net: known.net + net, tax: known.tax + tax }
                }
            },
        );
    }
    for (id, refund) in book.refunds.clone() {
        enter_refund(book, &mut left, id, refund);
    }
    enter_removals_and_cancellation(book, left);
}

fn enter_refund(book: &mut Book<'_>, left: &mut BTreeMap<ShippingLineId, Left>, id: u64, refund: &Refund) {
    let reason = reason_of(refund);
    for row in &refund.shipping {
        let known = row.shipping_line_id.and_then(|line| left.get_mut(&line));
        let (net, tax) = match known {
            Some(line) => line.take(row.amount_minor, book.terms.taxes_included),
            None => (row.amount_minor, 0),
        };
        enter_reversal(book, format!("shipping/refund/{id}/{}", row.id), refund.at, reason, net, tax);
    }
    // The older way to say the same: never both.
    if refund.shipping.is_empty() {
        for adjustment in &refund.adjustments {
            if adjustment.kind == AdjustmentKind::ShippingRefund {
                let (net, tax) = (-adjustment.amount_minor, -adjustment.tax_minor);
                take_anywhere(left, net, tax);
                let key = format!("shipping/refund/{id}/adjustment/{}", adjustment.id);
                enter_reversal(book, key, refund.at, reason, net, tax);
            }
        }
    }
}

impl Left {
    fn of(amounts: &Amounts) -> Self {
        Self { net: amounts.net_minor, tax: amounts.tax_minor }
    }

    /// Takes a refunded amount, which names no tax: pro rata of what is left.
    fn take(&mut self, amount: i64, included: bool) -> (i64, i64) {
        let paid = if included { self.net + self.tax } else { self.net };
        let tax = if paid > 0 && amount > 0 { share(self.tax, amount, paid) } else { 0 };
        let net = if included { amount - tax } else { amount };
        self.net -= net;
        self.tax -= tax;
        (net, tax)
    }
}

/// An adjustment names no shipping line: it is taken off the lines in their order, as far as each goes.
fn take_anywhere(left: &mut BTreeMap<ShippingLineId, Left>, mut net: i64, mut tax: i64) {
    for line in left.values_mut() {
        let (of_net, of_tax) = (net.min(line.net).max(0), tax.min(line.tax).max(0));
        line.net -= of_net;
        line.tax -= of_tax;
        net -= of_net;
        tax -= of_tax;
    }
}

fn enter_removals_and_cancellation(book: &mut Book<'_>, left: BTreeMap<ShippingLineId, Left>) {
    let order = book.order;
    for (id, line) in left {
        let (net, tax) = (line.net.max(0), line.tax.max(0));
        if order.shipping_lines[&id].value.removed {
            let removed_by = book.edits.iter().find(|(_, edit)| edit.shipping_removals.contains(&id));
            let at = removed_by.map_or(book.placed_at, |(_, edit)| edit.at);
            enter_reversal(book, format!("shipping/{id}/removal"), at, Reason::OrderEdit, net, tax);
        } else if let Some(at) = book.cancelled_at() {
            enter_reversal(book, format!("shipping/{id}/cancel"), at, Reason::Cancel, net, tax);
        }
    }
}

fn enter_reversal(
    book: &mut Book<'_>,
    key: String,
    at: chrono::DateTime<chrono::Utc>,
    reason: Reason,
    net: i64,
    tax: i64,
) {
    let row = Dimensions { is_reversal: true, ..book.row(key, at, reason, LineType::Shipping) };
    book.enter(row, Amounts { gross_minor: -net, net_minor: -net, tax_minor: -tax, ..Amounts::default() });
}
