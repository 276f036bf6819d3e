//! Shops that sell, so that there is something to look at: orders by season and promotion, discounts, tips, gift cards, edits,
//! refunds in every form, in several currencies and zones.
//!
//! It knows nothing of this project, and tells what happens as Shopify does: signed webhooks, some twice, some late, some
//! before the one that they follow. Shops, days and amounts follow from a seed. What was made and not yet acknowledged is in
//! a file, so that it goes on where it stopped, also after a crash.

mod body;
mod catalogue;
mod market;
mod money;
mod order;
mod sender;
mod simulation;

pub use market::{SHOPS, ShopProfile, shop_profile};
pub use sender::{Phase, Progress, SimulatorError, Target, run};
pub use simulation::{Delivery, Simulation};
