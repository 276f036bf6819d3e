//! What queries read. Folded from the log, one generation beside another; dropped and rebuilt at any time; without
//! personal data. Decisions never read them.
//!
//! To add one: a migration, a file with a [`Projection`], its name in [`PROJECTIONS`] and in [`projection`].

pub mod breakdown;
pub mod daily_sales;
pub mod daily_sales_at;
pub mod explain;
pub mod metrics;
pub mod orders;
mod parked;
mod projection;
pub mod restatements;
pub mod sale_fact;
pub mod sales;

pub use parked::{Parked, parked};
pub use projection::{BoxFuture, Change, Generation, PROJECTIONS, Projection, projection};
