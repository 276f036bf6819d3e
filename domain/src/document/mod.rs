//! Things of which only the newest body counts: locations, checkouts, drafts, discounts, compliance requests.
//!
//! The state is a join: the greatest version wins, a deletion wins over all. Each kind is a folder with its value; the
//! aggregate is this one. Each value has named fields, so that one can be added without a new version.

mod aggregate;
#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;

pub use aggregate::{Document, DocumentCommand, DocumentEvent, Observed};
