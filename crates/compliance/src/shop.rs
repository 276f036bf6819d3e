//! Erasing a whole shop: its key, and with it whatever was sealed for it. Its log stays, and says only what is not personal.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use domain::{
    Command, ShopId, Subject,
    redaction::{Erased, Redaction, RedactionCommand, RedactionError, Request, Said, Status},
    shop::{Shop, ShopCommand},
    token::{Issued, TokenCommand},
};
use event_store::{Database, Envelope, Metadata, ShopTx, StoreError, events};
use futures::TryStreamExt;
use ingest::{REDACT, Registration, enqueue, hand_over, later_installation, lock_entry, strike_off};
use read_models::{PROJECTIONS, projection};
use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

use crate::{
    Named,
    erase::{Before, write},
    open,
    receipt::Looked,
    search::{Search, Words},
};

/// Rows of each kind that are let go at a time.
const STEP: i64 = 5_000;

/// Destroys a shop's key, if that is due. What came since a later installation goes on as another shop first.
pub(crate) async fn erase_shop(
    database: &Database,
    shop: ShopId,
    id: &str,
    now: DateTime<Utc>,
) -> Result<Option<Before>, StoreError> {
    let mut tx = database.begin(shop).await?;
    // Nobody is kept waiting for that.
    let mut tables = rows_let_go(&mut tx).await?;
    tx.commit().await?;
    let mut tx = database.begin(shop).await?;
    // In the order in which a registration takes them.
    let entry = lock_entry(&mut tx).await?;
    tx.lock_log().await?;
    let redaction: Redaction = tx.load(id).await?;
    if redaction.erased.is_some() {
        return Ok(None);
    }
    let request = redaction.request.ok_or_else(|| StoreError::Refused(Box::new(RedactionError::Unknown)))?;
    let others: Vec<_> = open(&mut tx).await?.into_iter().filter(|(other, _)| other != id).collect();
    if others.iter().any(|(_, other)| other.is_legally_held()) {
        return Err(StoreError::Refused(Box::new(RedactionError::Held)));
    }
    let key = tx.living_shop_key().await?;
    let of_shop: Shop = tx.load(Shop::ID).await?;
    let history = tx.histories("shop", &[Shop::ID.to_owned()], i64::MAX).await?;
    let own = BTreeSet::from([Subject::Shop]);
    let mut words = Words::default();
    if let Some(key) = &key {
        let keys = tx.subject_keys(key, &own).await?;
        for value in ShopTx::values_of(&history, &own) {
            if let Some(opened) = keys.get(&Subject::Shop).and_then(|key| value.open(key).ok()) {
                words.collect(&serde_json::from_slice(&opened).unwrap_or_default());
            }
        }
    }

    // As it is now: the app may have been put in again since it was asked for.
    let since = later_installation(&mut tx, &of_shop, request.triggered_at).await?;
    let mut goes_on_as = None;
    if let (Some(since), Some(key), Some(entry), Some(currency)) = (since, &key, &entry, of_shop.currency()) {
        let (domain, shopify_id, timezone) = (entry.domain.clone(), entry.shopify_id, of_shop.timezone());
        // The new one has the same name.
        words.remove(domain.as_str());
        let registration = Registration { domain, shopify_id, timezone, currency };
        let new = successor(shop, id);
        hand_over(&mut tx, key, &registration, since, new).await?;
        carry_over(&mut tx, new, &others, now).await?;
        // It is moved; of deliveries the other has copies.
        tables.retain(|(table, _)| table != "directory");
        goes_on_as = Some(new);
    }
    // Whoever has the domain now is another.
    let domain = entry.as_ref().map(|entry| &entry.domain).filter(|_| goes_on_as.is_none());
    let said = Said { by: "redaction".to_owned(), reason: Some("the shop is erased".to_owned()), at: now };
    let ended = strike_off(&mut tx, domain, goes_on_as, REDACT, &said).await?;

    let counts = sqlx::query!(
        r#"SELECT (SELECT count(*) FROM events WHERE shop_id = $1 AND sequence = 1) AS "streams!",
                  (SELECT count(*) FROM inbox WHERE shop_id = $1 AND body IS NOT NULL) AS "bodies!",
                  (SELECT count(*) FROM subject_contacts WHERE shop_id = $1) AS "contacts!""#,
        shop.0,
    )
    .fetch_one(&mut *tx)
    .await?;
    let keys = tx.destroy_shop().await?;
    let erased = Erased {
        subjects: vec![Subject::Shop],
        keys: keys + u64::from(key.is_some()),
        streams: counts.streams.unsigned_abs(),
        bodies: counts.bodies.unsigned_abs(),
        contacts: counts.contacts.unsigned_abs(),
        tables,
        goes_on_as,
        installed_again_at: since.filter(|_| goes_on_as.is_some()),
        // Sealed values are not counted: nobody is kept waiting for that.
        ..Erased::nothing(now)
    };
    // Whoever was waited with is erased with the shop.
    let mut commands = Vec::new();
    for (other, state) in &others {
        let held = state.status() == Some(Status::Held);
        let release = held.then(|| RedactionCommand::Release(said.clone()));
        let confirm = state.erased.is_none().then(|| RedactionCommand::Confirm(said.clone()));
        commands.extend(release.into_iter().chain(confirm).map(|command| Command::Redaction(other.clone(), command)));
    }
    if !commands.is_empty() {
        enqueue(&mut tx, REDACT, 0.0).await?;
    }
    commands.extend(ended.iter().map(|token| Command::Token(token.to_string(), TokenCommand::Revoke(said.clone()))));
    commands.push(Command::Shop(ShopCommand::Redact { redaction: id.to_owned() }));
    write(&mut tx, id, erased, commands).await?;
    tx.commit().await?;
    Ok(Some(Before { words, ..Before::default() }))
}

/// The id of the shop that goes on in an erased one's place: always the same one, also when it is done again after a restore.
fn successor(shop: ShopId, redaction: &str) -> ShopId {
    let hash = Sha256::digest(format!("goes on/{shop}/{redaction}"));
    ShopId(Builder::from_custom_bytes(hash[..16].try_into().expect("16 of 32 bytes")).into_uuid())
}

/// The new shop keeps nothing of whoever was erased in the old one, and is asked what was asked of the old one.
async fn carry_over(
    tx: &mut ShopTx,
    new: ShopId,
    open: &[(String, Redaction)],
    at: DateTime<Utc>,
) -> Result<(), StoreError> {
    let old = tx.shop();
    let erased = sqlx::query_scalar!("SELECT subject FROM subject_keys WHERE shop_id = $1 AND wrapped IS NULL", old.0)
        .fetch_all(&mut **tx)
        .await?;
    let mut requests = Vec::new();
    for (id, redaction) in open {
        let Some(mut request) = redaction.request.clone().filter(|request| !request.is_of_shop()) else { continue };
        // Its log knows of no merge from before.
        let named = Named::of(tx, request.subjects.iter().copied()).await?.subjects;
        request.subjects.extend(named.into_iter().filter(|subject| matches!(subject, Subject::Customer(_))));
        request.subjects.sort_unstable();
        request.subjects.dedup();
        requests.push((id, redaction, request));
    }
    tx.turn_to(new).await?;
    let erased: BTreeSet<Subject> = erased.iter().filter_map(|subject| subject.parse().ok()).collect();
    tx.destroy_subjects(&erased, &BTreeSet::new()).await?;
    let mut envelopes = tokens_again(tx, at).await?;
    for (id, redaction, request) in requests {
        let Request { at, by, .. } = request.clone();
        let mut commands = vec![RedactionCommand::Request(request)];
        let held = redaction.hold.clone().zip(redaction.held_by.clone());
        commands.extend(held.map(|(reason, by)| RedactionCommand::Hold { reason, by, at }));
        let reason = || Some("confirmed before the shop went on".to_owned());
        let confirmed = redaction.confirmed_by.clone().map(|by| Said { by, reason: reason(), at });
        commands.extend(confirmed.map(RedactionCommand::Confirm));
        let metadata = Metadata::from_source("command").with("actor", by);
        let tell = |command| Envelope::new(Command::Redaction(id.clone(), command), metadata.clone());
        envelopes.extend(commands.into_iter().map(tell));
    }
    if !envelopes.is_empty() {
        tx.execute(envelopes).await?;
        enqueue(tx, REDACT, 0.0).await?;
    }
    tx.turn_to(old).await
}

/// The log of the shop that goes on says whose tokens it has taken over.
async fn tokens_again(tx: &mut ShopTx, at: DateTime<Utc>) -> Result<Vec<Envelope>, StoreError> {
    let shop = tx.shop();
    let good = sqlx::query!(
        r#"SELECT token_id, role AS "role!", expires_at FROM api_tokens
           WHERE shop_id = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
           ORDER BY created_at"#,
        shop.0,
    )
    .fetch_all(&mut **tx)
    .await?;
    let issue = |role, until, token: Uuid| {
        let said = Said { by: "redaction".to_owned(), reason: Some("taken over as the shop went on".to_owned()), at };
        let metadata = Metadata::from_source("command").with("actor", &*said.by);
        Envelope::new(Command::Token(token.to_string(), TokenCommand::Issue(Issued { role, until, said })), metadata)
    };
    Ok(good.into_iter().map(|token| issue(token.role, token.expires_at, token.token_id)).collect())
}

/// Of which tables an erased shop keeps nothing, and in which rows of theirs there is something. Its log stays.
const LET_GO: [(&str, &str); 13] = [
    ("daily_sales", "true"),
    ("daily_sales_at", "true"),
    ("directory", "true"),
    ("exports", "true"),
    ("inbox", "true"),
    ("inbox_subjects", "true"),
    ("order_list", "true"),
    ("sale_fact", "true"),
    ("shop_keys", "wrapped IS NOT NULL"),
    ("snapshots", "true"),
    ("subject_contacts", "true"),
    ("subject_keys", "wrapped IS NOT NULL"),
    ("subject_streams", "true"),
];

/// By how many rows there is something in these, where there is.
async fn rows_let_go(tx: &mut ShopTx) -> Result<Vec<(String, u64)>, StoreError> {
    let shop = tx.shop();
    let mut let_go = Vec::new();
    // Each has its own time: of a large shop, all in one would be too much for one statement.
    for (table, what) in LET_GO {
        let count = format!("SELECT count(*) FROM {table} WHERE shop_id = $1 AND {what}");
        let rows: i64 = sqlx::query_scalar(&count).bind(shop.0).fetch_one(&mut **tx).await?;
        if rows > 0 {
            let_go.push((table.to_owned(), rows.unsigned_abs()));
        }
    }
    Ok(let_go)
}

/// Lets go of all that is left of a shop whose key is destroyed, but for its log, a little at a time.
pub(crate) async fn sweep(database: &Database, shop: ShopId) -> Result<(), StoreError> {
    let names: Vec<String> = PROJECTIONS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let mut tx = database.begin(shop).await?;
    for statement in ["DELETE FROM live_generations", "DELETE FROM checkpoints"] {
        sqlx::query(&format!("{statement} WHERE shop_id = $1 AND projection = ANY ($2)"))
            .bind(shop.0)
            .bind(&names)
            .execute(&mut *tx)
            .await?;
    }
    tx.commit().await?;
    loop {
        let mut tx = database.begin(shop).await?;
        let mut gone = tx.sweep_shop(STEP).await?;
        for model in names.iter().filter_map(|name| projection(name)) {
            gone += model.delete(&mut tx, shop, STEP).await?;
        }
        tx.commit().await?;
        if gone == 0 {
            return Ok(());
        }
    }
}

/// Follows the shop's whole chain up to an erasure and looks for words on the way, and for rows that should be gone.
pub(crate) async fn look_at_shop(
    database: &Database,
    shop: ShopId,
    up_to: i64,
    mut search: Search,
) -> Result<Looked, StoreError> {
    let mut links = 0;
    let mut hash = event_store::GENESIS;
    let mut log = events(database, shop, 0, up_to);
    while let Some(event) = log.try_next().await? {
        links += 1;
        hash = event.link(shop).hash(&hash);
        if event.position != links || hash.as_slice() != event.hash {
            let what = "a link of an erased shop's log".to_owned();
            return Err(StoreError::BrokenChain { shop, position: links, what });
        }
        search.look_at_document(&event.payload);
        search.look_at_document(&event.metadata);
    }
    let mut tx = database.begin(shop).await?;
    let left: u64 = rows_let_go(&mut tx).await?.iter().map(|(_, rows)| rows).sum();
    tx.commit().await?;
    let found = search.found() as u64 + left;
    Ok(Looked { found, links: links.unsigned_abs(), sums_unchanged: None })
}
