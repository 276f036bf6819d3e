//! The erasure, in one transaction.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use domain::{
    Command, ShopId,
    customer::CustomerCommand,
    ids::{CustomerId, OrderId},
    order::OrderCommand,
    redaction::{Erased, Redaction, RedactionCommand, RedactionError, Request},
};
use event_store::{Database, Envelope, Metadata, ShopTx, StoreError};
use ingest::{find_bodies, let_go_of_bodies};
use serde_json::Value;

use crate::{Named, export::drop_exports, open, receipt::sums, shop::erase_shop};

/// Words shorter than this are anybody's.
const SHORTEST_WORD: usize = 4;

/// What was known before the erasure, and must not be found after it. Held in memory, and for as long as that takes.
pub struct Before {
    pub(crate) named: Named,
    pub(crate) words: Vec<String>,
    /// Of a person's orders.
    pub(crate) sums: Option<String>,
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
    let mut tx = database.begin(shop).await?;
    let redaction: Redaction = tx.load(id).await?;
    if redaction.request.as_ref().is_some_and(Request::is_of_shop) {
        tx.rollback().await?;
        return erase_shop(database, shop, id, now).await;
    }
    tx.lock_log().await?;
    let redaction: Redaction = tx.load(id).await?;
    if redaction.erased.is_some() {
        return Ok(None);
    }
    let request = redaction.request.ok_or_else(|| StoreError::Refused(Box::new(RedactionError::Unknown)))?;
    let Some(key) = tx.living_shop_key().await? else {
        // Erased with the shop.
        let erased = Erased { subjects: request.subjects, ..Erased::nothing(now) };
        write(&mut tx, id, erased, Vec::new()).await?;
        tx.commit().await?;
        return Ok(Some(Before { named: Named::default(), words: Vec::new(), sums: None }));
    };
    // What a release before this one appended is looked through first.
    tx.name_subjects().await?;

    let named = Named::of(&mut tx, request.subjects).await?;
    let held = open(&mut tx).await?.into_iter().filter(|(other, state)| other != id && state.is_legally_held());
    let mut held = held.flat_map(|(_, state)| state.request.into_iter().flat_map(|request| request.subjects));
    if held.any(|subject| named.subjects.contains(&subject)) {
        return Err(StoreError::Refused(Box::new(RedactionError::Held)));
    }
    let events = tx.events_of(&named.streams).await?;
    let values = ShopTx::values_of(&events, &named.subjects);
    let keys = tx.subject_keys(&key, &named.subjects).await?;
    let mut fields: BTreeMap<String, u64> = BTreeMap::new();
    let mut words = BTreeSet::new();
    for value in &values {
        if let Some(opened) = keys.get(&value.sealed.subject).and_then(|key| value.open(key).ok()) {
            *fields.entry(value.name.clone()).or_default() += 1;
            collect_words(&serde_json::from_slice(&opened).unwrap_or_default(), &mut words);
        }
    }
    let words: Vec<String> = words.into_iter().collect();
    let contacts = tx.contacts_of(&named.subjects).await?;
    let bodies = find_bodies(&mut tx, &key, &named.subjects, &contacts, Some(&words)).await?;
    let bodies = let_go_of_bodies(&mut tx, &bodies).await?;
    let (head, _) = tx.head().await?;
    let before = Before { sums: Some(sums(&mut tx, &named, head).await?), words, named };

    let destroyed = tx.destroy_subjects(&before.named.subjects, &before.named.streams).await?;
    let erased = Erased {
        subjects: before.named.subjects.iter().copied().collect(),
        keys: destroyed.unsigned_abs(),
        streams: before.named.streams.len() as u64,
        values: fields.values().sum(),
        fields: fields.into_iter().collect(),
        bodies,
        contacts: contacts.len() as u64,
        ..Erased::nothing(now)
    };
    let mut commands: Vec<Command> =
        before.named.streams.iter().filter_map(|(kind, stream)| tombstone(kind, stream, id)).collect();
    commands.extend(drop_exports(&mut tx, &before.named.subjects, now).await?);
    write(&mut tx, id, erased, commands).await?;
    tx.commit().await?;
    Ok(Some(before))
}

/// Appends what was erased, behind the tombstones: its hash stands for all of it.
pub(crate) async fn write(
    tx: &mut ShopTx,
    id: &str,
    erased: Erased,
    mut commands: Vec<Command>,
) -> Result<(), StoreError> {
    let metadata = Metadata::from_source("command").with("actor", "redaction").with("causation_id", id);
    commands.push(Command::Redaction(id.to_owned(), RedactionCommand::Erase(erased)));
    tx.execute(commands.into_iter().map(|command| Envelope::new(command, metadata.clone())).collect()).await?;
    Ok(())
}

fn tombstone(kind: &str, stream: &str, redaction: &str) -> Option<Command> {
    let number = stream.parse().ok()?;
    let redaction = redaction.to_owned();
    match kind {
        "customer" => Some(Command::Customer(CustomerId(number), CustomerCommand::Redact { redaction })),
        "order" => Some(Command::Order(OrderId(number), OrderCommand::Redact { redaction })),
        _ => None,
    }
}

/// The texts of a personal value.
pub(crate) fn collect_words(value: &Value, words: &mut BTreeSet<String>) {
    match value {
        Value::String(text) if text.chars().count() >= SHORTEST_WORD => drop(words.insert(text.clone())),
        Value::Array(members) => members.iter().for_each(|member| collect_words(member, words)),
        Value::Object(members) => {
            // Of a custom line: the shop's own, which stand elsewhere in the clear.
            let of_person = members.iter().filter(|(name, _)| !matches!(name.as_str(), "vendor" | "sku"));
            of_person.for_each(|(_, member)| collect_words(member, words));
        }
        _ => {}
    }
}
