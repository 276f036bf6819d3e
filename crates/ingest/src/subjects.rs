//! Whom the inbox is about: so that bodies are found when somebody is erased, and let go when they come later.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use domain::Subject;
use event_store::{Page, SealedThing, ShopTx, StoreError, opened};
use serde_json::Value;
use shopify::persons;
use uuid::Uuid;
use vault::{ContactKey, ShopKey};

/// Bodies that are in memory at once: so many, and about so many bytes.
pub(crate) const PAGE: i64 = 200;
pub(crate) const PAGE_BYTES: usize = 4 << 20;

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

struct SealedBody {
    id: Uuid,
    topic: String,
    body: Vec<u8>,
}

/// The deliveries, settled or put off, whose bodies are about some subjects, or name one of their addresses or numbers. Bodies of which
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
    let shop = tx.shop();
    let own: Vec<String> = subjects.iter().map(Subject::to_string).collect();
    let shared: Vec<String> = contacts.iter().map(|digest| contact_name(digest)).collect();
    // An address or a number may be another's, too: a body that names another customer or order is theirs.
    let known = sqlx::query_scalar!(
        "SELECT DISTINCT s.inbox_id
         FROM inbox_subjects s
         JOIN inbox i ON i.shop_id = s.shop_id AND i.id = s.inbox_id AND i.body IS NOT NULL
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
        let mut page = Page::of_at_most(PAGE, PAGE_BYTES);
        while let Some(count) = page.wants() {
            let deliveries = sqlx::query_as!(
                SealedBody,
                r#"SELECT id, topic, body AS "body!"
                   FROM inbox
                   WHERE shop_id = $1 AND id > $2 AND body IS NOT NULL AND NOT subjects_known
                     AND (status <> 'pending' OR attempts > 0)
                   ORDER BY id
                   LIMIT $3"#,
                shop.0,
                page.rows.last().map_or(after, |last: &SealedBody| last.id),
                count,
            );
            page.take(count, deliveries.fetch(&mut **tx), |delivery| delivery.body.len()).await?;
        }
        let Some(last) = page.rows.last() else { break };
        after = last.id;
        for delivery in page.rows {
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

/// A delivery and its body, as it came.
pub struct OpenedBody {
    /// `orders/create` …
    pub topic: String,
    /// When.
    pub received_at: DateTime<Utc>,
    /// As text where it is no JSON.
    pub body: Value,
}

/// The bodies of deliveries, in the order in which they came.
///
/// # Errors
/// [`StoreError`].
pub async fn open_bodies(
    tx: &mut ShopTx,
    key: &ShopKey,
    deliveries: &BTreeSet<Uuid>,
) -> Result<Vec<OpenedBody>, StoreError> {
    let shop = tx.shop();
    let ids: Vec<Uuid> = deliveries.iter().copied().collect();
    let rows = sqlx::query!(
        r#"SELECT id, topic, received_at, body AS "body!"
           FROM inbox
           WHERE shop_id = $1 AND id = ANY ($2) AND body IS NOT NULL
           ORDER BY received_at, id"#,
        shop.0,
        &ids,
    )
    .fetch_all(&mut **tx)
    .await?;
    let open = |row: &[u8], id| key.body(id).open(row).map_err(|error| StoreError::Keys(shop, error));
    rows.into_iter()
        .map(|row| {
            let body = open(&row.body, row.id)?;
            let body = parsed(&body).unwrap_or_else(|_| String::from_utf8_lossy(&body).into());
            Ok(OpenedBody { topic: row.topic, received_at: row.received_at, body })
        })
        .collect()
}

/// Lets go of deliveries' bodies, and of what they were found by. One that was put off is a dead letter then.
///
/// # Errors
/// [`StoreError::Unavailable`].
pub async fn let_go_of_bodies(tx: &mut ShopTx, deliveries: &BTreeSet<Uuid>) -> Result<u64, StoreError> {
    let shop = tx.shop();
    let ids: Vec<Uuid> = deliveries.iter().copied().collect();
    let done = sqlx::query!(
        "WITH names AS (DELETE FROM inbox_subjects WHERE shop_id = $1 AND inbox_id = ANY ($2))
         UPDATE inbox
         SET body = NULL, subjects_known = true, settled_at = COALESCE(settled_at, now()),
             reason = CASE WHEN status = 'pending' THEN 'it is about somebody who was erased' ELSE reason END,
             status = CASE WHEN status = 'pending' THEN 'dead' ELSE status END
         WHERE shop_id = $1 AND id = ANY ($2) AND body IS NOT NULL",
        shop.0,
        &ids,
    )
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected())
}
