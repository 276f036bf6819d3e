//! What a shop's history is: aggregates, their events, money, days and the sale ledger.
//!
//! Pure: no I/O, no runtime, no clock, no randomness. Time and ids arrive inside commands.
//!
//! To add an aggregate: one folder like `order/` (learn that one and you know them all), its place in
//! [`command`], and a line in [`snapshot`]. To add an event to one: a variant in its `event.rs`, an arm in its `apply`, and a
//! sample in its `samples.rs`, whose stored bytes never change afterwards. A thing that is nothing but its newest
//! body is a [`document::Document`].

pub mod checkout;
pub mod command;
pub mod compliance;
pub mod customer;
pub mod discount;
pub mod document;
pub mod draft_order;
pub mod export;
pub mod grant;
pub mod ids;
pub mod inventory;
pub mod join;
pub mod ledger;
pub mod location;
pub mod lookup;
pub mod money;
pub mod order;
pub mod personal;
pub mod product;
pub mod redaction;
#[cfg(test)]
mod samples;
pub mod shop;
pub mod snapshot;
pub mod token;
pub mod version;
pub mod zone;

pub use command::Command;
pub use ids::ShopId;
pub use money::{Currency, Money, MoneyError};
pub use personal::{Field, Personal, PersonalFields, Sealable, Sealed, Subject};
pub use snapshot::Snapshot;
pub use version::{Digest, Version};
pub use zone::Zone;
