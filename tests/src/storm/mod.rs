//! Storms: real processes under load while everything around them fails, and a checker that says what survived.
//!
//! One seed draws a storm. Clients deliver as Shopify does, again until they are answered; faults strike meanwhile; all of
//! it is written to a history as it happens. Afterwards the checker compares the history with the database: see
//! `docs/reliability.md` for the invariants.

mod check;
pub mod clients;
pub mod fault;
pub mod fleet;
pub mod history;
pub mod load;
mod proxy;
pub mod replay;
mod run;
mod wire;

pub use check::Checked;
pub use proxy::{Effect, Moment, Proxy, Trap};
pub use run::{Options, Storm, Summary, check, rage, run};
pub use wire::Step;
