//! A customer: who they are as Shopify tells it, whom they were merged with, and what Shopify counts of them.
//!
//! A join like every aggregate: the profile is of the greatest version, merges are a union by the other customer,
//! a deletion wins. What they bought is told by orders, never by Shopify's own counters.

mod aggregate;
mod command;
mod event;
#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;

pub use aggregate::Customer;
pub use command::CustomerCommand;
pub use event::{CustomerEvent, Merge, MergeRole, Person, Profile, Purchases};
