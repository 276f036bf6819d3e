//! Storing a delivery: durable and sealed before it is answered, deduplicated by shop, webhook id and body.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use domain::Digest;
use event_store::{Database, StoreError, unwrap_shop_key, wrapped_shop_key};
use shopify::ShopDomain;
use uuid::Uuid;

use crate::directory::{DirectoryEntry, find, lock_domain};

/// Shops are known for seconds, so that what becomes of one is soon known everywhere.
const KNOWN_FOR: Duration = Duration::from_secs(5);
const MAX_CACHED_SHOPS: usize = 10_000;

/// A delivery whose signature was found valid.
#[derive(Debug, Clone)]
pub struct Delivery<'a> {
    /// From the header, which is not signed; `None` when it has none that could be a shop's.
    pub domain: Option<&'a ShopDomain>,
    /// From the header, else from the path.
    pub topic: &'a str,
    /// X-Shopify-Webhook-Id; without one, topic and the body's digest are the key.
    pub webhook_id: Option<&'a str>,
    /// X-Shopify-Triggered-At.
    pub triggered_at: Option<DateTime<Utc>>,
    /// X-Shopify-Event-Id.
    pub event_id: Option<&'a str>,
    /// What was odd about it.
    pub note: Option<&'a str>,
    /// As received.
    pub body: &'a [u8],
    /// When.
    pub received_at: DateTime<Utc>,
}

impl Delivery<'_> {
    /// By what it is known as the same delivery. Without a webhook id, one body may stand for several topics.
    fn key(&self, digest: Digest) -> String {
        self.webhook_id.map_or_else(|| format!("{}:{digest}", self.topic), str::to_owned)
    }
}

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// Stored.
    New,
    /// It was stored before.
    Duplicate,
    /// Stored for a shop that is not registered.
    Unclaimed,
}

/// Stores deliveries. Cheap to clone.
#[derive(Clone)]
pub struct Receiver {
    database: Database,
    shops: Arc<Mutex<HashMap<ShopDomain, Known>>>,
}

#[derive(Clone)]
struct Known {
    entry: DirectoryEntry,
    /// Wrapped: no key that opens anything outlives the call that it was unwrapped for.
    wrapped: Vec<u8>,
    since: Instant,
}

impl Receiver {
    /// A receiver over a database.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self { database, shops: Arc::default() }
    }

    /// Stores a delivery; when this returns, it is durable.
    ///
    /// # Errors
    /// [`StoreError`]: the delivery must be answered so that Shopify sends it again.
    pub async fn receive(&self, delivery: &Delivery<'_>) -> Result<Accepted, StoreError> {
        let known = match delivery.domain {
            Some(domain) => self.known(domain).await?,
            None => None,
        };
        let Some(known) = known else { return self.store_unclaimed(delivery).await };
        if let Some(accepted) = self.store(&known, delivery).await? {
            return Ok(accepted);
        }
        // Its key is gone since it was looked up, and with it perhaps the shop.
        self.shops.lock().expect("no panic while held").remove(&known.entry.domain);
        match self.known(&known.entry.domain).await? {
            Some(known) => self.store(&known, delivery).await?.ok_or(StoreError::NoSuchShop(known.entry.shop)),
            None => self.store_unclaimed(delivery).await,
        }
    }

    async fn known(&self, domain: &ShopDomain) -> Result<Option<Known>, StoreError> {
        let fresh = |known: &&Known| known.since.elapsed() < KNOWN_FOR;
        if let Some(known) = self.shops.lock().expect("no panic while held").get(domain).filter(fresh) {
            return Ok(Some(known.clone()));
        }
        let mut fleet = self.database.begin_fleet().await?;
        let entry = find(&mut fleet, domain).await?;
        fleet.commit().await?;
        let Some(entry) = entry else { return Ok(None) };
        let mut tx = self.database.begin(entry.shop).await?;
        let wrapped = wrapped_shop_key(&mut tx).await?;
        tx.commit().await?;
        let known = Known { entry, wrapped, since: Instant::now() };
        let mut shops = self.shops.lock().expect("no panic while held");
        if shops.len() >= MAX_CACHED_SHOPS {
            shops.clear();
        }
        shops.insert(domain.clone(), known.clone());
        Ok(Some(known))
    }

    /// `None`: the shop has no key any more that what is stored could be opened with.
    async fn store(&self, known: &Known, delivery: &Delivery<'_>) -> Result<Option<Accepted>, StoreError> {
        let id = Uuid::now_v7();
        let shop_key = unwrap_shop_key(self.database.ring(), known.entry.shop, Some(&known.wrapped))?;
        let digest = shop_key.body_digest(delivery.body);
        let (key, body) = (delivery.key(digest), shop_key.body(id).seal(delivery.body));
        let stored = self
            .database
            .single(|| {
                sqlx::query!(
                    "SELECT store_delivery_under_key($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) AS is_new",
                    known.entry.shop.0,
                    id,
                    key,
                    digest.0.as_slice(),
                    delivery.topic,
                    delivery.triggered_at,
                    delivery.event_id,
                    delivery.received_at,
                    delivery.note,
                    body,
                )
            })
            .await?;
        let is_new = stored.first().and_then(|stored| stored.is_new);
        Ok(is_new.map(|is_new| if is_new { Accepted::New } else { Accepted::Duplicate }))
    }

    async fn store_unclaimed(&self, delivery: &Delivery<'_>) -> Result<Accepted, StoreError> {
        let id = Uuid::now_v7();
        let digest = self.database.ring().unclaimed_digest(delivery.body);
        let mut fleet = self.database.begin_fleet().await?;
        if let Some(domain) = delivery.domain {
            lock_domain(&mut fleet, domain, false).await?;
            if find(&mut fleet, domain).await?.is_some() {
                fleet.rollback().await?; // it was registered in this very moment
                return Box::pin(self.receive(delivery)).await;
            }
        }
        let sealed = self.database.ring().seal_unclaimed(id, delivery.body);
        let done = sqlx::query!(
            "INSERT INTO inbox_unclaimed (id, domain, webhook_id, body_digest, topic, triggered_at, event_id,
                                          received_at, note, body)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
             ON CONFLICT ON CONSTRAINT inbox_unclaimed_delivery_key DO NOTHING",
            id,
            delivery.domain.map_or("", ShopDomain::as_str),
            delivery.key(digest),
            digest.0.as_slice(),
            delivery.topic,
            delivery.triggered_at,
            delivery.event_id,
            delivery.received_at,
            delivery.note,
            sealed,
        )
        .execute(&mut *fleet)
        .await?;
        fleet.commit().await?;
        Ok(if done.rows_affected() == 1 { Accepted::Unclaimed } else { Accepted::Duplicate })
    }
}
