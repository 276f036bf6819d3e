//! An auditor's leave to see personal data: for a reason, for a time, and every use of it written down. Each grant is a history
//! of its own in the shop's log, so that whoever reads the log sees who saw what, and why.
//!
//! Nothing here is personal: tokens are known by their ids, reads by types, ids and positions.

mod aggregate;
mod event;
#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;

pub use aggregate::{Grant, GrantCommand, GrantError};
pub use event::{GrantEvent, Issued, Read, Used};
