//! Lines: goods, gift cards and tips; what was placed, added, refunded, taken off and cancelled of each.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Amounts, Book, Dimensions, LineType, Reason, reason_of, share};
use crate::{
    ids::LineId,
    join::Seen,
    money::{MAX_MINOR, divide_half_even},
    order::{Line, LineKind, Restock},
};

const NANO: i128 = 1_000_000_000;

/// What a line is worth, or what of it is not reversed yet.
#[derive(Clone, Copy, Default)]
struct Worth {
    units: i64,
    gross: i64,
    net: i64,
    tax: i64,
}

impl Worth {
    /// The share of `units` of it; the last units take the rest, so a line ends at exactly zero.
    fn share(&self, units: i64) -> Self {
        let of = self.units;
        Self {
            units,
            gross: share(self.gross, units, of),
            net: share(self.net, units, of),
            tax: share(self.tax, units, of),
        }
    }

    fn of(amounts: &Amounts) -> Self {
        Self { units: amounts.units, gross: amounts.gross_minor, net: amounts.net_minor, tax: amounts.tax_minor }
    }

    fn give(&mut self, part: Self) {
        self.units += part.units;
        self.gross += part.gross;
        self.net += part.net;
        self.tax += part.tax;
    }

    fn take(&mut self, part: Self) {
        self.units -= part.units;
        self.gross -= part.gross;
        self.net -= part.net;
        self.tax -= part.tax;
    }

    fn amounts(&self, sign: i64) -> Amounts {
        Amounts {
            units: sign * self.units,
            gross_minor: sign * self.gross,
            discount_minor: sign * (self.gross - self.net),
            net_minor: sign * self.net,
            tax_minor: sign * self.tax,
            ..Amounts::default()
        }
    }
}

/// Units of a line placed at one instant, by an edit or with the order.
struct Placed {
    edit: Option<u64>,
    at: DateTime<Utc>,
    reason: Reason,
    units: i64,
}

pub(super) fn enter(book: &mut Book<'_>) {
    let order = book.order;
    for (id, line) in &order.lines {
        enter_line(book, *id, line);
    }
}

/// When the first units of a line were placed, and by what.
pub(super) fn first_placed(book: &Book<'_>, id: LineId, line: &Seen<Line>) -> (DateTime<Utc>, Reason) {
    let placed = placements(book, id, line);
    let first = placed.into_iter().min_by_key(|placed| (placed.at, placed.edit));
    first.map_or((book.placed_at, Reason::Order), |placed| (placed.at, placed.reason))
}

fn enter_line(book: &mut Book<'_>, id: LineId, seen: &Seen<Line>) {
    let line = &seen.value;
    let line_type = match line.kind {
        LineKind::Product => LineType::Product,
        LineKind::GiftCard => LineType::GiftCard,
        LineKind::Tip => LineType::Tip,
    };
    let whole = worth(line, book.terms.taxes_included);
    let row = |book: &Book<'_>, what: String, at, reason, is_reversal| Dimensions {
        line_id: Some(id),
        product_id: line.product_id,
        variant_id: line.variant_id,
        is_initial: reason == Reason::Order,
        is_reversal,
        ..book.row(format!("line/{id}/{what}"), at, reason, line_type)
    };

    // Where agreements tell what is left, an edit after them adds to it.
    let mut left = book.agreed.as_ref().map(|agreed| agreed.line(id).map_or(Worth::default(), Worth::of));
    let mut rest = whole;
    for placed in placements(book, id, seen) {
        // Edits take their share first; what was there from the start is the rest.
        let part = if placed.edit.is_some() { rest.share(placed.units) } else { rest };
        rest.take(part);
        if let Some(left) = left.as_mut().filter(|_| book.derives(placed.reason, placed.at)) {
            left.give(part);
        }
        let what = placed.edit.map_or("order".to_owned(), |edit| format!("edit/{edit}"));
        let row = row(book, what, placed.at, placed.reason, false);
        book.enter(row, part.amounts(1));
    }

    let mut left = left.unwrap_or(whole);
    for reversal in reversals(book, id, seen) {
        let part = match reversal.money {
            None => left.share(reversal.units),
            Some((net, tax)) => Worth { gross: gross_of(&left, line, reversal.units), units: reversal.units, net, tax },
        };
        if book.derives(reversal.reason, reversal.at) {
            left.take(part);
        }
        let row = row(book, reversal.what, reversal.at, reversal.reason, true);
        book.enter(row, part.amounts(-1));
    }

    if let Some(at) = book.cancelled_at() {
        // Whatever is unreversed, rows or not. A refund that gave back more than the line was worth stays.
        left.units = left.units.max(0);
        left.net = left.net.max(0);
        left.tax = left.tax.max(0);
        left.gross = left.gross.max(left.net);
        let row = row(book, "cancel".to_owned(), at, Reason::Cancel, true);
        book.enter(row, left.amounts(-1));
    }
}

/// Which units of a line came when: edits first, by instant and id, then the rest.
fn placements(book: &Book<'_>, id: LineId, seen: &Seen<Line>) -> Vec<Placed> {
    let mut rest = seen.value.quantity;
    let mut placed = Vec::new();
    for (edit_id, edit) in book.edits.iter().filter(|(_, edit)| knows(seen, edit.at)) {
        let units = edit.additions.get(&id).copied().unwrap_or(0).min(rest);
        if units > 0 {
            rest -= units;
            placed.push(Placed { edit: Some(*edit_id), at: edit.at, reason: Reason::OrderEdit, units });
        }
    }
    if rest > 0 {
        let is_agreed = book.agreed.as_ref().is_some_and(|agreed| agreed.line(id).is_some());
        let (at, reason) = book.appeared_at(seen.first_seen, is_agreed);
        placed.push(Placed { edit: None, at, reason, units: rest });
    }
    placed
}

/// Whether the newest body of a line can know what happened at an instant: its units are counted as they were then.
fn knows(seen: &Seen<Line>, at: DateTime<Utc>) -> bool {
    // What one change is dated by in two bodies may differ by as much.
    const SAME_MOMENT: TimeDelta = TimeDelta::seconds(10);
    seen.version.updated_at.is_none_or(|updated_at| at - updated_at <= SAME_MOMENT)
}

/// Units of a line given back at one instant.
struct Reversal {
    at: DateTime<Utc>,
    id: u64,
    what: String,
    reason: Reason,
    units: i64,
    /// Net and tax as the row gives them; `None` takes the share of what is left.
    money: Option<(i64, i64)>,
}

fn reversals(book: &Book<'_>, id: LineId, seen: &Seen<Line>) -> Vec<Reversal> {
    let line = &seen.value;
    let mut reversals = Vec::new();
    for (refund_id, refund, row) in book.refund_rows.get(&id).into_iter().flatten() {
        let no_money = row.subtotal_minor == 0 && row.tax_minor == 0;
        let is_told = book.agreed.as_ref().is_some_and(|agreed| {
            // A removal goes with an edit or a cancellation, which agreements tell.
            let is_removal = no_money && row.restock == Restock::Cancel && agreed.covers(refund.at);
            is_removal || agreed.books_goods_of(refund)
        });
        if is_told {
            continue;
        }
        reversals.push(Reversal {
            at: refund.at,
            id: *refund_id,
            what: format!("refund/{refund_id}/{}", row.id),
            reason: reason_of(refund),
            units: row.units,
            // A removal that carries no money takes its share; any other row counts as given, zero too.
            money: (!(no_money && row.restock == Restock::Cancel)).then(|| match line.kind {
                LineKind::Tip => (row.subtotal_minor, 0),
                _ if book.terms.taxes_included => (row.subtotal_minor - row.tax_minor, row.tax_minor),
                _ => (row.subtotal_minor, row.tax_minor),
            }),
        });
    }
    // Refund rows have priority: edits reverse only units that none covers.
    let refunded = book.refunded_units.get(&id).into_iter().flatten().filter(|(at, _)| knows(seen, *at));
    let refunded: i64 = refunded.map(|(_, units)| units).sum();
    let mut removed = line.quantity - line.current_quantity - refunded;
    for (edit_id, edit) in &book.edits {
        let units = edit.removals.get(&id).copied().unwrap_or(0).min(removed);
        if units > 0 {
            removed -= units;
            let what = format!("removal/{edit_id}");
            let reason = Reason::OrderEdit;
            reversals.push(Reversal { at: edit.at, id: *edit_id, what, reason, units, money: None });
        }
    }
    reversals.sort_by(|left, right| (left.at, left.id, &left.what).cmp(&(right.at, right.id, &right.what)));
    reversals
}

/// The gross of units that a refund row gives back.
fn gross_of(left: &Worth, line: &Line, units: i64) -> i64 {
    if (1..=left.units).contains(&units) {
        return share(left.gross, units, left.units);
    }
    // More units than were sold: whatever the body says, the sum must stay one.
    let gross = i128::from(line.price_minor) * i128::from(units);
    let bound = i128::from(MAX_MINOR);
    i64::try_from(gross.clamp(-bound, bound)).expect("clamped")
}

/// What a line is worth before any reversal. In tax-inclusive orders the tax is taken off price and discount.
fn worth(line: &Line, taxes_included: bool) -> Worth {
    let full = line.price_minor * line.quantity;
    let discount: i64 = line.allocations.iter().map(|allocation| allocation.amount_minor).sum();
    let tax = line.taxes.iter().map(|tax| tax.amount_minor).sum();
    let units = line.quantity;
    match line.kind {
        LineKind::Tip => Worth { units, gross: full, net: full - discount, tax: 0 }, // its tax never counts
        _ if taxes_included => {
            let rate: i128 = line.taxes.iter().map(|tax| i128::from(tax.rate_nano)).sum();
            // Once per line over the sum of its allocations, half to even; the residue goes into gross.
            let discount_before_tax = divide_half_even(i128::from(discount) * NANO, NANO + rate.max(0));
            let net = full - discount - tax;
            Worth { units, gross: net + discount_before_tax, net, tax }
        }
        _ => Worth { units, gross: full, net: full - discount, tax },
    }
}
