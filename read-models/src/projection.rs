//! What every read model has in common.

use std::{collections::BTreeMap, future::Future, pin::Pin};

use chrono::{DateTime, Utc};
use domain::{ShopId, Zone, ids::OrderId, ledger::Sales, order::Order};
use sqlx::PgConnection;

use crate::{
    orders::OrderList,
    sales::{self, SalesProjection},
};

/// A future that borrows.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One build of a read model of one shop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Generation {
    /// Whose.
    pub shop: ShopId,
    /// 1, 2, 3 …
    pub number: i32,
    /// The zone that its days are cut in, one per generation.
    pub timezone: Zone,
}

/// What one event did to an order.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// Of the event in the shop's log.
    pub position: i64,
    /// When it was written.
    pub recorded_at: DateTime<Utc>,
    /// Which order.
    pub order_id: OrderId,
    /// The order after it.
    pub order: &'a Order,
    /// Its sales before.
    pub before: &'a Sales,
    /// Its sales after.
    pub after: &'a Sales,
}

/// A read model: folds a batch in memory and writes it as sets.
pub trait Projection: Send {
    /// Takes in one event's change.
    fn fold(&mut self, generation: &Generation, change: &Change<'_>);

    /// Writes what was folded since the last write: with it, all up to a position is written. Called at every multiple of
    /// [`KEPT_EVERY`](crate::daily_sales_at::KEPT_EVERY), and where a batch ends.
    fn write<'a>(
        &'a mut self,
        connection: &'a mut PgConnection,
        generation: &'a Generation,
        up_to: i64,
    ) -> BoxFuture<'a, Result<(), sqlx::Error>>;

    /// Deletes up to `limit` rows of generations that have no checkpoint: neither served nor being built. Returns how many.
    fn delete<'a>(
        &'a self,
        connection: &'a mut PgConnection,
        shop: ShopId,
        limit: i64,
    ) -> BoxFuture<'a, Result<u64, sqlx::Error>>;

    /// Sums that must not change unseen when one generation takes the place of another, up to a position.
    fn sums<'a>(
        &'a self,
        connection: &'a mut PgConnection,
        shop: ShopId,
        generation: i32,
        up_to: i64,
    ) -> BoxFuture<'a, Result<BTreeMap<String, i64>, sqlx::Error>>;
}

/// Name and version of every read model: another version, and it is rebuilt.
pub const PROJECTIONS: [(&str, u32); 2] = [("sales", sales::VERSION), ("orders", 1)];

/// The read model of that name.
#[must_use]
pub fn projection(name: &str) -> Option<Box<dyn Projection>> {
    match name {
        "sales" => Some(Box::<SalesProjection>::default()),
        "orders" => Some(Box::<OrderList>::default()),
        _ => None,
    }
}
