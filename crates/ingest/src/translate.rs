//! A shop's pending deliveries become events, in the transaction that settles them.

use std::{
    collections::BTreeSet,
    panic::{AssertUnwindSafe, catch_unwind},
};

use futures::FutureExt;

use chrono::{DateTime, Utc};
use domain::{Command, Currency, Digest, shop::Shop};
use event_store::{Envelope, Metadata, SealedThing, ShopTx, StoreError, opened, shop_key};
use shopify::{Context, ORDER_DOCUMENT, REVISION, TranslateError, Translation, translate};
use uuid::Uuid;
use vault::VaultError;

use crate::{
    directory::DirectoryEntry,
    inbox::{InboxStatus, known_as},
    requests::{self, merges_in, requests_in},
    subjects::{About, let_go_of_bodies},
};

/// How many deliveries a batch takes.
pub const BATCH: i64 = 500;
/// And at most so many bytes of sealed bodies, but one delivery at least.
const BATCH_BYTES: i64 = 8 * 1024 * 1024;
/// After so many failed attempts a delivery is a dead letter.
const MAX_ATTEMPTS: i32 = 5;

/// What a batch did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ingested {
    /// Deliveries settled.
    pub deliveries: usize,
    /// Events appended.
    pub events: usize,
    /// Deliveries that became dead letters.
    pub dead: usize,
    /// Deliveries that are kept and say nothing that is counted.
    pub ignored: usize,
    /// The batch was full: there may be more.
    pub is_full: bool,
}

const OF_ERASED: &str = "it was sent before the shop was erased";

struct Pending {
    id: Uuid,
    webhook_id: String,
    body_digest: Vec<u8>,
    source: String,
    topic: String,
    triggered_at: Option<DateTime<Utc>>,
    event_id: Option<String>,
    received_at: DateTime<Utc>,
    /// What was odd about it.
    note: Option<String>,
    body: Option<Vec<u8>>,
    /// More was due than fits into the batch.
    is_followed: bool,
}

enum Verdict {
    Commands(Vec<Command>),
    Ignored(&'static str),
    /// Ignored, too, and its body is let go.
    OfErased,
    Dead(String),
}

/// Why a batch was not settled.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// It has nothing to do with what was delivered: to be tried again as it is.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// One of these deliveries cannot be stored: a batch of one finds it, and [`put_off`] puts it aside.
    #[error("a delivery cannot be stored")]
    Deliveries(Vec<Uuid>, #[source] StoreError),
}

/// Settles up to `limit` of a shop's due deliveries. The caller holds the shop's ingest lock and commits.
///
/// # Errors
/// [`IngestError`]: nothing is settled, and the transaction is of no further use.
pub async fn ingest(tx: &mut ShopTx, entry: &DirectoryEntry, limit: i64) -> Result<Ingested, IngestError> {
    let pending = pending(tx, limit).await?;
    let is_full = pending.last().is_some_and(|last| last.is_followed)
        || i64::try_from(pending.len()).is_ok_and(|count| count == limit);
    settle(tx, entry, pending, is_full).await
}

/// Lets what was put off be tried now.
///
/// # Errors
/// [`StoreError::Unavailable`].
pub async fn put_forward(tx: &mut ShopTx) -> Result<(), StoreError> {
    let shop = tx.shop();
    sqlx::query!(
        "UPDATE inbox SET due_at = now() WHERE shop_id = $1 AND status = 'pending' AND due_at > now()",
        shop.0
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Whether something was put off that came before an instant, and waits to be tried again.
///
/// # Errors
/// [`StoreError::Unavailable`].
pub async fn is_any_put_off(tx: &mut ShopTx, before: DateTime<Utc>) -> Result<bool, StoreError> {
    let shop = tx.shop();
    Ok(sqlx::query_scalar!(
        r#"SELECT EXISTS (
               SELECT FROM inbox WHERE shop_id = $1 AND status = 'pending' AND attempts > 0 AND received_at <= $2
           ) AS "is_any!""#,
        shop.0,
        before,
    )
    .fetch_one(&mut **tx)
    .await?)
}

/// Puts off a delivery that could not be stored; after some attempts it is a dead letter, and `true` is returned.
///
/// # Errors
/// [`StoreError::Unavailable`].
pub async fn put_off(tx: &mut ShopTx, id: Uuid, failure: &StoreError) -> Result<bool, StoreError> {
    let shop = tx.shop();
    let delivery = sqlx::query!(
        "SELECT attempts, topic, body FROM inbox WHERE shop_id = $1 AND id = $2 AND status = 'pending' FOR UPDATE",
        shop.0,
        id
    )
    .fetch_optional(&mut **tx)
    .await?;
    let Some(delivery) = delivery else {
        return Ok(false);
    };
    let attempts = delivery.attempts;
    let is_dead = attempts + 1 >= MAX_ATTEMPTS;
    let wait_s = f64::from(2_i32.pow(attempts.clamp(0, 10).unsigned_abs()));
    tracing::warn!(%shop, inbox = %id, error = failure as &dyn std::error::Error, is_dead, "a delivery could not be stored");
    sqlx::query!(
        "WITH work AS (
             INSERT INTO work_queue (shop_id, kind, due_at) VALUES ($1, 'ingest', now() + make_interval(secs => $5))
         )
         UPDATE inbox
         SET attempts = attempts + 1, reason = $3, status = CASE WHEN $4 THEN 'dead' ELSE 'pending' END,
             due_at = now() + make_interval(secs => $5), settled_at = CASE WHEN $4 THEN now() END
         WHERE shop_id = $1 AND id = $2",
        shop.0,
        id,
        failure.to_string(),
        is_dead,
        wait_s,
    )
    .execute(&mut **tx)
    .await?;
    if is_dead {
        let (mut about, key) = (About::default(), shop_key(tx).await?);
        if let Some(Ok(body)) = delivery.body.map(|sealed| opened(SealedThing::Body, key.body(id).open(&sealed))) {
            about.read(&key, id, &delivery.topic, &body);
        }
        about.write(tx, &key).await?;
    }
    Ok(is_dead)
}

async fn pending(tx: &mut ShopTx, limit: i64) -> Result<Vec<Pending>, StoreError> {
    let shop = tx.shop();
    Ok(sqlx::query_as!(
        Pending,
        r#"SELECT id, webhook_id, body_digest, source, topic, triggered_at, event_id, received_at, note, body,
                  number < count AS "is_followed!"
           FROM (
               SELECT d.*, row_number() OVER by_time AS number, count(*) OVER () AS count,
                      sum(octet_length(d.body)) OVER by_time AS bytes
               FROM (
                   SELECT id, webhook_id, body_digest, source, topic, triggered_at, event_id, received_at, note, body,
                          due_at
                   FROM inbox
                   WHERE shop_id = $1 AND status = 'pending' AND due_at <= clock_timestamp()
                   ORDER BY due_at, id
                   LIMIT $2
               ) d
               WINDOW by_time AS (ORDER BY d.due_at, d.id)
           ) n
           WHERE number = 1 OR bytes <= $3
           ORDER BY number"#,
        shop.0,
        limit,
        BATCH_BYTES,
    )
    .fetch_all(&mut **tx)
    .await?)
}

async fn settle(
    tx: &mut ShopTx,
    entry: &DirectoryEntry,
    pending: Vec<Pending>,
    is_full: bool,
) -> Result<Ingested, IngestError> {
    if pending.is_empty() {
        return Ok(Ingested::default());
    }
    let key = shop_key(tx).await?;
    let shop: Shop = tx.load(Shop::ID).await?;
    let currency = shop.currency().ok_or(StoreError::NoSuchShop(entry.shop))?;

    let mut ingested = Ingested { deliveries: pending.len(), is_full, ..Ingested::default() };
    let mut commands = Vec::new();
    let mut settled = Settled::default();
    let mut about = About::default();
    let mut asked = Vec::new();
    let mut merged = Vec::new();
    let mut of_erased = BTreeSet::new();
    for delivery in &pending {
        let body = delivery.body.as_ref();
        let body = body.map(|sealed| opened(SealedThing::Body, key.body(delivery.id).open(sealed)));
        if let Some(Ok(body)) = &body {
            about.read(&key, delivery.id, &delivery.topic, body);
        }
        match judge(body.as_ref().map(Result::as_deref), entry, currency, delivery) {
            Verdict::Commands(mut of_delivery) => {
                let mut metadata = metadata(delivery);
                let opened = body.and_then(Result::ok).unwrap_or_default();
                let requests = requests_in(tx, &key, &mut of_delivery, &opened, delivery.note.as_deref()).await?;
                if let Some(request) = requests.first() {
                    let webhook_id = known_as(&delivery.webhook_id, &delivery.body_digest, request.known_by);
                    metadata =
                        metadata.with("body_digest", request.known_by.to_string()).with("webhook_id", webhook_id);
                }
                asked.extend(requests);
                merged.extend(merges_in(&of_delivery, delivery.received_at));
                commands.extend(of_delivery.into_iter().map(|command| Envelope::new(command, metadata.clone())));
                settled.push(delivery.id, InboxStatus::Translated, None);
            }
            Verdict::OfErased => {
                of_erased.insert(delivery.id);
                ingested.ignored += 1;
                settled.push(delivery.id, InboxStatus::Ignored, Some(OF_ERASED.to_owned()));
            }
            Verdict::Ignored(reason) => {
                ingested.ignored += 1;
                settled.push(delivery.id, InboxStatus::Ignored, Some(reason.to_owned()));
            }
            Verdict::Dead(reason) => {
                ingested.dead += 1;
                settled.push(delivery.id, InboxStatus::Dead, Some(reason));
            }
        }
    }
    if !commands.is_empty() {
        // A panic while deciding is a fault of ours that one delivery brought to light.
        let outcome = AssertUnwindSafe(tx.execute(commands)).catch_unwind().await;
        let outcome = outcome.unwrap_or_else(|_| Err(StoreError::Refused("the decision panicked".into())));
        let appended = outcome.map_err(|error| match error.blames_the_input() {
            true => IngestError::Deliveries(pending.iter().map(|delivery| delivery.id).collect(), error),
            false => IngestError::Store(error),
        })?;
        ingested.events = appended.iter().map(|appended| appended.events).sum();
    }
    settled.write(tx).await?;
    about.write(tx, &key).await?;
    if !of_erased.is_empty() {
        let_go_of_bodies(tx, &of_erased).await?;
    }
    requests::ask(tx, &key, asked).await?;
    requests::ask_about(tx, &key, merged).await?;
    Ok(ingested)
}

/// Reads one delivery. Whatever is wrong with it stays its own.
fn judge(
    body: Option<Result<&[u8], &VaultError>>,
    entry: &DirectoryEntry,
    currency: Currency,
    delivery: &Pending,
) -> Verdict {
    // A delivery's topic is whatever its sender wrote.
    if delivery.source == "webhook" && delivery.topic == ORDER_DOCUMENT {
        return Verdict::Ignored("no webhook has this topic");
    }
    if delivery.triggered_at.zip(entry.not_before).is_some_and(|(sent, begin)| sent < begin) {
        return Verdict::OfErased;
    }
    let body = match body {
        None => return Verdict::Dead("the body was purged".into()),
        Some(Err(error)) => return Verdict::Dead(error.to_string()),
        Some(Ok(body)) => body,
    };
    let Ok(digest) = delivery.body_digest.as_slice().try_into() else {
        return Verdict::Dead("its digest is none".into());
    };
    let context = Context {
        topic: &delivery.topic,
        triggered_at: delivery.triggered_at,
        received_at: delivery.received_at,
        digest: Digest(digest),
        domain: &entry.domain,
        shopify_id: entry.shopify_id,
        currency,
    };
    // A translation that panics is a fault of ours: one delivery waits for the mended build, the shop goes on.
    match catch_unwind(AssertUnwindSafe(|| translate(&context, body))) {
        Ok(Ok(Translation::Commands(commands))) => Verdict::Commands(commands),
        Ok(Ok(Translation::Ignored(reason))) => Verdict::Ignored(reason),
        Ok(Err(error @ TranslateError::OtherShop)) => Verdict::Dead(format!("quarantined: {error}")),
        Ok(Err(error)) => Verdict::Dead(error.to_string()),
        Err(_) => Verdict::Dead("the translation panicked".into()),
    }
}

fn metadata(delivery: &Pending) -> Metadata {
    let metadata = Metadata::from_source(&delivery.source)
        .with("topic", &delivery.topic)
        .with("webhook_id", &delivery.webhook_id)
        .with("causation_id", delivery.id.to_string())
        .with("body_digest", hex::encode(&delivery.body_digest));
    match &delivery.event_id {
        Some(id) => metadata.with("correlation_id", id),
        None => metadata,
    }
}

#[derive(Default)]
struct Settled {
    ids: Vec<Uuid>,
    statuses: Vec<String>,
    reasons: Vec<Option<String>>,
}

impl Settled {
    fn push(&mut self, id: Uuid, status: InboxStatus, reason: Option<String>) {
        self.ids.push(id);
        self.statuses.push(status.as_str().to_owned());
        self.reasons.push(reason);
    }

    async fn write(self, tx: &mut ShopTx) -> Result<(), StoreError> {
        let shop = tx.shop();
        sqlx::query!(
            "UPDATE inbox AS i
             SET status = s.status, reason = s.reason, settled_at = now(), revision = $5
             FROM UNNEST($2::uuid[], $3::text[], $4::text[]) AS s (id, status, reason)
             WHERE i.shop_id = $1 AND i.id = ANY($2) AND i.id = s.id",
            shop.0,
            &self.ids,
            &self.statuses,
            &self.reasons as &[Option<String>],
            i32::try_from(REVISION).expect("a small number"),
        )
        .execute(&mut **tx)
        .await?;
        Ok(())
    }
}
