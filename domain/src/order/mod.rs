//! An order: all that was observed of it, joined.
//!
//! Shopify sends whole snapshots (`orders/*`), refunds (`refunds/create`), edits (`orders/edited`) and deletions, in
//! any order and any number. The state is a join of them: lines, shipping lines, refunds, edits and returns are unions
//! by id whose members carry the version of the body they came from; scalars take the greatest version; "first seen"
//! is a minimum; a deletion wins. Sales agreements, which only documents of the Admin API carry, are a union by id, too. So the same set of bodies gives the same state, however it arrived.
//!
//! Events carry what a body changed, in the shop's words, and nothing when it changed nothing.
//! What was sold and reversed, and when, is derived from the state by [`crate::ledger`].

mod aggregate;
mod agreement;
mod command;
mod event;
mod parts;
#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;

pub use aggregate::Order;
pub use agreement::{AgreedLine, AgreedSale, Agreement, AgreementReason, SaleAction};
pub use command::{ObservedOrder, OrderCommand};
pub use event::{OrderEvent, SnapshotNews};
pub use parts::*;
