//! Whom the inbox is about: so that bodies are found when somebody is erased, and let go when they come later.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use domain::{
    Command, Personal, Subject,
    compliance::ComplianceKind,
    document::DocumentCommand,
    redaction::{Redaction, RedactionCommand, Request},
};
use event_store::{Envelope, Metadata, SealedThing, ShopTx, StoreError, opened};
use serde_json::Value;
use shopify::persons;
use uuid::Uuid;
use vault::{ContactKey, ShopKey};

/// The kind of work that a redaction makes.
pub const REDACT: &str = "redact";

/// Leaves work of a kind for later, in the transaction that makes it.
///
/// # Errors
/// [`StoreError::Unavailable`].
pub async fn enqueue(tx: &mut ShopTx, kind: &str, in_s: f64) -> Result<(), StoreError> {
    let shop = tx.shop();
    sqlx::query!(
        "INSERT INTO work_queue (shop_id, kind, due_at) VALUES ($1, $2, now() + make_interval(secs => $3))",
        shop.0,
        kind,
        in_s,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// A request of Shopify's to erase a customer.
pub(crate) struct Asked {
    id: String,
    /// The history of the request.
    request: String,
    subjects: BTreeSet<Subject>,
    /// Where it names nobody by number.
    contacts: Vec<ContactKey>,
    /// What was odd about the delivery.
    note: Option<String>,
    at: DateTime<Utc>,
}

/// Takes such requests out of commands. By what they name the person they are not to be kept: sealed as the shop's own, it
/// would outlive whom it is of.
pub(crate) fn asked_redactions(key: &ShopKey, commands: &mut [Command], note: Option<&str>) -> Vec<Asked> {
    let mut asked = Vec::new();
    for command in commands {
        let Command::Compliance(request, DocumentCommand::Observe { version, value }) = command else { continue };
        if value.kind != ComplianceKind::CustomerRedaction {
            continue;
        }
        let mut subjects: BTreeSet<Subject> = value.orders.iter().copied().map(Subject::Order).collect();
        let mut contacts = Vec::new();
        if let Some(customer) = value.customer_id {
            subjects.insert(Subject::Customer(customer));
        } else if let Some(Personal::Clear(contact)) = value.contact.take() {
            contacts.extend(contact.email.as_deref().and_then(ContactKey::of_email));
            contacts.extend(contact.phone.as_deref().and_then(ContactKey::of_phone));
        }
        // Of the body: the same one again is the same redaction. Keyed: what the body says could be guessed.
        let id = hex::encode(key.pseudonym(&version.digest.0));
        let note = note.map(str::to_owned);
        asked.push(Asked { id, request: request.clone(), subjects, contacts, note, at: value.received_at });
    }
    asked
}

/// Asks for the redactions, due at once. One that names nobody by number, or came oddly, is held until somebody has looked:
/// addresses and numbers are shared, and what is erased cannot be had back. After the batch's other news, whose persons it
/// may be about.
pub(crate) async fn ask_redactions(tx: &mut ShopTx, key: &ShopKey, asked: Vec<Asked>) -> Result<(), StoreError> {
    if asked.is_empty() {
        return Ok(());
    }
    tx.lock_log().await?;
    tx.name_subjects().await?;
    let mut envelopes = Vec::new();
    for Asked { id, request, mut subjects, contacts, note, at } in asked {
        let known: Redaction = tx.load(&id).await?;
        if known.request.is_some() {
            continue;
        }
        let named_by_number = contacts.is_empty() && !subjects.is_empty();
        subjects.extend(tx.subjects_of_contacts(key, &contacts).await?);
        let hold = match note {
            Some(_) => Some("the delivery was odd: see that it is Shopify's request, then release or cancel"),
            None if subjects.is_empty() => Some("nobody is known by what it names: find who is meant, or cancel"),
            None if !named_by_number => {
                Some("named by address or number alone: see who is meant, then release or cancel")
            }
            None => None,
        };
        let by = || "webhook".to_owned();
        let metadata = Metadata::from_source("webhook").with("causation_id", &request);
        let mut tell = |command| {
            envelopes.push(Envelope::new(Command::Redaction(id.clone(), command), metadata.clone()));
        };
        tell(RedactionCommand::Request(Request {
            subjects: subjects.into_iter().collect(),
            reason: "customers/redact".to_owned(),
            by: by(),
            at,
            due_at: at,
            request: Some(request.clone()),
        }));
        if let Some(reason) = hold {
            tell(RedactionCommand::Hold { reason: reason.to_owned(), by: by(), at });
        }
    }
    tx.execute(envelopes).await?;
    enqueue(tx, REDACT, 0.0).await
}

/// Whom deliveries are about.
#[derive(Default)]
pub(crate) struct About {
    deliveries: Vec<Uuid>,
    named: Vec<(Uuid, String)>,
    subjects: BTreeSet<Subject>,
}

impl About {
    /// Reads one. A body that is no JSON is about nobody that could be told: it is opened again when somebody is erased.
    pub(crate) fn read(&mut self, key: &ShopKey, id: Uuid, topic: &str, body: &[u8]) {
        let Ok(json) = parsed(body) else { return };
        self.deliveries.push(id);
        for subject in persons(topic, &json) {
            self.named.push((id, subject.to_string()));
            self.subjects.insert(subject);
        }
        self.named.extend(contacts_in(key, &json).into_iter().map(|contact| (id, contact)));
    }

    /// Writes it down, and lets go at once of bodies that are about somebody redacted.
    pub(crate) async fn write(self, tx: &mut ShopTx) -> Result<(), StoreError> {
        if self.deliveries.is_empty() {
            return Ok(());
        }
        let shop = tx.shop();
        // Whoever erases somebody holds the log: what is settled meanwhile is seen by one of the two.
        tx.lock_log().await?;
        let redacted = tx.redacted_among(&self.subjects).await?;
        let of_redacted: BTreeSet<Uuid> = self
            .named
            .iter()
            .filter(|(_, name)| name.parse().is_ok_and(|subject: Subject| redacted.contains(&subject)))
            .map(|(id, _)| *id)
            .collect();
        // Earlier bodies may be of an order of which only this one says whose it is.
        let orders: Vec<String> = self
            .named
            .iter()
            .filter(|(id, name)| of_redacted.contains(id) && name.starts_with("order:"))
            .map(|(_, name)| name.clone())
            .collect();
        if !orders.is_empty() {
            let earlier = sqlx::query_scalar!(
                "SELECT DISTINCT inbox_id FROM inbox_subjects WHERE shop_id = $1 AND subject = ANY ($2)",
                shop.0,
                &orders,
            )
            .fetch_all(&mut **tx)
            .await?;
            let_go_of_bodies(tx, &earlier.into_iter().collect()).await?;
        }
        let kept: Vec<&(Uuid, String)> = self.named.iter().filter(|(id, _)| !of_redacted.contains(id)).collect();
        sqlx::query!(
            "WITH known AS (
                 UPDATE inbox SET subjects_known = true WHERE shop_id = $1 AND id = ANY ($2) AND id <> ALL ($5)
             ), gone AS (
                 UPDATE inbox SET subjects_known = true, body = NULL WHERE shop_id = $1 AND id = ANY ($5)
             )
             INSERT INTO inbox_subjects (shop_id, subject, inbox_id)
             SELECT $1, n.subject, n.id FROM UNNEST($3::uuid[], $4::text[]) AS n (id, subject)
             ON CONFLICT ON CONSTRAINT inbox_subjects_pkey DO NOTHING",
            shop.0,
            &self.deliveries,
            &kept.iter().map(|(id, _)| *id).collect::<Vec<_>>(),
            &kept.iter().map(|(_, name)| name.clone()).collect::<Vec<_>>(),
            &of_redacted.into_iter().collect::<Vec<_>>(),
        )
        .execute(&mut **tx)
        .await?;
        Ok(())
    }
}

/// As the translation reads it: a mark of the bytes' order may stand before it.
fn parsed(body: &[u8]) -> serde_json::Result<Value> {
    serde_json::from_slice(body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body))
}

/// As `inbox_subjects` names them.
fn contacts_in(key: &ShopKey, body: &Value) -> Vec<String> {
    ContactKey::all_in_json(body).iter().map(|contact| contact_name(&key.contact_digest(contact))).collect()
}

fn contact_name(digest: &[u8]) -> String {
    format!("contact:{}", hex::encode(digest))
}

/// The settled deliveries whose bodies are about some subjects, or name one of their addresses or numbers. Bodies of which
/// nobody has written down whom they are about are opened; those that are no JSON are searched for the words.
///
/// # Errors
/// [`StoreError`].
pub async fn find_bodies(
    tx: &mut ShopTx,
    key: &ShopKey,
    subjects: &BTreeSet<Subject>,
    contacts: &[Vec<u8>],
    words: &[String],
) -> Result<BTreeSet<Uuid>, StoreError> {
    const PAGE: i64 = 200;
    let shop = tx.shop();
    let own: Vec<String> = subjects.iter().map(Subject::to_string).collect();
    let shared: Vec<String> = contacts.iter().map(|digest| contact_name(digest)).collect();
    // An address or a number may be another's, too: a body that names another customer or order is theirs.
    let known = sqlx::query_scalar!(
        "SELECT DISTINCT s.inbox_id
         FROM inbox_subjects s
         JOIN inbox i ON i.shop_id = s.shop_id AND i.id = s.inbox_id AND i.body IS NOT NULL AND i.status <> 'pending'
         WHERE s.shop_id = $1
           AND (s.subject = ANY ($2)
                OR s.subject = ANY ($3) AND NOT EXISTS (
                    SELECT FROM inbox_subjects o
                    WHERE o.shop_id = $1 AND o.inbox_id = s.inbox_id AND o.subject NOT LIKE 'contact:%'))",
        shop.0,
        &own,
        &shared,
    )
    .fetch_all(&mut **tx)
    .await?;
    let mut found: BTreeSet<Uuid> = known.into_iter().collect();
    let mut after = Uuid::nil();
    loop {
        let page = sqlx::query!(
            r#"SELECT id, topic, body AS "body!"
               FROM inbox
               WHERE shop_id = $1 AND id > $2 AND body IS NOT NULL AND NOT subjects_known AND status <> 'pending'
               ORDER BY id
               LIMIT $3"#,
            shop.0,
            after,
            PAGE,
        )
        .fetch_all(&mut **tx)
        .await?;
        let Some(last) = page.last() else { break };
        after = last.id;
        for delivery in page {
            let body = opened(SealedThing::Body, key.body(delivery.id).open(&delivery.body));
            let Ok(body) = body else { continue };
            let is_about = match parsed(&body) {
                Ok(json) => {
                    let named = persons(&delivery.topic, &json);
                    named.iter().any(|subject| subjects.contains(subject))
                        || named.is_empty() && contacts_in(key, &json).iter().any(|contact| shared.contains(contact))
                }
                Err(_) => {
                    let text = String::from_utf8_lossy(&body).to_lowercase();
                    words.iter().any(|word| text.contains(&word.to_lowercase()))
                }
            };
            if is_about {
                found.insert(delivery.id);
            }
        }
    }
    Ok(found)
}

/// Lets go of deliveries' bodies, and of what they were found by.
///
/// # Errors
/// [`StoreError::Unavailable`].
pub async fn let_go_of_bodies(tx: &mut ShopTx, deliveries: &BTreeSet<Uuid>) -> Result<u64, StoreError> {
    let shop = tx.shop();
    let ids: Vec<Uuid> = deliveries.iter().copied().collect();
    let done = sqlx::query!(
        "WITH names AS (DELETE FROM inbox_subjects WHERE shop_id = $1 AND inbox_id = ANY ($2))
         UPDATE inbox SET body = NULL, subjects_known = true WHERE shop_id = $1 AND id = ANY ($2) AND body IS NOT NULL",
        shop.0,
        &ids,
    )
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected())
}
