//! Which shops there are: the directory from a domain to our id, and how a shop gets into it.

use chrono::{DateTime, Utc};
use domain::{Command, Currency, Personal, ShopId, Zone, ids::ShopifyShopId, redaction::Said, shop::ShopCommand};
use event_store::{
    Database, Envelope, Metadata, PROJECT, SealedThing, ShopTx, StoreError, create_shop, opened, shop_key,
};
use shopify::{ShopDomain, body_digest};
use sqlx::PgConnection;
use uuid::Uuid;

use vault::{ShopKey, VaultError};

use crate::{
    INGEST,
    inbox::{give_deliveries, known_as},
};

/// A shop that we know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// Our id.
    pub shop: ShopId,
    /// Its permanent domain.
    pub domain: ShopDomain,
    /// Shopify's number, when it is known.
    pub shopify_id: Option<ShopifyShopId>,
    /// Deliveries are kept and not worked on.
    pub is_paused: bool,
    /// What was sent before is of an earlier installation, which was erased.
    pub not_before: Option<DateTime<Utc>>,
}

struct Row {
    shop_id: Uuid,
    domain: String,
    shopify_id: Option<i64>,
    paused_at: Option<DateTime<Utc>>,
    not_before: Option<DateTime<Utc>>,
}

impl From<Row> for DirectoryEntry {
    fn from(row: Row) -> Self {
        Self {
            shop: ShopId(row.shop_id),
            domain: row.domain.parse().expect("only valid domains are registered"),
            shopify_id: row.shopify_id.map(ShopifyShopId::from_sql),
            is_paused: row.paused_at.is_some(),
            not_before: row.not_before,
        }
    }
}

/// The shop of a domain.
///
/// # Errors
/// [`StoreError::Unavailable`].
pub async fn find(connection: &mut PgConnection, domain: &ShopDomain) -> Result<Option<DirectoryEntry>, StoreError> {
    let row = sqlx::query_as!(
        Row,
        "SELECT shop_id, domain, shopify_id, paused_at, not_before FROM directory WHERE domain = $1",
        domain.as_str()
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(DirectoryEntry::from))
}

/// The shop of an id of ours.
///
/// # Errors
/// [`StoreError::Unavailable`].
pub async fn find_by_id(connection: &mut PgConnection, shop: ShopId) -> Result<Option<DirectoryEntry>, StoreError> {
    let row = sqlx::query_as!(
        Row,
        "SELECT shop_id, domain, shopify_id, paused_at, not_before FROM directory WHERE shop_id = $1",
        shop.0
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(DirectoryEntry::from))
}

/// Every shop, by domain.
///
/// # Errors
/// [`StoreError::Unavailable`].
pub async fn list_shops(connection: &mut PgConnection) -> Result<Vec<DirectoryEntry>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        "SELECT shop_id, domain, shopify_id, paused_at, not_before FROM directory ORDER BY domain"
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(DirectoryEntry::from).collect())
}

/// At most `limit` shops by domain, those after one.
///
/// # Errors
/// [`StoreError::Unavailable`].
pub async fn page_of_shops(
    connection: &mut PgConnection,
    after: Option<&ShopDomain>,
    limit: i64,
) -> Result<Vec<DirectoryEntry>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        "SELECT shop_id, domain, shopify_id, paused_at, not_before FROM directory WHERE domain > $1 ORDER BY domain LIMIT $2",
        after.map_or("", ShopDomain::as_str),
        limit,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(DirectoryEntry::from).collect())
}

/// Stops or resumes work on a shop's deliveries; they are accepted and kept all the same.
///
/// # Errors
/// [`StoreError::Unavailable`].
pub async fn set_paused(connection: &mut PgConnection, shop: ShopId, paused: bool) -> Result<(), StoreError> {
    sqlx::query!("UPDATE directory SET paused_at = CASE WHEN $2 THEN now() END WHERE shop_id = $1", shop.0, paused)
        .execute(&mut *connection)
        .await?;
    sqlx::query!("INSERT INTO work_queue (shop_id, kind, due_at) VALUES ($1, $2, now())", shop.0, INGEST)
        .execute(connection)
        .await?;
    Ok(())
}

/// What a shop is registered with.
#[derive(Debug, Clone)]
pub struct Registration {
    /// Its permanent domain.
    pub domain: ShopDomain,
    /// Shopify's number, when it is known.
    pub shopify_id: Option<ShopifyShopId>,
    /// Days are cut in it until Shopify says otherwise.
    pub timezone: Zone,
    /// Figures are in it until Shopify says otherwise.
    pub currency: Currency,
}

/// Registers a shop and takes over the deliveries that came before it was known. Doing it twice is doing it once.
///
/// # Errors
/// [`StoreError`].
pub async fn register(
    database: &Database,
    registration: &Registration,
    now: DateTime<Utc>,
) -> Result<ShopId, StoreError> {
    loop {
        let mut fleet = database.begin_fleet().await?;
        let known = find(&mut fleet, &registration.domain).await?;
        fleet.commit().await.map_err(StoreError::from)?;
        let shop = known.map_or_else(|| ShopId(Uuid::now_v7()), |entry| entry.shop);

        let mut tx = database.begin(shop).await?;
        // Keeps a delivery that is being stored as unclaimed from being overlooked.
        lock_domain(&mut tx, &registration.domain, true).await?;
        let shopify_id = registration.shopify_id.map(ShopifyShopId::to_sql);
        let is_ours = sqlx::query_scalar!(
            r#"INSERT INTO directory AS d (domain, shop_id, shopify_id, not_before)
               VALUES ($1, $2, $3, (SELECT max(redacted_at) FROM former_shops WHERE domain_digest = $4))
               ON CONFLICT ON CONSTRAINT directory_domain_key DO UPDATE
               SET shopify_id = COALESCE(excluded.shopify_id, d.shopify_id)
               RETURNING shop_id = $2 AS "is_ours!""#,
            registration.domain.as_str(),
            shop.0,
            shopify_id,
            digest_of(&registration.domain),
        )
        .fetch_one(&mut *tx)
        .await?;
        if !is_ours {
            continue; // another process registered the domain meanwhile: take its id
        }
        begin_log(&mut tx, registration, now).await?;
        claim_deliveries(&mut tx, &registration.domain).await?;
        tx.commit().await?;
        return Ok(shop);
    }
}

/// Makes what a shop needs before anything can be told of it, and tells that it is there.
async fn begin_log(tx: &mut ShopTx, registration: &Registration, at: DateTime<Utc>) -> Result<(), StoreError> {
    let shop = tx.shop();
    create_shop(tx).await?;
    for lock in [INGEST, PROJECT, "rebuild"] {
        sqlx::query!(
            "INSERT INTO checkpoints (shop_id, projection, generation) VALUES ($1, $2, 0)
             ON CONFLICT ON CONSTRAINT checkpoints_pkey DO NOTHING",
            shop.0,
            lock,
        )
        .execute(&mut **tx)
        .await?;
    }
    let command = Command::Shop(ShopCommand::Register {
        domain: Personal::Clear(registration.domain.to_string()),
        shopify_id: registration.shopify_id,
        timezone: registration.timezone,
        currency: registration.currency,
        at,
    });
    tx.execute(vec![Envelope::new(command, Metadata::from_source("command").with("actor", "operator"))]).await?;
    Ok(())
}

/// Keeps others from registering the shop of this transaction, and from storing deliveries for it, before the transaction ends. `None`: it is in the directory no more.
///
/// # Errors
/// [`StoreError::Unavailable`].
pub async fn lock_entry(tx: &mut ShopTx) -> Result<Option<DirectoryEntry>, StoreError> {
    let shop = tx.shop();
    let Some(entry) = find_by_id(tx, shop).await? else { return Ok(None) };
    lock_domain(tx, &entry.domain, true).await?;
    // As `store_delivery_under_key` has it, shared.
    sqlx::query!("SELECT pg_advisory_xact_lock(hashtextextended($1::uuid::text, 1))", shop.0)
        .execute(&mut **tx)
        .await?;
    find_by_id(tx, shop).await
}

/// Takes the shop of this transaction out of the directory, ends its merchants' tokens, which it returns, and forgets its work of any
/// other kind than `but`. Those who handle compliance, and auditors, are still to read what was done. `goes_on_as`: the shop that has its
/// place.
///
/// # Errors
/// [`StoreError::Unavailable`].
pub async fn strike_off(
    tx: &mut ShopTx,
    domain: Option<&ShopDomain>,
    goes_on_as: Option<ShopId>,
    but: &str,
    said: &Said,
) -> Result<Vec<Uuid>, StoreError> {
    let shop = tx.shop();
    sqlx::query!("DELETE FROM directory WHERE shop_id = $1", shop.0).execute(&mut **tx).await?;
    sqlx::query!("DELETE FROM work_queue WHERE shop_id = $1 AND kind <> $2", shop.0, but).execute(&mut **tx).await?;
    sqlx::query!(
        "INSERT INTO former_shops (shop_id, domain_digest, goes_on_as) VALUES ($1, $2, $3)
         ON CONFLICT ON CONSTRAINT former_shops_pkey DO NOTHING",
        shop.0,
        domain.map(digest_of),
        goes_on_as.map(|shop| shop.0),
    )
    .execute(&mut **tx)
    .await?;
    let ended = sqlx::query_scalar!(
        "UPDATE api_tokens SET revoked_at = now(), revoked_by = $2, revoke_reason = $3
         WHERE shop_id = $1 AND revoked_at IS NULL AND role = 'merchant'
         RETURNING token_id",
        shop.0,
        said.by,
        said.reason,
    );
    Ok(ended.fetch_all(&mut **tx).await?)
}

/// Makes a new shop of what came since an instant, in this shop's place: it gets the domain, the tokens and the deliveries, and
/// nothing that was sent before. Under the lock of [`lock_entry`].
///
/// # Errors
/// [`StoreError`].
pub async fn hand_over(
    tx: &mut ShopTx,
    key: &ShopKey,
    registration: &Registration,
    since: DateTime<Utc>,
    new: ShopId,
) -> Result<(), StoreError> {
    let old = tx.shop();
    sqlx::query!(
        "UPDATE directory SET shop_id = $2, registered_at = $3, not_before = $3 WHERE shop_id = $1",
        old.0,
        new.0,
        since
    )
    .execute(&mut **tx)
    .await?;
    sqlx::query!("UPDATE api_tokens SET shop_id = $2 WHERE shop_id = $1", old.0, new.0).execute(&mut **tx).await?;
    tx.turn_to(new).await?;
    begin_log(tx, registration, since).await?;
    tx.turn_to(old).await?;
    give_deliveries(tx, key, new, since).await?;
    Ok(())
}

/// By which a domain is known without being kept.
fn digest_of(domain: &ShopDomain) -> Vec<u8> {
    body_digest(domain.as_str().as_bytes()).0.to_vec()
}

/// Shops that were erased: their logs are still there.
///
/// # Errors
/// [`StoreError::Unavailable`].
pub async fn former_shops(connection: &mut PgConnection) -> Result<Vec<ShopId>, StoreError> {
    let shops = sqlx::query_scalar!("SELECT shop_id FROM former_shops ORDER BY redacted_at, shop_id");
    Ok(shops.fetch_all(connection).await?.into_iter().map(ShopId).collect())
}

/// A shop that was erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FormerShop {
    /// Our id, by which its log is read.
    pub shop: ShopId,
    /// When.
    pub erased_at: DateTime<Utc>,
}

/// The erased shops in whose place a shop goes on, and those in whose place these did, the last one first. With a domain, also
/// those that had it when they were erased.
///
/// # Errors
/// [`StoreError::Unavailable`].
pub async fn predecessors(
    connection: &mut PgConnection,
    shop: Option<ShopId>,
    domain: Option<&ShopDomain>,
) -> Result<Vec<FormerShop>, StoreError> {
    let rows = sqlx::query!(
        r#"WITH RECURSIVE before AS (
               SELECT shop_id, redacted_at FROM former_shops WHERE goes_on_as = $1 OR domain_digest = $2
               UNION
               SELECT f.shop_id, f.redacted_at FROM former_shops f JOIN before b ON f.goes_on_as = b.shop_id
           )
           SELECT shop_id AS "shop_id!", redacted_at AS "redacted_at!" FROM before ORDER BY redacted_at DESC, shop_id"#,
        shop.map(|shop| shop.0),
        domain.map(digest_of),
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| FormerShop { shop: ShopId(row.shop_id), erased_at: row.redacted_at }).collect())
}

/// Held until the transaction ends: exclusively by a registration, shared by deliveries to an unknown shop.
pub(crate) async fn lock_domain(
    connection: &mut PgConnection,
    domain: &ShopDomain,
    exclusively: bool,
) -> Result<(), StoreError> {
    sqlx::query!(
        "SELECT CASE WHEN $2 THEN pg_advisory_xact_lock(hashtextextended($1, 0))
                     ELSE pg_advisory_xact_lock_shared(hashtextextended($1, 0)) END",
        domain.as_str(),
        exclusively,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Moves what came for the domain while it was unknown into the shop's inbox, sealed under its key. What does not open is put
/// aside there as it is, as a dead letter: it is in nobody's way.
async fn claim_deliveries(tx: &mut ShopTx, domain: &ShopDomain) -> Result<(), StoreError> {
    let shop = tx.shop();
    let key = shop_key(tx).await?;
    loop {
        let rows = sqlx::query!(
            "SELECT id, webhook_id, body_digest, body FROM inbox_unclaimed WHERE domain = $1 ORDER BY received_at LIMIT 200",
            domain.as_str()
        )
        .fetch_all(&mut **tx)
        .await?;
        if rows.is_empty() {
            return Ok(());
        }
        let (mut ids, mut bodies, mut reasons) = (Vec::new(), Vec::new(), Vec::new());
        let (mut webhook_ids, mut digests) = (Vec::new(), Vec::new());
        for mut row in rows {
            let (body, reason) = match opened(SealedThing::Body, tx.ring().open_unclaimed(row.id, &row.body)) {
                Ok(body) => {
                    let digest = key.body_digest(&body);
                    row.webhook_id = known_as(&row.webhook_id, &row.body_digest, digest);
                    row.body_digest = digest.0.to_vec();
                    (key.body(row.id).seal(&body), None)
                }
                Err(error @ VaultError::DoesNotOpen) => {
                    tracing::warn!(%shop, id = %row.id, "a delivery's body does not open: it is kept as a dead letter");
                    (row.body, Some(error.to_string()))
                }
                Err(error) => return Err(StoreError::Keys(shop, error)),
            };
            ids.push(row.id);
            webhook_ids.push(row.webhook_id);
            digests.push(row.body_digest);
            bodies.push(body);
            reasons.push(reason);
        }
        sqlx::query!(
            "WITH moved AS (
                 DELETE FROM inbox_unclaimed WHERE id = ANY($2) RETURNING *
             ), work AS (
                 INSERT INTO work_queue (shop_id, kind, due_at) VALUES ($1, 'ingest', now())
             )
             INSERT INTO inbox (shop_id, id, webhook_id, body_digest, topic, triggered_at, event_id, received_at, note,
                                body, due_at, status, reason, settled_at, subjects_known)
             SELECT $1, m.id, b.webhook_id, b.body_digest, m.topic, m.triggered_at, m.event_id, m.received_at, m.note,
                    b.body, now(), CASE WHEN b.reason IS NULL THEN 'pending' ELSE 'dead' END, b.reason,
                    CASE WHEN b.reason IS NOT NULL THEN now() END, b.reason IS NOT NULL
             FROM moved m
             JOIN UNNEST($2::uuid[], $3::bytea[], $4::text[], $5::text[], $6::bytea[])
                  AS b (id, body, reason, webhook_id, body_digest) ON b.id = m.id
             ON CONFLICT ON CONSTRAINT inbox_delivery_key DO NOTHING",
            shop.0,
            &ids,
            &bodies,
            &reasons as &[Option<String>],
            &webhook_ids,
            &digests,
        )
        .execute(&mut **tx)
        .await?;
    }
}
