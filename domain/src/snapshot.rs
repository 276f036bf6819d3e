//! Which states may be kept beside their histories: every aggregate's, as soon as a history is long.
//!
//! A state is a join, so all that matters of a history is in it: the state at an event, and the events behind it, give
//! what the whole history gives. That holds as long as the state was folded as this build folds it. So a kept state
//! carries a version, which follows from what this build makes of the stored samples of every version of every event: a
//! state of another form, another upcast or another fold has another one, with nobody having to think of it.

use cqrs_es::Aggregate;

use crate::{
    checkout::Checkout, command::Stored, compliance::ComplianceRequest, customer::Customer, discount::Discount,
    document::Observed, draft_order::DraftOrder, export::Export, grant::Grant, inventory::InventoryItem,
    location::Location, lookup::Lookup, order::Order, product::Product, redaction::Redaction, shop::Shop, token::Token,
};

/// An aggregate whose state may be kept.
pub trait Snapshot: Aggregate<Event: Stored> {
    /// Raise it where the fold comes to mean something else and the samples do not show it.
    const FOLD: u32 = 1;

    /// The stored samples of its events: a line each, with type, version and payload.
    const SAMPLES: &'static str;

    /// What this build makes of the samples: the state after each alone, then after all in their order.
    ///
    /// # Panics
    /// When this build cannot read a sample, which its tests rule out.
    #[must_use]
    fn sample_states() -> Vec<Self> {
        let mut states = Vec::new();
        let mut all = Self::default();
        for line in Self::SAMPLES.lines() {
            let mut alone = Self::default();
            for state in [&mut alone, &mut all] {
                let mut columns = line.splitn(3, '\t');
                let mut next = || columns.next().expect("a sample has three columns");
                let event = Self::Event::from_stored(next(), next(), next()).expect("a sample is readable");
                state.apply(event);
            }
            states.push(alone);
        }
        states.push(all);
        states
    }
}

/// What is to be done with an aggregate that is known by its type's name.
pub trait WithAggregate {
    /// What comes of it.
    type Output;

    /// Does it.
    fn with<A: Snapshot + 'static>(self) -> Self::Output;
}

/// The types of the events that an aggregate's samples are of.
#[must_use]
pub fn event_types<A: Snapshot>() -> Vec<&'static str> {
    let mut types: Vec<&str> = A::SAMPLES.lines().filter_map(|line| line.split('\t').next()).collect();
    types.sort_unstable();
    types.dedup();
    types
}

macro_rules! snapshots {
    ($($aggregate:ty: $samples:literal),* $(,)?) => {
        $(impl Snapshot for $aggregate {
            const SAMPLES: &'static str = include_str!($samples);
        })*

        /// The names of all types of aggregates.
        pub const AGGREGATE_TYPES: &[&str] = &[$(<$aggregate as Aggregate>::TYPE),*];

        /// Does something with the aggregate of a type's name; `None` where there is no such type.
        pub fn of_type<W: WithAggregate>(name: &str, with: W) -> Option<W::Output> {
            $(if name == <$aggregate as Aggregate>::TYPE {
                return Some(with.with::<$aggregate>());
            })*
            None
        }

        /// The types of all events.
        #[must_use]
        pub fn all_event_types() -> Vec<&'static str> {
            [$(event_types::<$aggregate>()),*].concat()
        }

        #[cfg(test)]
        fn check_each() {$(
            tests::every_field_is_filled::<$aggregate>();
            tests::bytes_say_it_all::<$aggregate>();
        )*}
    };
}

snapshots! {
    Shop: "shop/samples.tsv",
    Order: "order/samples.tsv",
    Customer: "customer/samples.tsv",
    Product: "product/samples.tsv",
    InventoryItem: "inventory/samples.tsv",
    Observed<Location>: "location/samples.tsv",
    Observed<Checkout>: "checkout/samples.tsv",
    Observed<DraftOrder>: "draft_order/samples.tsv",
    Observed<Discount>: "discount/samples.tsv",
    Observed<ComplianceRequest>: "compliance/samples.tsv",
    Redaction: "redaction/samples.tsv",
    Export: "export/samples.tsv",
    Grant: "grant/samples.tsv",
    Token: "token/samples.tsv",
    Lookup: "lookup/samples.tsv",
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// Fields of a state that no sample fills would not show in its version.
    pub(super) fn every_field_is_filled<A: Snapshot>() {
        let all = A::sample_states().pop().unwrap();
        let Value::Object(fields) = serde_json::to_value(&all).unwrap() else { panic!("a state has fields") };
        for (name, field) in fields {
            let empty = match &field {
                Value::Null | Value::Bool(false) => true,
                Value::Array(items) => items.is_empty(),
                Value::Object(fields) => fields.is_empty(),
                _ => false,
            };
            assert!(!empty, "{}: no sample fills {name}", A::TYPE);
        }
    }

    /// A state is what its bytes say, to the byte.
    pub(super) fn bytes_say_it_all<A: Snapshot>() {
        for state in A::sample_states() {
            let bytes = serde_json::to_string(&state).unwrap();
            let again: A = serde_json::from_str(&bytes).unwrap();
            assert_eq!(serde_json::to_string(&again).unwrap(), bytes, "{}", A::TYPE);
        }
    }

    #[test]
    fn samples_fill_every_field_and_states_come_back_from_their_bytes() {
        check_each();
    }
}
