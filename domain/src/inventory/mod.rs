//! An inventory item: what is counted of a variant, where it lies and how much of it.
//!
//! A join like every aggregate: the item's terms are of the greatest version, levels a union by location.

mod aggregate;
mod command;
mod event;
#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;

pub use aggregate::InventoryItem;
pub use command::InventoryCommand;
pub use event::{InventoryEvent, ItemTerms, Level};
