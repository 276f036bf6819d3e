//! What is looked at after an erasure, and the signature under it.

use std::{collections::BTreeSet, fmt::Write};

use chrono::{DateTime, SecondsFormat, Utc};
use domain::{
    ShopId,
    ids::OrderId,
    ledger::sales_of,
    order::Order,
    redaction::{Erased, Receipt, Redaction, RedactionCommand, RedactionError},
};
use event_store::{Database, ShopTx, StoreError, StoredEvent};
use ingest::find_bodies;
use serde_json::Value;
use sha2::{Digest, Sha256};
use sqlx::{Executor, PgConnection};
use vault::SigningKeys;

use crate::{
    Named,
    erase::Before,
    folded,
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
    let redaction: Redaction = tx.load(id).await?;
    tx.rollback().await?;
    let erased = redaction.erased.ok_or_else(|| StoreError::Refused(Box::new(RedactionError::NotDue)))?;
    let mut vacuumed = vacuum(database, erased.at).await;
    let mut tx = database.begin(shop).await?;
    let history = tx.histories("redaction", &[id.to_owned()], i64::MAX).await?;
    let own = history.iter().find(|event| event.event_type == "SubjectsErased");
    let own = own.ok_or_else(|| StoreError::Refused(Box::new(RedactionError::NotDue)))?;
    let words = before.as_ref().map_or(&[][..], |before| &before.words);
    let looked = match erased.is_of_shop() {
        true => {
            tx.rollback().await?;
            sweep(database, shop).await?;
            let looked = look_at_shop(database, shop, own.position, words).await?;
            // What was deleted just now.
            vacuumed &= vacuum(database, erased.at).await;
            tx = database.begin(shop).await?;
            looked
        }
        false => look_at_persons(&mut tx, &erased, &history, own.position, before.as_ref()).await?,
    };
    let mut receipt = Receipt {
        position: own.position,
        hash: hex::encode(&own.hash),
        searched: words.len() as u64,
        found: looked.found,
        links: looked.links,
        sums_unchanged: looked.sums_unchanged,
        vacuumed,
        horizon: erased.at,
        key_id: signing.newest_id(),
        signature: String::new(),
        at: now,
    };
    receipt.signature = signing.sign(signed_text(shop, id, &erased, &receipt).as_bytes());
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
    tx: &mut ShopTx,
    erased: &Erased,
    history: &[StoredEvent],
    up_to: i64,
    before: Option<&Before>,
) -> Result<Looked, StoreError> {
    let shop = tx.shop();
    let named = match before {
        Some(before) => before.named.clone(),
        None => Named::of(tx, erased.subjects.iter().copied()).await?,
    };
    let events = tx.events_of(&named.streams).await?;
    let texts = texts_of(tx, &named, &events).await?;
    let links: Vec<StoredEvent> = events.into_iter().chain(history.iter().cloned()).collect();
    if let Some(position) = tx.broken_link(&links).await? {
        return Err(StoreError::BrokenChain { shop, position, what: "a link of a redacted history".to_owned() });
    }
    let words = before.map_or(&[][..], |before| &before.words);
    let mut found = said(&texts, words).len();
    // Keys that are still there, bodies that are about the person.
    if let Some(key) = tx.living_shop_key().await? {
        found += tx.subject_keys(&key, &named.subjects).await?.len();
        found += find_bodies(tx, &key, &named.subjects, &[], before.map(|_| words)).await?.len();
    }
    let sums_unchanged = match before.and_then(|before| before.sums.as_ref()) {
        Some(sums_before) => Some(*sums_before == sums(tx, &named, up_to).await?),
        None => None,
    };
    Ok(Looked { found: found as u64, links: links.len() as u64, sums_unchanged })
}

/// Which of the words the documents say.
pub(crate) fn says_any(documents: &[&str], words: &[String]) -> Vec<String> {
    let mut texts = Vec::new();
    for document in documents {
        let json = serde_json::from_str(document).unwrap_or_else(|_| Value::String((*document).to_owned()));
        collect_texts(&json, &mut texts);
    }
    said(&texts.into_iter().collect(), words)
}

/// In any case. A short word is looked for as a whole text: it is a part of many others.
fn said(texts: &BTreeSet<String>, words: &[String]) -> Vec<String> {
    const LONG: usize = 6;
    let is_said = |word: &&String| {
        let word = word.to_lowercase();
        texts.contains(&word) || word.chars().count() >= LONG && texts.iter().any(|text| text.contains(&word))
    };
    words.iter().filter(is_said).cloned().collect()
}

/// Old versions of rows hold what was destroyed until they are vacuumed, which only the owner of the tables may.
async fn vacuum(database: &Database, since: DateTime<Utc>) -> bool {
    const OWNED: &str = "SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = 'subject_keys'::regclass";
    let outcome = async {
        let mut connection = database.acquire().await?;
        // To others the server only remarks that it skipped the table.
        if !sqlx::query_scalar::<_, bool>(OWNED).fetch_one(&mut *connection).await? {
            return Ok(false);
        }
        let vacuumed = vacuum_tables(&mut connection, since).await;
        connection.execute("RESET statement_timeout; RESET lock_timeout").await?;
        vacuumed
    };
    outcome.await.unwrap_or_else(|error: sqlx::Error| {
        tracing::warn!(error = &error as &dyn std::error::Error, "the key table was not vacuumed");
        false
    })
}

async fn vacuum_tables(connection: &mut PgConnection, since: DateTime<Utc>) -> Result<bool, sqlx::Error> {
    /// Some 100,000 keys: a tenth of a second.
    const REWRITTEN: i64 = 16 * 1024 * 1024;
    // Autovacuum gives way after a second.
    connection.execute("SET statement_timeout = '30min'; SET lock_timeout = '10s'").await?;
    connection.execute("VACUUM shop_keys, subject_keys, subject_contacts, exports, inbox, inbox_unclaimed").await?;
    // Whoever began to read before still sees what was destroyed, and so it is still there.
    let is_seen = sqlx::query_scalar::<_, bool>(
        "SELECT EXISTS (SELECT FROM pg_stat_activity
                        WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start < $1
                          AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL))",
    )
    .bind(since)
    .fetch_one(&mut *connection)
    .await?;
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

/// The texts of the rows that are the person's.
async fn texts_of(tx: &mut ShopTx, named: &Named, events: &[StoredEvent]) -> Result<BTreeSet<String>, StoreError> {
    let shop = tx.shop();
    let orders: Vec<i64> = orders(named).map(OrderId::to_sql).collect();
    let subjects: Vec<String> = named.subjects.iter().map(ToString::to_string).collect();
    let positions: Vec<i64> = events.iter().map(|event| event.position).collect();
    let mut documents: Vec<String> = Vec::new();
    documents.extend(events.iter().flat_map(|event| [event.payload.clone(), event.metadata.clone()]));
    let rows = sqlx::query_scalar!(
        r#"SELECT to_jsonb(t)::text AS "text!" FROM order_list t
           WHERE t.shop_id = $1 AND t.generation IN (SELECT generation FROM live_generations WHERE shop_id = $1)
             AND t.order_id = ANY ($2)
           UNION ALL
           SELECT to_jsonb(t)::text FROM sale_fact t
           WHERE t.shop_id = $1 AND t.generation IN (SELECT generation FROM live_generations WHERE shop_id = $1)
             AND t.position = ANY ($3)
           UNION ALL
           SELECT to_jsonb(t)::text FROM subject_keys t WHERE t.shop_id = $1 AND t.subject = ANY ($4)
           UNION ALL
           SELECT jsonb_build_array(i.note, i.reason, i.topic)::text FROM inbox_subjects s
           JOIN inbox i ON i.shop_id = s.shop_id AND i.id = s.inbox_id
           WHERE s.shop_id = $1 AND s.subject = ANY ($4)"#,
        shop.0,
        &orders,
        &positions,
        &subjects,
    )
    .fetch_all(&mut **tx)
    .await?;
    documents.extend(rows);
    let mut texts = Vec::new();
    for document in documents {
        collect_texts(&serde_json::from_str(&document).unwrap_or(Value::String(document)), &mut texts);
    }
    Ok(texts.into_iter().collect())
}

/// What stands there to be read: not the names of fields, and not what is sealed.
fn collect_texts(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::String(text) => texts.push(text.to_lowercase()),
        Value::Array(members) => members.iter().for_each(|member| collect_texts(member, texts)),
        Value::Object(members) => {
            let open = members.iter().filter(|(name, _)| !matches!(name.as_str(), "sealed" | "wrapped" | "hash"));
            open.for_each(|(_, member)| collect_texts(member, texts));
        }
        _ => {}
    }
}

fn orders(named: &Named) -> impl Iterator<Item = OrderId> {
    named.streams.iter().filter(|(kind, _)| kind == "order").filter_map(|(_, id)| id.parse().ok()).map(OrderId)
}

/// A digest of what the person's orders add to the ledger, as the log stood at a position.
pub(crate) async fn sums(tx: &mut ShopTx, named: &Named, up_to: i64) -> Result<String, StoreError> {
    let ids: Vec<String> = orders(named).map(|id| id.to_string()).collect();
    let mut hasher = Sha256::new();
    for (id, order) in folded::<Order>(tx, &ids, up_to).await? {
        let number = id.parse().map(OrderId).unwrap_or(OrderId(0));
        hasher.update(format!("{id} {:?}\n", sales_of(number, &order)));
    }
    Ok(hex::encode(hasher.finalize()))
}

/// What a receipt's signature is over: each thing on a line, its name before it.
#[must_use]
pub fn signed_text(shop: ShopId, id: &str, erased: &Erased, receipt: &Receipt) -> String {
    let time = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Micros, true);
    let subjects: Vec<String> = erased.subjects.iter().map(ToString::to_string).collect();
    let fields: Vec<String> = erased.fields.iter().map(|(name, count)| format!("{name}={count}")).collect();
    let mut lines = vec![
        ("ecomdash", "redaction receipt 1".to_owned()),
        ("shop", shop.to_string()),
        ("redaction", id.to_owned()),
        ("subjects", subjects.join(",")),
        ("keys", erased.keys.to_string()),
        ("streams", erased.streams.to_string()),
        ("values", erased.values.to_string()),
        ("fields", fields.join(",")),
        ("bodies", erased.bodies.to_string()),
        ("contacts", erased.contacts.to_string()),
        ("erased_at", time(erased.at)),
        ("position", receipt.position.to_string()),
        ("hash", receipt.hash.clone()),
        ("searched", receipt.searched.to_string()),
        ("found", receipt.found.to_string()),
        ("links", receipt.links.to_string()),
        ("sums_unchanged", receipt.sums_unchanged.map_or("unknown".to_owned(), |same| same.to_string())),
        ("vacuumed", receipt.vacuumed.to_string()),
        ("horizon", time(receipt.horizon)),
        ("at", time(receipt.at)),
    ];
    if let Some(shop) = erased.goes_on_as {
        lines.push(("goes_on_as", shop.to_string()));
    }
    if let Some(since) = erased.installed_again_at {
        lines.push(("installed_again_at", time(since)));
    }
    lines.iter().fold(String::new(), |mut text, (name, value)| {
        let _ = writeln!(text, "{name}: {value}");
        text
    })
}

/// Whether a receipt was signed by a public key, in base64, as it stands.
#[must_use]
pub fn is_genuine(public_key: &str, shop: ShopId, id: &str, erased: &Erased, receipt: &Receipt) -> bool {
    vault::is_signed(public_key, signed_text(shop, id, erased, receipt).as_bytes(), &receipt.signature)
}
