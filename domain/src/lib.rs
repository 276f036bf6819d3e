//! What a shop's history is: aggregates, their events, money, days and the sale ledger.
//!
//! Pure: no I/O, no runtime, no clock, no randomness. Time and ids arrive inside commands.
//!
//! To add an aggregate: one folder like `order/` (learn that one and you know them all), and one line in
//! [`command::Command`]. To add an event to one: a variant in its `event.rs`, an arm in its `apply`, and a
//! sample in its `samples.rs`, whose stored bytes never change afterwards.

pub mod command;
pub mod ids;
pub mod ledger;
pub mod money;
pub mod order;
pub mod personal;
pub mod shop;
pub mod version;
pub mod zone;

pub use command::Command;
pub use ids::ShopId;
pub use money::{Currency, Money, MoneyError};
pub use personal::{Personal, PersonalFields, Sealable, Sealed, Subject};
pub use version::{Digest, Version};
pub use zone::Zone;
