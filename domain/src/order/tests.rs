use chrono::{DateTime, Duration, Utc};
use cqrs_es::{Aggregate, DomainEvent, test::TestFramework};
use proptest::prelude::*;

use super::*;
use crate::{
    ids::{CustomerId, EditId, FulfillmentId, LineId, OrderId, RefundId, ReturnId, RowId, TransactionId},
    join::tests::{Applied, arrivals},
    ledger::{Sales, difference, sales_of},
    personal::{Personal, Sealed, Subject},
    version::{Digest, Version},
};

const ORDER: OrderId = OrderId(1);

fn instant(hours: i64) -> DateTime<Utc> {
    "2026-11-01T00:00:00Z".parse::<DateTime<Utc>>().unwrap() + Duration::hours(hours)
}

fn version(hours: i64, digest: u8) -> Version {
    Version { updated_at: Some(instant(hours)), triggered_at: None, digest: Digest([digest; 16]), revision: 1 }
}

fn line(quantity: i64) -> Line {
    Line {
        kind: LineKind::Product,
        product_id: None,
        variant_id: None,
        price_minor: 1000,
        quantity,
        current_quantity: quantity,
        allocations: vec![],
        taxes: vec![],
        duties_minor: 0,
        text: Personal::Sealed(Sealed { subject: Subject::Shop, bytes: "AA".into() }),
        properties: None,
    }
}

fn seen(version: Version) -> ObservedOrder {
    ObservedOrder {
        order_id: ORDER,
        version,
        terms: Terms {
            name: None,
            created_at: Some(instant(0)),
            processed_at: None,
            currency: "USD".parse().unwrap(),
            presentment_currency: None,
            taxes_included: false,
            test: false,
            source_name: None,
            country: None,
            region: None,
            duties: None,
            additional_fees: None,
            tip: 0,
            total_price: 0,
            utm: Default::default(),
            discounts: vec![],
            buyer: None,
        },
        status: Status::default(),
        customer: Some(CustomerId(7)),
        lines: vec![(LineId(1), line(2))],
        shipping_lines: vec![],
        refunds: vec![],
        returns: vec![],
        fulfillments: vec![],
        transactions: vec![],
        agreements: vec![],
    }
}

fn observe(seen: ObservedOrder) -> OrderCommand {
    OrderCommand::Observe(Box::new(seen))
}

fn refund(units: i64) -> Refund {
    Refund {
        at: instant(5),
        return_id: None,
        lines: vec![RefundLine {
            id: RowId(1),
            line_id: LineId(1),
            units,
            restock: Restock::Return,
            subtotal_minor: 1000 * units,
            tax_minor: 0,
        }],
        shipping: vec![],
        adjustments: vec![],
        duties_minor: 0,
        additional_fees_minor: 0,
        note: None,
    }
}

/// The events that commands lead to, one after the other, and the state that they leave.
fn after(commands: impl IntoIterator<Item = OrderCommand>) -> (Vec<OrderEvent>, Order) {
    let (mut all, mut order) = (Vec::new(), Order::default());
    for command in commands {
        let past = all.clone();
        let outcome = TestFramework::<Order>::with(()).given(past).when(command.clone()).inspect_result();
        for event in outcome.expect("an observation is never refused") {
            order.apply(event.clone());
            all.push(event);
        }
    }
    (all, order)
}

fn types(commands: impl IntoIterator<Item = OrderCommand>) -> Vec<String> {
    after(commands).0.iter().map(DomainEvent::event_type).collect()
}

#[test]
fn the_first_snapshot_places_the_order_and_its_repetition_says_nothing() {
    let body = || observe(seen(version(1, 1)));
    assert_eq!(types([body(), body()]), ["OrderPlaced"]);
}

#[test]
fn a_newer_body_that_says_the_same_is_kept_because_it_may_outrank_a_later_arrival() {
    let mut other = seen(version(2, 2));
    other.status.financial = Some("pending".into());
    let commands = [observe(seen(version(1, 1))), observe(seen(version(3, 3))), observe(other)];
    let (events, order) = after(commands);
    let types: Vec<_> = events.iter().map(DomainEvent::event_type).collect();
    assert_eq!(types, ["OrderPlaced", "OrderReaffirmed"]);
    assert_eq!(order.status.financial, None, "the body in between came last and changes nothing");
}

#[test]
fn a_late_older_body_moves_only_the_first_sighting() {
    let (events, order) = after([observe(seen(version(3, 3))), observe(seen(version(1, 1)))]);
    assert_eq!(events.len(), 2);
    assert_eq!(order.newest, Some(version(3, 3)));
    assert_eq!(order.first_seen, Some(instant(1)));
    assert_eq!(order.lines[&LineId(1)].first_seen, Some(instant(1)));
}

#[test]
fn equal_times_are_decided_by_the_trigger_then_the_digest_then_the_revision() {
    let with = |triggered: Option<i64>, digest, revision, name: &str| {
        let triggered_at = triggered.map(instant);
        let mut body = seen(Version { triggered_at, revision, ..version(1, digest) });
        body.terms.name = Some(name.into());
        observe(body)
    };
    for (winner, loser) in [
        (with(Some(2), 1, 1, "winner"), with(Some(1), 2, 1, "loser")),
        (with(Some(2), 1, 1, "winner"), with(None, 2, 1, "loser")),
        (with(None, 2, 1, "winner"), with(None, 1, 1, "loser")),
        (with(None, 1, 2, "winner"), with(None, 1, 1, "loser")),
    ] {
        for commands in [[winner.clone(), loser.clone()], [loser, winner]] {
            let (_, order) = after(commands);
            assert_eq!(order.terms.unwrap().name.as_deref(), Some("winner"));
        }
    }
}

#[test]
fn a_refund_before_its_order_is_kept() {
    let early =
        OrderCommand::ObserveRefund { version: version(5, 5), order_id: ORDER, id: RefundId(1), refund: refund(1) };
    let (events, order) = after([early.clone(), observe(seen(version(1, 1))), early]);
    assert_eq!(events.len(), 2);
    assert_eq!(sales_of(&order).values().map(|amounts| amounts.units).sum::<i64>(), 1);
}

#[test]
fn a_refund_that_a_newer_snapshot_repeats_is_vouched_for_and_a_changed_one_revised() {
    let told = |hours, units| {
        let mut body = seen(version(hours, 9));
        body.refunds = vec![(RefundId(1), refund(units))];
        observe(body)
    };
    assert_eq!(
        types([observe(seen(version(1, 1))), told(5, 1), told(6, 1), told(7, 2)]),
        ["OrderPlaced", "RefundIssued", "OrderReaffirmed", "OrderReaffirmed", "RefundRevised", "OrderReaffirmed"],
    );
}

#[test]
fn a_customer_that_a_later_body_leaves_out_stays_known() {
    let mut without = seen(version(2, 2));
    without.customer = None;
    let (_, order) = after([observe(seen(version(1, 1))), observe(without)]);
    assert_eq!(order.customer.unwrap().value, CustomerId(7));
}

#[test]
fn a_cancellation_is_told_as_one() {
    let mut cancelled = seen(version(2, 2));
    cancelled.status.cancelled_at = Some(instant(2));
    assert_eq!(types([observe(seen(version(1, 1))), observe(cancelled)]), ["OrderPlaced", "OrderCancelled"]);
}

#[test]
fn a_deletion_wins_also_over_what_comes_later() {
    let delete = || OrderCommand::ObserveDeletion { at: None };
    for commands in
        [vec![delete(), observe(seen(version(1, 1)))], vec![observe(seen(version(1, 1))), delete(), delete()]]
    {
        let (events, order) = after(commands);
        assert_eq!(events.len(), 2);
        assert!(order.deleted && sales_of(&order).is_empty());
    }
}

fn any_command() -> impl Strategy<Value = OrderCommand> {
    // Few hours and digests: ties are the rule.
    let versions = (0_i64..4, 0_u8..3).prop_map(|(hours, digest)| version(hours, digest));
    let snapshot =
        (versions.clone(), 1_i64..4, 0_i64..3, any::<[bool; 4]>()).prop_map(|(version, units, left, flags)| {
            // A body is what its version says: the same version is the same body.
            let seed = version.digest.0[0];
            let mut body = seen(version);
            body.lines[0].1.quantity = 2 + i64::from(seed);
            body.lines[0].1.current_quantity = i64::from(seed);
            if version.updated_at > Some(instant(1)) {
                body.lines.push((LineId(2), line(1 + i64::from(seed))));
            }
            if seed == 1 {
                body.refunds = vec![(RefundId(1), refund(1))];
            }
            if seed == 2 && version.updated_at > Some(instant(2)) {
                body.status.cancelled_at = version.updated_at;
                body.customer = None;
            }
            let _ = (units, left, flags);
            observe(body)
        });
    let refunds = versions.clone().prop_map(|version| OrderCommand::ObserveRefund {
        version,
        order_id: ORDER,
        id: RefundId(1 + u64::from(version.digest.0[0])),
        refund: refund(1 + version.updated_at.map_or(0, |at| i64::from(at == instant(1)))),
    });
    let edits = versions.prop_map(|version| OrderCommand::ObserveEdit {
        version,
        order_id: ORDER,
        id: EditId(u64::from(version.digest.0[0])),
        edit: Edit {
            at: version.updated_at.unwrap(),
            additions: [(LineId(2), 1)].into(),
            removals: [(LineId(1), 1)].into(),
            shipping_additions: vec![],
            shipping_removals: vec![],
            note: None,
        },
    });
    prop_oneof![
        6 => snapshot,
        2 => refunds,
        2 => edits,
        1 => Just(OrderCommand::ObserveDeletion { at: None }),
    ]
}

proptest! {
    #[test]
    fn any_order_and_number_of_observations_ends_in_the_same_state(
        commands in prop::collection::vec(any_command(), 1..10),
        shuffled in any::<prop::sample::Index>(),
        seed in any::<u64>(),
    ) {
        let (events, order) = after(commands.clone());
        // Replayed events are the state.
        let mut replayed = Order::default();
        events.into_iter().for_each(|event| replayed.apply(event));
        prop_assert_eq!(&replayed, &order);

        let mut storm = commands.clone();
        storm.push(commands[shuffled.index(commands.len())].clone());
        // A shuffle that depends on the seed alone.
        let mut state = seed | 1;
        for index in (1..storm.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            storm.swap(index, usize::try_from(state >> 33).unwrap() % (index + 1));
        }
        let (_, other) = after(storm);
        prop_assert_eq!(&other, &order);
        prop_assert_eq!(sales_of(&other), sales_of(&order));
    }

    #[test]
    fn the_rows_between_states_add_up_to_the_last_one(commands in prop::collection::vec(any_command(), 1..8)) {
        let (events, order) = after(commands);
        let (mut state, mut before, mut sum) = (Order::default(), Sales::new(), Sales::new());
        for event in events {
            state.apply(event);
            let now = sales_of(&state);
            for (row, amounts) in difference(&before, &now) {
                let total = sum.entry(row).or_default();
                total.units += amounts.units;
                total.gross_minor += amounts.gross_minor;
                total.discount_minor += amounts.discount_minor;
                total.net_minor += amounts.net_minor;
                total.tax_minor += amounts.tax_minor;
                total.orders += amounts.orders;
                total.gift_card_orders += amounts.gift_card_orders;
            }
            before = now;
        }
        sum.retain(|_, amounts| !amounts.is_zero());
        prop_assert_eq!(sum, sales_of(&order));
    }
}

fn parcel(status: &str) -> Fulfillment {
    Fulfillment {
        status: Some(status.into()),
        shipment_status: None,
        created_at: None,
        location_id: None,
        carrier: None,
        units: [(LineId(1), 1)].into(),
    }
}

fn payment(status: &str) -> Transaction {
    Transaction {
        kind: Some("sale".into()),
        status: Some(status.into()),
        gateway: None,
        at: None,
        amount_minor: Some(1000),
        currency: "USD".parse().unwrap(),
        parent_id: None,
        test: false,
    }
}

fn observe_return(hours: i64, status: Option<&str>, fees_minor: Option<i64>) -> OrderCommand {
    let seen = Return { status: status.map(Into::into), fees_minor };
    OrderCommand::ObserveReturn { version: version(hours, 1), id: ReturnId(5), seen }
}

#[test]
fn a_body_that_leaves_a_return_s_fees_out_does_not_change_them() {
    let Applied { events, state } = Applied::<Order>::of([
        observe_return(1, Some("open"), Some(700)),
        observe_return(3, Some("closed"), None),
        observe_return(2, Some("open"), Some(800)),
        observe_return(2, Some("open"), Some(800)),
    ]);
    assert_eq!(events, ["ReturnUpdated"; 3]);
    assert_eq!(state.return_states[&ReturnId(5)].value, "closed");
    assert_eq!(state.return_fees[&ReturnId(5)].value, 800);
}

#[test]
fn parcels_payments_and_returns_are_joined_in_any_order_of_arrival() {
    let observe_parcel = |hours, status| OrderCommand::ObserveFulfillment {
        version: version(hours, 1),
        id: FulfillmentId(8),
        fulfillment: parcel(status),
    };
    let observe_payment = |hours, status| OrderCommand::ObserveTransaction {
        version: version(hours, 1),
        id: TransactionId(9),
        transaction: payment(status),
    };
    let snapshot = |hours, status| {
        OrderCommand::Observe(Box::new(ObservedOrder {
            returns: vec![(ReturnId(5), Return { status: Some(status), fees_minor: None })],
            fulfillments: vec![(FulfillmentId(8), parcel("success")), (FulfillmentId(10), parcel("pending"))],
            transactions: vec![(TransactionId(9), payment("success"))],
            ..seen(version(hours, 2))
        }))
    };
    arrivals::<Order>(&[
        observe_parcel(1, "pending"),
        observe_parcel(3, "cancelled"),
        observe_payment(1, "pending"),
        observe_payment(3, "failure"),
        observe_return(1, Some("requested"), Some(0)),
        observe_return(3, None, Some(700)),
        snapshot(2, "open".to_owned()),
        snapshot(4, "open".to_owned()),
    ]);
}

#[test]
fn stored_bytes_never_change() {
    crate::samples::hold("order", &samples::samples(), &samples::samples_of_v1());
}
