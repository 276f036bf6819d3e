//! Who may ask the API about a shop: each token is a history of its own in the shop's log, so that whoever reads the log sees who
//! let whom in, as what, and why. What opens the door is kept elsewhere, as a hash.
//!
//! Nothing here is personal: a token is known by its id.

mod aggregate;
mod event;
#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;

pub use aggregate::{Token, TokenCommand};
pub use event::{Issued, TokenEvent};
