//! Whom the inbox is about: so that bodies are found when somebody is erased, and let go when they come later.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use domain::{
    ShopId, Subject,
    ids::{CustomerId, OrderId},
};
use event_store::{Database, SealedThing, ShopTx, StoreError, opened};
use serde_json::Value;
use shopify::{ORDER_DOCUMENT, buyer_of, is_of_order, persons, persons_in_text, text_of};
use uuid::Uuid;
use vault::{ContactKey, ShopKey};

use crate::requests::ask_for_orders_of;

/// Whom deliveries are about.
#[derive(Default)]
pub(crate) struct About {
    deliveries: Vec<Uuid>,
    named: Vec<(Uuid, String)>,
    subjects: BTreeSet<Subject>,
    /// Those that are no JSON, with whom they could be about.
    unread: Vec<(Uuid, BTreeSet<Subject>)>,
    /// Orders and their buyers, as bodies have them.
    buyers: BTreeSet<(OrderId, CustomerId)>,
}

impl About {
    /// Reads one. A body that is no JSON is about nobody that could be told: it is let go if it could be about somebody redacted,
    /// and otherwise opened again when somebody is erased.
    pub(crate) fn read(&mut self, key: &ShopKey, id: Uuid, topic: &str, body: &[u8]) {
        let Ok(json) = parsed(body) else {
            let could_be = persons_in_text(&text_of(body));
            self.subjects.extend(could_be.iter().copied());
            return self.unread.push((id, could_be));
        };
        self.deliveries.push(id);
        self.buyers.extend(buyer_of(topic, &json));
        for subject in persons(topic, &json) {
            self.named.push((id, subject.to_string()));
            self.subjects.insert(subject);
        }
        self.named.extend(contacts_in(key, &json).into_iter().map(|contact| (id, contact)));
    }

    /// Writes it down, and lets go at once of bodies that are about somebody redacted.
    pub(crate) async fn write(self, tx: &mut ShopTx, key: &ShopKey) -> Result<(), StoreError> {
        if self.deliveries.is_empty() && self.unread.is_empty() {
            return Ok(());
        }
        let shop = tx.shop();
        // Whoever erases somebody holds the log: what is settled meanwhile is seen by one of the two.
        tx.lock_log().await?;
        let redacted = tx.redacted_among(&self.subjects).await?;
        ask_for_orders_of(tx, key, &self.buyers, &redacted).await?;
        let mut of_redacted: BTreeSet<Uuid> = self
            .named
            .iter()
            .filter(|(_, name)| name.parse().is_ok_and(|subject: Subject| redacted.contains(&subject)))
            .map(|(id, _)| *id)
            .collect();
        of_redacted
            .extend(self.unread.iter().filter(|(_, could_be)| !could_be.is_disjoint(&redacted)).map(|(id, _)| *id));
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

/// The deliveries that are known to be about some subjects, and whose bodies are still there.
///
/// # Errors
/// [`StoreError::Unavailable`].
pub async fn bodies_of(tx: &mut ShopTx, subjects: &BTreeSet<Subject>) -> Result<BTreeSet<Uuid>, StoreError> {
    let shop = tx.shop();
    let known = sqlx::query_scalar!(
        "SELECT DISTINCT s.inbox_id
         FROM inbox_subjects s
         JOIN inbox i ON i.shop_id = s.shop_id AND i.id = s.inbox_id AND i.body IS NOT NULL
         WHERE s.shop_id = $1 AND s.subject = ANY ($2)",
        shop.0,
        &subjects.iter().map(Subject::to_string).collect::<Vec<_>>(),
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(known.into_iter().collect())
}

/// The deliveries, settled or put off, whose bodies are about some subjects, or name one of their addresses or numbers. Bodies of which
/// nobody has written down whom they are about are opened, one at a time. Of those that are no JSON it is asked whether they say
/// something of theirs, or could name them: one too many may be found of these, and none without `says`.
///
/// # Errors
/// [`StoreError`].
pub async fn find_bodies(
    tx: &mut ShopTx,
    key: &ShopKey,
    subjects: &BTreeSet<Subject>,
    contacts: &[Vec<u8>],
    says: Option<&(dyn Fn(&str) -> bool + Sync)>,
) -> Result<BTreeSet<Uuid>, StoreError> {
    let shop = tx.shop();
    let mut found = bodies_of(tx, subjects).await?;
    let shared: Vec<String> = contacts.iter().map(|digest| contact_name(digest)).collect();
    // An address or a number may be another's, too: a body that names another customer or order is theirs.
    let by_contact = sqlx::query_scalar!(
        "SELECT DISTINCT s.inbox_id
         FROM inbox_subjects s
         JOIN inbox i ON i.shop_id = s.shop_id AND i.id = s.inbox_id AND i.body IS NOT NULL
         WHERE s.shop_id = $1 AND s.subject = ANY ($2)
           AND NOT EXISTS (
               SELECT FROM inbox_subjects o
               WHERE o.shop_id = $1 AND o.inbox_id = s.inbox_id AND o.subject NOT LIKE 'contact:%')",
        shop.0,
        &shared,
    )
    .fetch_all(&mut **tx)
    .await?;
    found.extend(by_contact);
    let mut after = Uuid::nil();
    loop {
        let page = to_open(tx, after).await?;
        let Some((last, _)) = page.last() else { return Ok(found) };
        after = *last;
        for (id, topic) in page {
            let Some(body) = open_body(tx, key, id).await? else { continue };
            let is_about = match parsed(&body) {
                Ok(json) => {
                    let named = persons(&topic, &json);
                    named.iter().any(|subject| subjects.contains(subject))
                        || named.is_empty() && contacts_in(key, &json).iter().any(|contact| shared.contains(contact))
                }
                Err(_) => says.is_some_and(|says| {
                    let text = text_of(&body);
                    says(&text) || !persons_in_text(&text).is_disjoint(subjects)
                }),
            };
            if is_about {
                found.insert(id);
            }
        }
    }
}

/// Writes down whom settled bodies are about that a release before this one took in, a little at a time: so that they are opened
/// once, and not each time that somebody is erased.
///
/// # Errors
/// [`StoreError`].
pub async fn name_bodies(database: &Database, shop: ShopId) -> Result<(), StoreError> {
    let mut after = Uuid::nil();
    loop {
        let mut tx = database.begin(shop).await?;
        let Some(key) = tx.living_shop_key().await? else { return Ok(()) };
        let page = to_open(&mut tx, after).await?;
        let Some((last, _)) = page.last() else { return tx.commit().await };
        after = *last;
        let mut about = About::default();
        for (id, topic) in page {
            if let Some(body) = open_body(&mut tx, &key, id).await? {
                about.read(&key, id, &topic, &body);
            }
        }
        about.write(&mut tx, &key).await?;
        tx.commit().await?;
    }
}

/// How many rows say whom these deliveries are about.
///
/// # Errors
/// [`StoreError::Unavailable`].
pub async fn names_of_bodies(tx: &mut ShopTx, deliveries: &BTreeSet<Uuid>) -> Result<u64, StoreError> {
    let shop = tx.shop();
    let rows = sqlx::query_scalar!(
        r#"SELECT count(*) AS "rows!" FROM inbox_subjects WHERE shop_id = $1 AND inbox_id = ANY ($2)"#,
        shop.0,
        &deliveries.iter().copied().collect::<Vec<_>>(),
    );
    Ok(rows.fetch_one(&mut **tx).await?.unsigned_abs())
}

/// Orders that bodies name some customers as the buyers of, of which nothing became an event.
///
/// # Errors
/// [`StoreError`].
pub async fn orders_in_untold_bodies(
    tx: &mut ShopTx,
    key: &ShopKey,
    customers: &BTreeSet<Subject>,
) -> Result<BTreeSet<OrderId>, StoreError> {
    let shop = tx.shop();
    let mut untold: Vec<(Uuid, String)> = sqlx::query!(
        "SELECT DISTINCT i.id, i.topic
         FROM inbox_subjects s
         JOIN inbox i ON i.shop_id = s.shop_id AND i.id = s.inbox_id
         WHERE s.shop_id = $1 AND s.subject = ANY ($2) AND i.status <> 'translated' AND i.body IS NOT NULL
           AND (i.topic LIKE 'orders/%' OR i.topic = $3)",
        shop.0,
        &customers.iter().map(Subject::to_string).collect::<Vec<_>>(),
        ORDER_DOCUMENT,
    )
    .fetch_all(&mut **tx)
    .await?
    .into_iter()
    .map(|row| (row.id, row.topic))
    .collect();
    let mut after = Uuid::nil();
    loop {
        let page = to_open(tx, after).await?;
        let Some((last, _)) = page.last() else { break };
        after = *last;
        untold.extend(page.into_iter().filter(|(_, topic)| is_of_order(topic)));
    }
    let mut orders = BTreeSet::new();
    for (id, topic) in untold {
        let Some(body) = open_body(tx, key, id).await? else { continue };
        let buyer = parsed(&body).ok().and_then(|body| buyer_of(&topic, &body));
        orders.extend(
            buyer.filter(|(_, customer)| customers.contains(&Subject::Customer(*customer))).map(|(order, _)| order),
        );
    }
    Ok(orders)
}

/// Some of the deliveries whose bodies must be opened to know whom they are about, each with its topic.
async fn to_open(tx: &mut ShopTx, after: Uuid) -> Result<Vec<(Uuid, String)>, StoreError> {
    const PAGE: i64 = 200;
    let shop = tx.shop();
    let page = sqlx::query!(
        "SELECT id, topic
         FROM inbox
         WHERE shop_id = $1 AND id > $2 AND body IS NOT NULL AND NOT subjects_known
           AND (status <> 'pending' OR attempts > 0)
         ORDER BY id
         LIMIT $3",
        shop.0,
        after,
        PAGE,
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(page.into_iter().map(|row| (row.id, row.topic)).collect())
}

/// `None` where it is gone, or does not open.
async fn open_body(tx: &mut ShopTx, key: &ShopKey, id: Uuid) -> Result<Option<Vec<u8>>, StoreError> {
    let shop = tx.shop();
    let body = sqlx::query_scalar!("SELECT body FROM inbox WHERE shop_id = $1 AND id = $2", shop.0, id);
    let body = body.fetch_optional(&mut **tx).await?.flatten();
    Ok(body.and_then(|sealed| opened(SealedThing::Body, key.body(id).open(&sealed)).ok()))
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
