//! From a page of events to changes of orders: what each event did to its order's state and sales.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use cqrs_es::Aggregate;
use domain::{
    ShopId,
    ids::OrderId,
    ledger::{Sales, sales_of},
    order::{Order, OrderEvent},
    shop::Shop,
};
use event_store::{ShopTx, StoreError, StoredEvent};
use read_models::{Change, Generation, Projection, daily_sales_at::KEPT_EVERY, projection};

/// How long a page is folded before what is folded is written.
const FOLD_TIME: Duration = Duration::from_secs(5);

/// An order up to one of its events.
#[derive(Default, Clone)]
struct Known {
    sequence: i64,
    order: Order,
    sales: Sales,
}

/// Orders that were folded lately. An entry is of use only to the very next event of its order, which its sequence
/// tells: so it cannot be stale, whoever else is folding.
#[derive(Default)]
pub struct OrderCache {
    known: HashMap<(ShopId, OrderId), Known>,
    capacity: usize,
}

impl OrderCache {
    /// Holds about so many orders.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { known: HashMap::new(), capacity }
    }
}

/// A read model being folded, and for which of its generations.
pub struct Target {
    generation: Generation,
    model: Box<dyn Projection>,
}

impl Target {
    /// The read model of that name; `None` when this build has none.
    pub fn new(name: &str, generation: Generation) -> Option<Self> {
        projection(name).map(|model| Self { generation, model })
    }

    async fn write(&mut self, tx: &mut ShopTx, up_to: i64) -> Result<(), StoreError> {
        Ok(self.model.write(tx, &self.generation, up_to).await?)
    }
}

/// What a page told beside its orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Folded {
    /// Something about the shop itself: its zone may have changed.
    pub shop_changed: bool,
    /// The last position that was folded: before the page's end where its time was over.
    pub up_to: i64,
}

/// Folds a page into projections, each for its generation, and writes it. All of them begin where the page does.
pub async fn fold_page(
    tx: &mut ShopTx,
    cache: &mut OrderCache,
    page: &[StoredEvent],
    into: &mut [Target],
) -> Result<Folded, StoreError> {
    let Some(first) = page.first() else {
        return Ok(Folded::default());
    };
    load_missing(tx, cache, page, first.position - 1).await?;
    let shop = tx.shop();
    let mut folded = Folded::default();
    let began = Instant::now();
    for event in page {
        // Orders of many thousand lines: the transaction must not idle for longer than the database lets it.
        if folded.up_to > 0 && began.elapsed() > FOLD_TIME {
            break;
        }
        folded.up_to = event.position;
        if event.aggregate_type == Shop::TYPE {
            folded.shop_changed = true;
        }
        if event.aggregate_type == Order::TYPE {
            fold_event(shop, cache, event, into)?;
        }
        // There the days are kept as they stand, so nothing later may be in them.
        if event.position % KEPT_EVERY == 0 {
            write(tx, into, event.position).await?;
        }
    }
    if folded.up_to % KEPT_EVERY != 0 {
        write(tx, into, folded.up_to).await?;
    }
    Ok(folded)
}

async fn write(tx: &mut ShopTx, into: &mut [Target], up_to: i64) -> Result<(), StoreError> {
    for target in into {
        target.write(tx, up_to).await?;
    }
    Ok(())
}

fn fold_event(
    shop: ShopId,
    cache: &mut OrderCache,
    event: &StoredEvent,
    into: &mut [Target],
) -> Result<(), StoreError> {
    let order_id = order_id(event)?;
    let decoded: OrderEvent = event.decode()?;
    // Taken out while it changes, so that a panic leaves nothing half-changed behind.
    let mut known = cache.known.remove(&(shop, order_id)).unwrap_or_default();
    known.order.apply(decoded);
    known.sequence = event.sequence;
    let after = sales_of(&known.order);
    let change = Change {
        position: event.position,
        recorded_at: event.recorded_at,
        order_id,
        order: &known.order,
        before: &known.sales,
        after: &after,
    };
    for target in into {
        target.model.fold(&target.generation, &change);
    }
    known.sales = after;
    cache.known.insert((shop, order_id), known);
    Ok(())
}

/// Reads the histories of the orders that the page goes on with and the cache does not hold up to there.
async fn load_missing(
    tx: &mut ShopTx,
    cache: &mut OrderCache,
    page: &[StoredEvent],
    up_to: i64,
) -> Result<(), StoreError> {
    if cache.known.len() > cache.capacity {
        cache.known.clear();
    }
    let shop = tx.shop();
    let mut met = HashSet::new();
    let mut missing = Vec::new();
    for event in page.iter().filter(|event| event.aggregate_type == Order::TYPE) {
        let order_id = order_id(event)?;
        if met.insert(order_id) {
            let known = cache.known.get(&(shop, order_id)).map_or(0, |known| known.sequence);
            if known != event.sequence - 1 {
                cache.known.remove(&(shop, order_id));
                if event.sequence > 1 {
                    missing.push(event.aggregate_id.clone());
                }
            }
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let mut loaded: HashMap<OrderId, Known> = HashMap::with_capacity(missing.len());
    for event in tx.histories(Order::TYPE, &missing, up_to).await? {
        let known = loaded.entry(order_id(&event)?).or_default();
        known.order.apply(event.decode()?);
        known.sequence = event.sequence;
    }
    // Into the cache only when complete: an error or a panic before leaves no order without its sales there.
    for (order_id, mut known) in loaded {
        known.sales = sales_of(&known.order);
        cache.known.insert((shop, order_id), known);
    }
    Ok(())
}

fn order_id(event: &StoredEvent) -> Result<OrderId, StoreError> {
    event.aggregate_id.parse().map(OrderId).map_err(|error| StoreError::Unreadable {
        event_type: event.event_type.clone(),
        position: event.position,
        source: serde::de::Error::custom(error),
    })
}
