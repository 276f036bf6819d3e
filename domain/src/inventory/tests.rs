use super::*;
use crate::{
    ids::LocationId,
    join::tests::{Applied, arrivals, version},
};

fn level(hours: i64, location: u64, available: Option<i64>, connected: bool) -> InventoryCommand {
    let level = Level { available, connected };
    InventoryCommand::ObserveLevel { version: version(hours, 1), location: LocationId(location), level }
}

fn observe(hours: i64, cost_minor: Option<i64>) -> InventoryCommand {
    let terms = ItemTerms { tracked: true, cost_minor, currency: "USD".parse().unwrap(), sku: None };
    InventoryCommand::Observe { version: version(hours, 1), terms }
}

#[test]
fn the_newest_count_at_a_location_holds() {
    let item = Applied::<InventoryItem>::of([
        level(2, 1, Some(10), true),
        level(1, 1, Some(12), true),
        level(1, 2, Some(-3), true),
        level(3, 1, Some(10), true),
    ]);
    assert_eq!(item.events, ["StockCounted"; 3]);
    assert_eq!(item.state.levels[&LocationId(1)].value.available, Some(10));
    assert_eq!(item.state.levels[&LocationId(2)].value.available, Some(-3));
}

#[test]
fn a_cost_of_zero_is_a_cost_and_none_is_none() {
    let item = Applied::<InventoryItem>::of([observe(1, None), observe(2, Some(0)), observe(3, Some(0))]);
    assert_eq!(item.events, ["ItemUpdated", "ItemUpdated", "ItemReaffirmed"]);
    assert_eq!(item.state.terms.unwrap().value.cost_minor, Some(0));
}

#[test]
fn the_order_of_arrival_does_not_matter() {
    arrivals::<InventoryItem>(&[
        observe(1, None),
        observe(2, Some(100)),
        observe(3, Some(100)),
        level(1, 1, Some(5), true),
        level(2, 1, None, false),
        level(2, 2, Some(0), true),
        InventoryCommand::ObserveDeletion { at: None },
    ]);
}

#[test]
fn stored_bytes_never_change() {
    crate::samples::hold("inventory", &samples::samples(), &[]);
}
