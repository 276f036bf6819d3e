//! What is looked at after an erasure.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use domain::{
    ShopId, Snapshot,
    ids::OrderId,
    ledger::sales_of,
    order::{Order, OrderEvent},
    redaction::{Receipt, Redaction, RedactionCommand, RedactionError},
};
use event_store::{Database, ShopTx, StoreError, StoredEvent};
use futures::TryStreamExt;
use ingest::find_bodies;
use sqlx::{Executor, PgConnection};
use uuid::Uuid;
use vault::SigningKeys;

use crate::{
    Entry, Named,
    erase::{Before, follow_up, in_steps},
    ledger::Ledger,
    search::Search,
    shop::{look_at_shop, sweep},
    tell,
};

/// Looks at what is left after an erasure, and signs what was seen. Without `before`, as after a crash in between, nothing is
/// searched for, and the receipt says so.
///
/// # Errors
/// [`StoreError::Refused`] when nothing was erased, or [`StoreError`].
pub async fn certify(
    database: &Database,
    shop: ShopId,
    id: &str,
    signing: &SigningKeys,
    before: Option<Before>,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let mut tx = database.begin(shop).await?;
    let Redaction { request, confirmed_by, erased, .. } = tx.load(id).await?;
    tx.rollback().await?;
    let not_erased = || StoreError::Refused(Box::new(RedactionError::NotDue));
    let (request, erased) = (request.ok_or_else(not_erased)?, erased.ok_or_else(not_erased)?);
    let named = match erased.is_of_shop() {
        true => Named::default(),
        // What a crash kept from being done is done now.
        false => follow_up(database, shop, id, &erased).await?,
    };
    let mut vacuumed = vacuum(database).await;
    let mut tx = database.begin(shop).await?;
    // Whatever is of before may hold what is gone by now.
    let mut horizon = tx.clock().await?;
    let history = tx.histories("redaction", &[id.to_owned()], i64::MAX).await?;
    tx.commit().await?;
    let own = history.iter().find(|event| event.event_type == "SubjectsErased");
    let own = own.ok_or_else(not_erased)?;
    let searched = before.as_ref().map_or(0, |before| before.words.len());
    let looked = match erased.is_of_shop() {
        true => {
            sweep(database, shop).await?;
            let search = before.as_ref().map(|before| Search::of(&before.words)).unwrap_or_default();
            let looked = look_at_shop(database, shop, own.position, search).await?;
            // What was deleted just now.
            vacuumed &= vacuum(database).await;
            let mut tx = database.begin(shop).await?;
            horizon = tx.clock().await?;
            tx.commit().await?;
            looked
        }
        false => look_at_persons(database, shop, id, &named, before.as_ref()).await?,
    };
    if before.as_ref().is_some_and(|before| before.words.is_cut) {
        tracing::warn!(%shop, redaction = id, searched, "there were more values than are searched for");
    }
    let mut tx = database.begin(shop).await?;
    let receipt = Receipt {
        position: own.position,
        hash: hex::encode(&own.hash),
        searched: searched as u64,
        found: looked.found,
        links: looked.links,
        sums_unchanged: looked.sums_unchanged,
        vacuumed,
        horizon: horizon.max(erased.at),
        key_id: signing.newest_id(),
        signature: String::new(),
        at: tx.clock().await?.max(now),
    };
    let mut entry = Entry { shop, id: id.to_owned(), request, confirmed_by, erased, receipt };
    entry.receipt.signature = signing.sign(entry.signed_text().as_bytes());
    let receipt = entry.receipt;
    if receipt.found > 0 || receipt.sums_unchanged == Some(false) || !receipt.vacuumed {
        tracing::error!(%shop, redaction = id, found = looked.found, vacuumed, sums = ?receipt.sums_unchanged, "a redaction left something");
    }
    tell(&mut tx, id, RedactionCommand::Certify(receipt), "redaction").await?;
    tx.commit().await
}

/// What was seen after an erasure.
pub(crate) struct Looked {
    pub found: u64,
    pub links: u64,
    pub sums_unchanged: Option<bool>,
}

async fn look_at_persons(
    database: &Database,
    shop: ShopId,
    id: &str,
    named: &Named,
    before: Option<&Before>,
) -> Result<Looked, StoreError> {
    let mut tx = database.begin(shop).await?;
    let mut ledger = Ledger::live(&mut tx).await?;
    tx.commit().await?;
    // Where another one serves since, there is nothing to compare with.
    let known = before.and_then(|before| before.ledger.as_ref());
    let known = known.filter(|known| known.generation == ledger.generation);
    if let Some(known) = known {
        ledger.up_to = known.up_to;
    }
    let search = before.map(|before| Search::of(&before.words)).unwrap_or_default();
    let mut look = Look { redaction: id, search, links: 0, moved: false, ledger };
    let own = [("redaction", vec![id.to_owned()])];
    for (kind, ids) in in_steps(&named.streams).into_iter().chain(own) {
        let mut tx = database.begin(shop).await?;
        look.at_histories(&mut tx, kind, &ids).await?;
        tx.commit().await?;
    }
    let mut tx = database.begin(shop).await?;
    let deliveries: Vec<Uuid> = before.iter().flat_map(|before| &before.deliveries).copied().collect();
    look.at_deliveries(&mut tx, &deliveries).await?;
    // Keys that are still there, bodies that are about the person.
    let mut left = 0;
    if let Some(key) = tx.living_shop_key().await? {
        let says = |text: &str| look.search.is_in(text);
        left += tx.subject_keys(&key, &named.subjects).await?.len();
        left += find_bodies(&mut tx, &key, &named.subjects, &[], Some(&says)).await?.len();
    }
    tx.commit().await?;
    let sums_unchanged = match known {
        _ if look.moved => Some(false),
        known => known.map(|known| *known == look.ledger),
    };
    Ok(Looked { found: (look.search.found() + left) as u64, links: look.links, sums_unchanged })
}

/// What is being seen of a person after the erasure, some histories at a time.
struct Look<'a> {
    redaction: &'a str,
    search: Search,
    links: u64,
    /// By a tombstone an order adds something else to the ledger.
    moved: bool,
    ledger: Ledger,
}

impl Look<'_> {
    async fn at_histories(&mut self, tx: &mut ShopTx, kind: &str, ids: &[String]) -> Result<(), StoreError> {
        let shop = tx.shop();
        let (mut positions, mut tombstones, mut deliveries) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
        let mut order = Order::default();
        tx.each_event_of((kind, ids), (0, i64::MAX), |event, previous| {
            let position = event.position;
            if !event.follows(shop, previous.as_deref()) {
                return Err(StoreError::BrokenChain {
                    shop,
                    position,
                    what: "a link of a redacted history".to_owned(),
                });
            }
            self.links += 1;
            if kind == "redaction" {
                return Ok(());
            }
            self.search.look_at_document(&event.payload);
            self.search.look_at_document(&event.metadata);
            deliveries.extend(delivery_of(&event));
            if kind == "order" {
                positions.push(position);
                if event.sequence == 1 {
                    order = Order::default();
                }
                let said = event.decode::<OrderEvent>()?;
                let is_tombstone =
                    matches!(&said, OrderEvent::OrderRedacted { redaction } if redaction == self.redaction);
                let before = is_tombstone.then(|| sales_of(&order));
                fold(&mut order, said);
                if let Some(before) = before {
                    tombstones.insert(position);
                    self.moved |= before != sales_of(&order);
                }
            }
            Ok(())
        })
        .await?;
        if kind == "order" {
            self.ledger.add(tx, &positions, &tombstones, |row| self.search.look_at_document(row)).await?;
            self.at_orders(tx, ids).await?;
        }
        self.at_deliveries(tx, &deliveries.into_iter().collect::<Vec<_>>()).await
    }

    async fn at_orders(&mut self, tx: &mut ShopTx, ids: &[String]) -> Result<(), StoreError> {
        let shop = tx.shop();
        let orders: Vec<i64> = ids.iter().filter_map(|id| id.parse().ok()).map(|id| OrderId(id).to_sql()).collect();
        let mut rows = sqlx::query_scalar!(
            r#"SELECT to_jsonb(t)::text AS "text!" FROM order_list t
               WHERE t.shop_id = $1 AND t.generation IN (SELECT generation FROM live_generations WHERE shop_id = $1)
                 AND t.order_id = ANY ($2)"#,
            shop.0,
            &orders,
        )
        .fetch(&mut **tx);
        while let Some(row) = rows.try_next().await? {
            self.search.look_at_document(&row);
        }
        Ok(())
    }

    /// What stands beside bodies, also where these are gone.
    async fn at_deliveries(&mut self, tx: &mut ShopTx, ids: &[Uuid]) -> Result<(), StoreError> {
        let shop = tx.shop();
        let mut rows = sqlx::query_scalar!(
            r#"SELECT jsonb_build_array(note, reason, topic, webhook_id, event_id)::text AS "text!"
               FROM inbox
               WHERE shop_id = $1 AND id = ANY ($2)"#,
            shop.0,
            ids,
        )
        .fetch(&mut **tx);
        while let Some(row) = rows.try_next().await? {
            self.search.look_at_document(&row);
        }
        Ok(())
    }
}

fn fold<A: Snapshot>(state: &mut A, event: A::Event) {
    state.apply(event);
}

/// The delivery that told of an event.
fn delivery_of(event: &StoredEvent) -> Option<Uuid> {
    let metadata: BTreeMap<String, String> = serde_json::from_str(&event.metadata).ok()?;
    metadata.get("causation_id")?.parse().ok()
}

/// Old versions of rows hold what was destroyed until they are vacuumed, which only the owner of the tables may.
async fn vacuum(database: &Database) -> bool {
    const OWNED: &str = "SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = 'subject_keys'::regclass";
    let outcome = async {
        let mut connection = database.acquire().await?;
        // To others the server only remarks that it skipped the table.
        if !sqlx::query_scalar::<_, bool>(OWNED).fetch_one(&mut *connection).await? {
            return Ok(false);
        }
        let vacuumed = vacuum_tables(&mut connection).await;
        connection.execute("RESET statement_timeout; RESET lock_timeout").await?;
        vacuumed
    };
    outcome.await.unwrap_or_else(|error: sqlx::Error| {
        tracing::warn!(error = &error as &dyn std::error::Error, "the key table was not vacuumed");
        false
    })
}

async fn vacuum_tables(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    /// Some 100,000 keys: a tenth of a second.
    const REWRITTEN: i64 = 16 * 1024 * 1024;
    // Autovacuum gives way after a second.
    connection.execute("SET statement_timeout = '30min'; SET lock_timeout = '10s'").await?;
    let is_seen = is_seen_for_long(connection).await?;
    connection.execute("VACUUM shop_keys, subject_keys, subject_contacts, exports, inbox, inbox_unclaimed").await?;
    // A page's unused space keeps what stood there until it is written over: small tables are written anew, if nobody is in
    // the way. Appends wait meanwhile.
    connection.execute("SET lock_timeout = '200ms'").await?;
    for table in ["shop_keys", "subject_keys", "subject_contacts", "exports"] {
        let is_small = sqlx::query_scalar::<_, bool>("SELECT pg_table_size($1::regclass) < $2")
            .bind(table)
            .bind(REWRITTEN)
            .fetch_one(&mut *connection)
            .await;
        if matches!(is_small, Ok(true))
            && let Err(error) = connection.execute(format!("VACUUM FULL {table}").as_str()).await
        {
            tracing::debug!(table, error = &error as &dyn std::error::Error, "not written anew");
        }
    }
    Ok(!is_seen)
}

/// Whoever began to read before something was destroyed still sees it, and so it stays for now. Waits for those who are done soon;
/// says whether there is anybody else: a dump, a stand-by, a transaction that was left open.
async fn is_seen_for_long(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    const PATIENCE: u32 = 750;
    // All that was destroyed was so by transactions with lower numbers.
    let gone_by: String = sqlx::query_scalar("SELECT pg_current_xact_id()::text").fetch_one(&mut *connection).await?;
    for _ in 0..PATIENCE {
        // Transactions that are still open may be what a new reader has to look behind, also those of other databases; then whoever
        // began to read while they were. These columns are not hidden from who does not own the session, and a vacuum keeps nobody
        // from another.
        let is_seen = sqlx::query_scalar::<_, bool>(
            "SELECT pg_snapshot_xmin(pg_current_snapshot()) < $1::xid8
                 OR EXISTS (SELECT FROM pg_stat_activity
                            WHERE (datname = current_database() OR datname IS NULL) AND pid <> pg_backend_pid()
                              AND age(backend_xmin) > age($1::xid8::xid)
                              AND pid NOT IN (SELECT pid FROM pg_stat_progress_vacuum))
                 OR EXISTS (SELECT FROM pg_replication_slots WHERE age(xmin) > age($1::xid8::xid))",
        )
        .bind(&gone_by)
        .fetch_one(&mut *connection)
        .await?;
        if !is_seen {
            return Ok(false);
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    Ok(true)
}
