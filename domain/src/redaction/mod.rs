//! Erasing a person, or a whole shop: asked for, waited with, done, certified. Each redaction is a history of its own in the shop's log, so that
//! what was erased, when and at whose word can be proven without what it was.
//!
//! Nothing here is personal: subjects are Shopify's numbers, and a reason is refused that looks like an address or a number.

mod aggregate;
mod event;
#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;

pub use aggregate::{Redaction, RedactionCommand, RedactionError, Status, WEBHOOK};
pub use event::{Actor, Erased, Receipt, RedactionEvent, Request, Said};
