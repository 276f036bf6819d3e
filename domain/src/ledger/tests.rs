use chrono::{DateTime, Utc};

use super::*;
use crate::{
    ids::{LineId, RefundId, RowId},
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
    let sales = sales_of(OrderId(1), &order(vec![removed(1, 2), removed(2, 3), removed(3, 4)]));
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
    let sales = sales_of(OrderId(1), &kept);
    assert_eq!((total(&sales).units, total(&sales).net_minor), (2, 8999), "units without money");
}

#[test]
fn a_cancellation_takes_what_no_refund_did_also_when_the_refund_came_later() {
    for refund_day in [2, 6] {
        let mut cancelled = order(vec![(1, refund_day, vec![row(1, 2, Restock::Return, 6000, 600)])]);
        cancelled.status = Status { cancelled_at: Some(at(4)), ..Status::default() };
        let sales = sales_of(OrderId(1), &cancelled);
        assert_eq!(total(&sales), Amounts { orders: 1, ..Amounts::default() });
        let of_cancel = sales.iter().find(|(row, _)| row.reason == Reason::Cancel).unwrap().1;
        assert_eq!((of_cancel.units, of_cancel.net_minor, of_cancel.tax_minor), (-1, -2999, -300));
    }
}

#[test]
fn the_difference_of_equal_sales_is_nothing_and_of_other_ones_compensates() {
    let before = sales_of(OrderId(1), &order(vec![]));
    let after = sales_of(OrderId(1), &order(vec![(1, 2, vec![row(1, 1, Restock::Return, 3000, 300)])]));
    assert!(difference(&before, &before).is_empty());
    assert_eq!(difference(&before, &after).len(), 1, "what still holds is not written again");
    let back = difference(&after, &before);
    assert_eq!((back.len(), back[0].1.net_minor), (1, 3000));
}

#[test]
fn more_units_refunded_than_sold_stay_within_bounds() {
    let sales = sales_of(OrderId(1), &order(vec![(1, 2, vec![row(1, 999_999_999, Restock::Return, 100, 0)])]));
    assert!(total(&sales).gross_minor < 0);
}
