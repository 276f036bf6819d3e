//! The shop itself: when the app was installed and removed, its zone and currency, and what it calls itself.
//!
//! A join like every aggregate: the registration is the base, each `shop/update` a version of it, and a field that a
//! body leaves out (Shopify's samples have null zones and domains) erases nothing.

mod aggregate;
mod command;
mod event;
#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;

pub use aggregate::Shop;
pub use command::ShopCommand;
pub use event::{Restatement, ShopEvent, ShopProfile};
