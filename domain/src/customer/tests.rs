use super::*;
use crate::{
    ids::CustomerId,
    join::tests::{Applied, arrivals, at, version},
};

fn profile(state: &str) -> Box<Profile> {
    Box::new(Profile { created_at: None, state: Some(state.into()), country: None, region: None, person: None })
}

fn observe(hours: i64, state: &str) -> CustomerCommand {
    CustomerCommand::Observe { version: version(hours, 1), id: CustomerId(1), profile: profile(state) }
}

fn merge(hours: i64, other: u64, role: MergeRole, status: &str) -> CustomerCommand {
    let merge = Merge { role, status: status.into() };
    CustomerCommand::ObserveMerge { version: version(hours, 1), other: CustomerId(other), merge }
}

#[test]
fn the_newest_body_counts_and_an_older_one_says_nothing() {
    let customer = Applied::<Customer>::of([observe(2, "enabled"), observe(1, "invited"), observe(3, "enabled")]);
    assert_eq!(customer.events, ["CustomerUpdated", "CustomerReaffirmed"]);
    assert_eq!(customer.state.profile.unwrap().value.state.as_deref(), Some("enabled"));
}

#[test]
fn a_merge_makes_one_person_of_two_numbers_only_when_it_took_place() {
    let failed = Applied::<Customer>::of([merge(1, 2, MergeRole::Absorbed, "failed")]);
    assert_eq!(failed.state.merged_with().next(), None);
    let done = Applied::<Customer>::of([
        merge(2, 2, MergeRole::Absorbed, "completed"),
        merge(1, 2, MergeRole::Absorbed, "failed"),
        merge(3, 3, MergeRole::Kept, "completed"),
    ]);
    assert_eq!(done.state.merged_with().collect::<Vec<_>>(), [CustomerId(2), CustomerId(3)]);
}

#[test]
fn a_customer_is_deleted_once_and_for_good() {
    let deletion = CustomerCommand::ObserveDeletion { at: Some(at(1)) };
    let customer = Applied::<Customer>::of([deletion.clone(), deletion, observe(2, "enabled")]);
    assert_eq!(customer.events, ["CustomerDeleted", "CustomerUpdated"]);
    assert!(customer.state.deleted);
}

#[test]
fn the_order_of_arrival_does_not_matter() {
    let purchases = |hours, orders| CustomerCommand::ObservePurchases {
        version: version(hours, 1),
        purchases: Purchases { orders, spent_minor: None, currency: "USD".parse().unwrap(), last_order: None },
    };
    arrivals::<Customer>(&[
        observe(1, "invited"),
        observe(2, "enabled"),
        observe(3, "enabled"),
        purchases(1, 1),
        purchases(2, 2),
        merge(1, 2, MergeRole::Absorbed, "in_progress"),
        merge(2, 2, MergeRole::Absorbed, "completed"),
        CustomerCommand::ObserveDeletion { at: None },
    ]);
}

#[test]
fn stored_bytes_never_change() {
    crate::samples::hold("customer", &samples::samples(), &[]);
}
