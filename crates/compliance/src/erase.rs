//! The erasure. What is the person's is read beforehand, some histories at a time; the keys go in one transaction under the log's
//! lock, which is as short as it can be; and what is left to do of it then is done in steps.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use domain::{
    Command, ShopId, Subject,
    customer::CustomerCommand,
    document::DocumentCommand,
    ids::{CheckoutId, CustomerId, DraftOrderId, OrderId},
    order::OrderCommand,
    redaction::{Erased, Redaction, RedactionCommand, RedactionError, Request},
};
use event_store::{Database, Envelope, Metadata, ShopTx, StoreError, StoredEvent, Streams, name_subjects_by_and_by};
use ingest::{bodies_of, find_bodies, let_go_of_bodies, name_bodies, names_of_bodies};
use uuid::Uuid;
use vault::SubjectKey;

use crate::{
    LegalHolds, Named,
    export::drop_exports,
    ledger::Ledger,
    search::{Search, Words},
    shop::erase_shop,
};

/// Histories that are read, or told of the erasure, in one transaction.
const HISTORIES: usize = 50;
/// Bodies that are let go in one transaction.
const BODIES: usize = 500;
/// Events that are read at a time under the lock.
const PAGE: i64 = 200;

/// What was known before the erasure, and must not be found after it. Held in memory, and for as long as that takes.
#[derive(Default)]
pub struct Before {
    pub(crate) words: Words,
    /// Of a person's orders.
    pub(crate) ledger: Option<Ledger>,
    /// Deliveries whose bodies are let go.
    pub(crate) deliveries: BTreeSet<Uuid>,
}

/// Destroys the keys of a redaction's subjects, or the shop's, if it is due. `None`: another one did it meanwhile.
///
/// # Errors
/// [`StoreError::Refused`] when it is not, or [`StoreError`]: nothing is done then.
pub async fn erase(
    database: &Database,
    shop: ShopId,
    id: &str,
    now: DateTime<Utc>,
) -> Result<Option<Before>, StoreError> {
    erase_with(database, shop, id, &[], now).await
}

/// The same with others whom the log does not know to be meant.
pub(crate) async fn erase_with(
    database: &Database,
    shop: ShopId,
    id: &str,
    others: &[Subject],
    now: DateTime<Utc>,
) -> Result<Option<Before>, StoreError> {
    let mut tx = database.begin(shop).await?;
    let redaction: Redaction = tx.load(id).await?;
    tx.rollback().await?;
    let Some(mut request) = redaction.request else {
        return Err(StoreError::Refused(Box::new(RedactionError::Unknown)));
    };
    if request.is_of_shop() {
        return erase_shop(database, shop, id, now).await;
    }
    request.subjects.extend(others);
    let mut seen = look(database, shop, &request).await?;

    let mut tx = database.begin(shop).await?;
    tx.lock_log().await?;
    let redaction: Redaction = tx.load(id).await?;
    if redaction.erased.is_some() {
        return Ok(None);
    }
    let Some(key) = tx.living_shop_key().await? else {
        // Erased with the shop.
        let erased = Erased { subjects: request.subjects, ..Erased::nothing(now) };
        write(&mut tx, id, erased, Vec::new()).await?;
        tx.commit().await?;
        return Ok(Some(Before::default()));
    };
    tx.name_subjects().await?;
    let named = Named::of(&mut tx, request.subjects).await?;
    if LegalHolds::of(&mut tx).await?.against(id, &named.subjects).is_some() {
        return Err(StoreError::Refused(Box::new(RedactionError::Held)));
    }
    seen.catch_up(&mut tx, named).await?;

    let Seen { named, words, ledger, fields, .. } = seen;
    let contacts = tx.contacts_of(&named.subjects).await?;
    let deliveries = find_bodies(&mut tx, &key, &named.subjects, &contacts, Some(&Search::on_demand(&words))).await?;
    // The others are found again by whom they name: they go in steps.
    let theirs = bodies_of(&mut tx, &named.subjects).await?;
    let contact_rows = tx.contact_rows_of(&named.subjects).await?;
    let names = names_of_bodies(&mut tx, &deliveries).await?;
    let_go_of_bodies(&mut tx, &deliveries.difference(&theirs).copied().collect()).await?;
    let (keys, snapshots) = tx.destroy_subjects(&named.subjects, &named.streams).await?;
    let (gone, exports) = drop_exports(&mut tx, &named.subjects, now).await?;
    let (bodies, contacts) = (deliveries.len() as u64, contacts.len() as u64);
    let tables = [
        ("exports", exports),
        ("inbox", bodies),
        ("inbox_subjects", names),
        ("snapshots", snapshots),
        ("subject_contacts", contact_rows),
        ("subject_keys", keys),
    ];
    let erased = Erased {
        subjects: named.subjects.iter().copied().collect(),
        keys,
        streams: named.streams.len() as u64,
        histories: named.streams.iter().map(|(kind, id)| format!("{kind}:{id}")).collect(),
        tables: tables
            .into_iter()
            .filter(|(_, rows)| *rows > 0)
            .map(|(table, rows)| (table.to_owned(), rows))
            .collect(),
        values: fields.values().sum(),
        fields: fields.into_iter().collect(),
        bodies,
        contacts,
        ..Erased::nothing(now)
    };
    write(&mut tx, id, erased, gone).await?;
    tx.commit().await?;
    Ok(Some(Before { words, ledger, deliveries }))
}

/// What follows from an erasure, in steps: a tombstone for each history, and the end of the bodies. Doing it twice is doing it once.
pub(crate) async fn follow_up(
    database: &Database,
    shop: ShopId,
    id: &str,
    erased: &Erased,
) -> Result<Named, StoreError> {
    let mut tx = database.begin(shop).await?;
    if tx.living_shop_key().await?.is_none() {
        return Ok(Named::default()); // all of it went with the shop
    }
    let named = Named::of(&mut tx, erased.subjects.iter().copied()).await?;
    let theirs: Vec<Uuid> = bodies_of(&mut tx, &named.subjects).await?.into_iter().collect();
    tx.commit().await?;
    for bodies in theirs.chunks(BODIES) {
        let mut tx = database.begin(shop).await?;
        let_go_of_bodies(&mut tx, &bodies.iter().copied().collect()).await?;
        tx.commit().await?;
    }
    for (kind, ids) in in_steps(&named.streams) {
        let tombstones: Vec<Command> = ids.iter().filter_map(|stream| tombstone(kind, stream, id)).collect();
        if !tombstones.is_empty() {
            let mut tx = database.begin(shop).await?;
            tell(&mut tx, id, tombstones).await?;
            tx.commit().await?;
        }
    }
    Ok(named)
}

/// The histories, by type, so many at a time.
pub(crate) fn in_steps(streams: &Streams) -> Vec<(&str, Vec<String>)> {
    let mut steps: Vec<(&str, Vec<String>)> = Vec::new();
    for (kind, id) in streams {
        match steps.last_mut() {
            Some((last, ids)) if last == kind && ids.len() < HISTORIES => ids.push(id.clone()),
            _ => steps.push((kind, vec![id.clone()])),
        }
    }
    steps
}

/// What was read of a person.
#[derive(Default)]
struct Seen {
    named: Named,
    words: Words,
    ledger: Option<Ledger>,
    /// Up to this position of the log.
    up_to: i64,
    /// By how many values of each there are.
    fields: BTreeMap<String, u64>,
}

/// Reads all that is the person's, while others write.
async fn look(database: &Database, shop: ShopId, request: &Request) -> Result<Seen, StoreError> {
    // What a release before this one appended, or took in.
    name_subjects_by_and_by(database, shop).await?;
    let mut tx = database.begin_reading(shop).await?;
    let Some(key) = tx.living_shop_key().await? else { return Ok(Seen::default()) };
    let named = Named::of(&mut tx, request.subjects.iter().copied()).await?;
    let (up_to, _) = tx.head().await?;
    let ledger = Some(Ledger::live(&mut tx).await?);
    let keys = tx.subject_keys(&key, &named.subjects).await?;
    tx.commit().await?;
    name_bodies(database, shop).await?;
    let mut seen = Seen { named: named.clone(), ledger, up_to, ..Seen::default() };
    for (kind, ids) in in_steps(&named.streams) {
        let mut tx = database.begin(shop).await?;
        seen.read(&mut tx, &keys, (kind, &ids), up_to).await?;
        tx.commit().await?;
    }
    Ok(seen)
}

impl Seen {
    async fn read(
        &mut self,
        tx: &mut ShopTx,
        keys: &BTreeMap<Subject, SubjectKey>,
        (kind, ids): (&str, &[String]),
        up_to: i64,
    ) -> Result<(), StoreError> {
        let mut positions = Vec::new();
        tx.each_event_of((kind, ids), (0, up_to), |event, _| {
            positions.push(event.position);
            self.take(&event, keys);
            Ok(())
        })
        .await?;
        match &mut self.ledger {
            Some(ledger) if kind == "order" => ledger.add(tx, &positions, &BTreeSet::new(), |_| {}).await,
            _ => Ok(()),
        }
    }

    fn take(&mut self, event: &StoredEvent, keys: &BTreeMap<Subject, SubjectKey>) {
        for value in ShopTx::values_of(std::slice::from_ref(event), &self.named.subjects) {
            if let Some(opened) = keys.get(&value.sealed.subject).and_then(|key| value.open(key).ok()) {
                *self.fields.entry(value.name.clone()).or_default() += 1;
                self.words.collect(&serde_json::from_slice(&opened).unwrap_or_default());
            }
        }
    }

    /// Reads what was written meanwhile, and what is theirs only since. Under the log's lock.
    async fn catch_up(&mut self, tx: &mut ShopTx, named: Named) -> Result<(), StoreError> {
        let before = std::mem::replace(&mut self.named, named.clone());
        let mut news = Vec::new();
        loop {
            let page = tx.events_after(self.up_to, PAGE).await?.rows;
            let Some(last) = page.last() else { break };
            self.up_to = last.position;
            let is_theirs = |event: &StoredEvent| {
                before.streams.contains(&(event.aggregate_type.clone(), event.aggregate_id.clone()))
            };
            news.extend(page.into_iter().filter(is_theirs));
        }
        let others: Streams = named.streams.difference(&before.streams).cloned().collect();
        if news.is_empty() && others.is_empty() {
            return Ok(());
        }
        let Some(key) = tx.living_shop_key().await? else { return Ok(()) };
        let keys = tx.subject_keys(&key, &named.subjects).await?;
        news.iter().for_each(|event| self.take(event, &keys));
        for (kind, ids) in in_steps(&others) {
            self.read(tx, &keys, (kind, &ids), i64::MAX).await?;
        }
        Ok(())
    }
}

/// Appends what was erased, behind what goes with it.
pub(crate) async fn write(
    tx: &mut ShopTx,
    id: &str,
    erased: Erased,
    mut commands: Vec<Command>,
) -> Result<(), StoreError> {
    commands.push(Command::Redaction(id.to_owned(), RedactionCommand::Erase(erased)));
    tell(tx, id, commands).await
}

/// Appends what an erasure comes to.
async fn tell(tx: &mut ShopTx, id: &str, commands: Vec<Command>) -> Result<(), StoreError> {
    let metadata = Metadata::from_source("command").with("actor", "redaction").with("causation_id", id);
    tx.execute(commands.into_iter().map(|command| Envelope::new(command, metadata.clone())).collect()).await?;
    Ok(())
}

fn tombstone(kind: &str, stream: &str, redaction: &str) -> Option<Command> {
    let redaction = redaction.to_owned();
    let number = || stream.parse().ok();
    match kind {
        "customer" => Some(Command::Customer(CustomerId(number()?), CustomerCommand::Redact { redaction })),
        "order" => Some(Command::Order(OrderId(number()?), OrderCommand::Redact { redaction })),
        "checkout" => Some(Command::Checkout(CheckoutId(number()?), DocumentCommand::Redact { redaction })),
        "draft_order" => Some(Command::DraftOrder(DraftOrderId(number()?), DocumentCommand::Redact { redaction })),
        "compliance_request" => Some(Command::Compliance(stream.to_owned(), DocumentCommand::Redact { redaction })),
        // The others name nobody but the shop, or say themselves what was done.
        _ => None,
    }
}
