use chrono::{DateTime, Utc};

use super::*;
use crate::{
    ids::{EditId, LineId, RefundId, RowId},
    join::{Member, Seen},
    order::{Line, LineKind, RefundLine, Restock, Status, Tax},
    personal::Personal,
    version::{Digest, Version},
};

fn at(day: u32) -> DateTime<Utc> {
    format!("2026-11-{day:02}T12:00:00Z").parse().unwrap()
}

fn version() -> Version {
    Version { updated_at: Some(at(1)), triggered_at: None, digest: Digest([0; 16]), revision: 1 }
}

/// An order of one line: three units at 33.33 with 10.00 off and 9.00 tax, none of which divides by three.
fn order(refunds: Vec<(u64, u32, Vec<RefundLine>)>) -> Order {
    let terms = serde_json::from_str(r#"{"currency": "USD", "processed_at": "2026-11-01T12:00:00Z"}"#).unwrap();
    let line = Line {
        kind: LineKind::Product,
        product_id: None,
        variant_id: None,
        price_minor: 3333,
        quantity: 3,
        current_quantity: 3,
        allocations: vec![crate::order::Allocation { application: 0, amount_minor: 1000 }],
        taxes: vec![Tax { rate_nano: 100_000_000, amount_minor: 900 }],
        duties_minor: 0,
        text: Personal::Redacted,
        properties: None,
    };
    let refunds = refunds.into_iter().map(|(id, day, lines)| {
        let refund = crate::order::Refund {
            at: at(day),
            return_id: None,
            lines,
            shipping: vec![],
            adjustments: vec![],
            duties_minor: 0,
            additional_fees_minor: 0,
            note: None,
        };
        (RefundId(id), Member { version: version(), value: refund })
    });
    Order {
        newest: Some(version()),
        first_seen: Some(at(1)),
        terms: Some(terms),
        lines: [(LineId(1), Seen { version: version(), first_seen: Some(at(1)), value: line })].into(),
        refunds: refunds.collect(),
        ..Order::default()
    }
}

fn row(id: u64, units: i64, restock: Restock, subtotal_minor: i64, tax_minor: i64) -> RefundLine {
    RefundLine { id: RowId(id), line_id: LineId(1), units, restock, subtotal_minor, tax_minor }
}

fn total(sales: &Sales) -> Amounts {
    sales.values().fold(Amounts::default(), |sum, amounts| Amounts {
        units: sum.units + amounts.units,
        gross_minor: sum.gross_minor + amounts.gross_minor,
        discount_minor: sum.discount_minor + amounts.discount_minor,
        net_minor: sum.net_minor + amounts.net_minor,
        tax_minor: sum.tax_minor + amounts.tax_minor,
        orders: sum.orders + amounts.orders,
        gift_card_orders: sum.gift_card_orders + amounts.gift_card_orders,
    })
}

#[test]
fn shares_of_a_line_that_do_not_divide_end_at_exactly_zero() {
    let removed = |id, day| (id, day, vec![row(id, 1, Restock::Cancel, 0, 0)]);
    let sales = sales_of(&order(vec![removed(1, 2), removed(2, 3), removed(3, 4)]));
    let of_refunds: Vec<(i64, i64)> = sales
        .iter()
        .filter(|(row, _)| row.is_reversal)
        .map(|(_, amounts)| (amounts.net_minor, amounts.tax_minor))
        .collect();
    // 89.99 in thirds, half to even, the last takes the rest.
    assert_eq!(of_refunds, [(-3000, -300), (-3000, -300), (-2999, -300)]);
    assert_eq!(total(&sales), Amounts { orders: 1, ..Amounts::default() });
}

#[test]
fn a_row_that_gives_no_money_counts_as_given_unless_it_is_a_removal() {
    let kept = order(vec![(1, 2, vec![row(1, 1, Restock::NoRestock, 0, 0)])]);
    let sales = sales_of(&kept);
    assert_eq!((total(&sales).units, total(&sales).net_minor), (2, 8999), "units without money");
}

#[test]
fn a_cancellation_takes_what_no_refund_did_also_when_the_refund_came_later() {
    for refund_day in [2, 6] {
        let mut cancelled = order(vec![(1, refund_day, vec![row(1, 2, Restock::Return, 6000, 600)])]);
        cancelled.status = Status { cancelled_at: Some(at(4)), ..Status::default() };
        let sales = sales_of(&cancelled);
        assert_eq!(total(&sales), Amounts { orders: 1, ..Amounts::default() });
        let of_cancel = sales.iter().find(|(row, _)| row.reason == Reason::Cancel).unwrap().1;
        assert_eq!((of_cancel.units, of_cancel.net_minor, of_cancel.tax_minor), (-1, -2999, -300));
    }
}

#[test]
fn the_difference_of_equal_sales_is_nothing_and_of_other_ones_compensates() {
    let before = sales_of(&order(vec![]));
    let after = sales_of(&order(vec![(1, 2, vec![row(1, 1, Restock::Return, 3000, 300)])]));
    assert!(difference(&before, &before).is_empty());
    assert_eq!(difference(&before, &after).len(), 1, "what still holds is not written again");
    let back = difference(&after, &before);
    assert_eq!((back.len(), back[0].1.net_minor), (1, 3000));
}

#[test]
fn more_units_refunded_than_sold_stay_within_bounds() {
    let sales = sales_of(&order(vec![(1, 2, vec![row(1, 999_999_999, Restock::Return, 100, 0)])]));
    assert!(total(&sales).gross_minor < 0);
}

/// Units, minor units of net, and orders of each day and reason.
fn by_day(sales: &Sales) -> Vec<(u32, Reason, i64, i64, u32)> {
    use chrono::Datelike;
    let mut rows: Vec<_> = sales
        .iter()
        .map(|(row, amounts)| {
            (
                row.occurred_at.day(),
                row.reason,
                amounts.units,
                amounts.net_minor,
                u32::try_from(amounts.orders).unwrap(),
            )
        })
        .collect();
    rows.sort_by_key(|row| (row.0, row.1, row.2));
    rows
}

fn edited(mut order: Order, day: u32, additions: i64, removals: i64) -> Order {
    let units = |units| (units > 0).then_some((LineId(1), units)).into_iter().collect();
    let edit = crate::order::Edit {
        at: at(day),
        additions: units(additions),
        removals: units(removals),
        shipping_additions: vec![],
        shipping_removals: vec![],
        note: None,
    };
    order.edits.insert(EditId(u64::from(day)), Member { version: version(), value: edit });
    order
}

/// As a body of that day tells the line.
fn told(mut order: Order, day: u32, quantity: i64, current_quantity: i64) -> Order {
    let line = order.lines.get_mut(&LineId(1)).unwrap();
    line.version.updated_at = Some(at(day));
    (line.value.quantity, line.value.current_quantity) = (quantity, current_quantity);
    order
}

#[test]
fn an_edit_adds_nothing_to_a_body_that_is_older_than_it() {
    let placed = (1, Reason::Order, 3, 8999, 1);
    let early = edited(order(vec![]), 3, 1, 0);
    assert_eq!(by_day(&sales_of(&early)), [placed], "the order's day keeps its units until a body has more");
    let later = told(early.clone(), 3, 4, 4);
    let rows = by_day(&sales_of(&later));
    assert_eq!((rows.len(), rows[0].2, rows[0].4, rows[1].0, rows[1].2, rows[1].4), (2, 3, 1, 3, 1, 0), "{rows:?}");
    // Bodies of one change may be dated a little apart.
    let mut slightly_older = later;
    slightly_older.lines.get_mut(&LineId(1)).unwrap().version.updated_at = Some(at(3) - chrono::TimeDelta::seconds(2));
    assert_eq!(by_day(&sales_of(&slightly_older)), rows);
}

#[test]
fn a_removal_stays_when_a_refund_comes_that_the_newest_body_does_not_know() {
    let refund = vec![(1, 4, vec![row(1, 2, Restock::Return, 6000, 600)])];
    let removed = |order: Order| edited(order, 2, 0, 1);
    let reversed = |sales: &Sales| -> Vec<(u32, i64)> {
        by_day(sales).into_iter().filter(|row| row.2 < 0).map(|row| (row.0, row.2)).collect()
    };
    assert_eq!(reversed(&sales_of(&told(removed(order(vec![])), 2, 3, 2))), [(2, -1)]);
    assert_eq!(reversed(&sales_of(&told(removed(order(refund.clone())), 2, 3, 2))), [(2, -1), (4, -2)]);
    assert_eq!(reversed(&sales_of(&told(removed(order(refund)), 4, 3, 0))), [(2, -1), (4, -2)]);
    // The refund row is the removal's own (A-01).
    let its_own = vec![(1, 2, vec![row(1, 1, Restock::Cancel, 0, 0)])];
    assert_eq!(reversed(&sales_of(&told(removed(order(its_own)), 2, 3, 2))), [(2, -1)]);
}
