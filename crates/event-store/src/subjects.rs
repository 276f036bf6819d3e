//! Where persons stand in a shop's log, by what they are found, and the end of their keys.

use std::collections::{BTreeMap, BTreeSet};

use domain::{Field, Sealed, ShopId, Subject};
use futures::TryStreamExt;
use serde_json::Value;
use vault::{ContactKey, ShopKey, SubjectKey, VaultError};

use crate::{
    Database, ShopTx, StoreError, StoredEvent,
    metrics::{SealedThing, opened as count_opened},
};

/// Events that are looked through at a time.
const PAGE: i64 = 1000;

/// Histories that persons stand in, each by type and id.
pub type Streams = BTreeSet<(String, String)>;

/// A sealed value of an event.
pub struct SealedValue {
    /// Of the event.
    pub position: i64,
    /// The key under which it stands in the event's payload.
    pub name: String,
    /// As stored.
    pub sealed: Sealed,
}

impl SealedValue {
    /// Of an event's payload, at whatever depth.
    fn all_in(event: &StoredEvent) -> Vec<Self> {
        let mut found = Vec::new();
        if let Ok(payload) = serde_json::from_str(&event.payload) {
            collect(&payload, "", event.position, &mut found);
        }
        found
    }

    /// What it says, as JSON.
    ///
    /// # Errors
    /// [`VaultError::DoesNotOpen`] when it is not this key's.
    pub fn open(&self, key: &SubjectKey) -> Result<Vec<u8>, VaultError> {
        open_sealed(&self.sealed, key)
    }
}

/// What a sealed value says, as JSON.
///
/// # Errors
/// [`VaultError::DoesNotOpen`] when it is not this key's.
pub fn open_sealed(sealed: &Sealed, key: &SubjectKey) -> Result<Vec<u8>, VaultError> {
    // Which field it was sealed for does not stand beside it: it opens as one of them only.
    let opened = Field::ALL.iter().find_map(|field| key.open(field.name(), sealed).ok());
    count_opened(SealedThing::Value, opened.ok_or(VaultError::DoesNotOpen))
}

/// The sealed value that a part of a payload is, if it is one.
#[must_use]
pub fn as_sealed(part: &Value) -> Option<Sealed> {
    let members = part.as_object().filter(|members| members.len() == 2)?;
    let subject = members.get("by")?.as_str()?.parse().ok()?;
    Some(Sealed { subject, bytes: members.get("sealed")?.as_str()?.to_owned() })
}

fn collect(value: &Value, name: &str, position: i64, found: &mut Vec<SealedValue>) {
    if let Some(sealed) = as_sealed(value) {
        found.push(SealedValue { position, name: name.to_owned(), sealed });
        return;
    }
    match value {
        Value::Object(members) => members.iter().for_each(|(name, value)| collect(value, name, position, found)),
        Value::Array(members) => members.iter().for_each(|member| collect(member, name, position, found)),
        _ => {}
    }
}

impl ShopTx {
    /// Keeps others from writing to the shop's log before the transaction ends.
    ///
    /// # Errors
    /// [`StoreError::NoSuchShop`] or [`StoreError::Unavailable`].
    pub async fn lock_log(&mut self) -> Result<(), StoreError> {
        let shop = self.shop();
        let head = sqlx::query_scalar!("SELECT position FROM heads WHERE shop_id = $1 FOR NO KEY UPDATE", shop.0);
        head.fetch_optional(&mut **self).await?.map(|_| ()).ok_or(StoreError::NoSuchShop(shop))
    }

    /// Notes whom the events are about that a release appended which did not note it. Under the log's lock; of a long log, after
    /// [`name_subjects_by_and_by`].
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn name_subjects(&mut self) -> Result<(), StoreError> {
        while self.name_more_subjects().await? {}
        Ok(())
    }

    /// The next so many of them; `false` once there are none.
    async fn name_more_subjects(&mut self) -> Result<bool, StoreError> {
        let shop = self.shop();
        let from = sqlx::query_scalar!("SELECT subjects_position FROM heads WHERE shop_id = $1", shop.0)
            .fetch_optional(&mut **self)
            .await?
            .ok_or(StoreError::NoSuchShop(shop))?;
        let events = self.events_after(from, PAGE).await?.rows;
        let Some(position) = events.last().map(|last| last.position) else { return Ok(false) };
        if let Some(key) = self.living_shop_key().await? {
            let mut named = BTreeSet::new();
            let mut values = Vec::new();
            for event in &events {
                for value in SealedValue::all_in(event) {
                    if value.sealed.subject != Subject::Shop {
                        let stream = (event.aggregate_type.clone(), event.aggregate_id.clone());
                        named.insert((value.sealed.subject, stream));
                        values.push(value);
                    }
                }
            }
            let subjects: BTreeSet<Subject> = named.iter().map(|(subject, _)| *subject).collect();
            let keys = self.subject_keys(&key, &subjects).await?;
            let mut contacts = BTreeSet::new();
            for value in &values {
                let opened = keys.get(&value.sealed.subject).and_then(|key| value.open(key).ok());
                for contact in opened.iter().flat_map(|json| ContactKey::all_in(json)) {
                    contacts.insert((key.contact_digest(&contact), value.sealed.subject));
                }
            }
            self.write_named(&named, &contacts).await?;
        }
        sqlx::query!("UPDATE heads SET subjects_position = $2 WHERE shop_id = $1", shop.0, position)
            .execute(&mut **self)
            .await?;
        Ok(true)
    }

    async fn write_named(
        &mut self,
        named: &BTreeSet<(Subject, (String, String))>,
        contacts: &BTreeSet<([u8; 16], Subject)>,
    ) -> Result<(), StoreError> {
        let shop = self.shop();
        let own = |subject: &Subject| subject.stream().map(|(kind, id)| (kind.to_owned(), id));
        let others = || named.iter().filter(|(subject, stream)| own(subject).as_ref() != Some(stream));
        sqlx::query!(
            "INSERT INTO subject_streams (shop_id, subject, aggregate_type, aggregate_id)
             SELECT $1, n.subject, n.aggregate_type, n.aggregate_id
             FROM UNNEST($2::text[], $3::text[], $4::text[]) AS n (subject, aggregate_type, aggregate_id)
             ON CONFLICT ON CONSTRAINT subject_streams_pkey DO NOTHING",
            shop.0,
            &others().map(|(subject, _)| subject.to_string()).collect::<Vec<_>>(),
            &others().map(|(_, (kind, _))| kind.clone()).collect::<Vec<_>>(),
            &others().map(|(_, (_, id))| id.clone()).collect::<Vec<_>>(),
        )
        .execute(&mut **self)
        .await?;
        sqlx::query!(
            "INSERT INTO subject_contacts (shop_id, digest, subject)
             SELECT $1, c.digest, c.subject
             FROM UNNEST($2::bytea[], $3::text[]) AS c (digest, subject)
             ON CONFLICT ON CONSTRAINT subject_contacts_pkey DO NOTHING",
            shop.0,
            &contacts.iter().map(|(digest, _)| digest.to_vec()).collect::<Vec<_>>(),
            &contacts.iter().map(|(_, subject)| subject.to_string()).collect::<Vec<_>>(),
        )
        .execute(&mut **self)
        .await?;
        Ok(())
    }

    /// Whoever has one of these addresses or numbers.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn subjects_of_contacts(
        &mut self,
        key: &ShopKey,
        contacts: &[ContactKey],
    ) -> Result<BTreeSet<Subject>, StoreError> {
        let shop = self.shop();
        let digests: Vec<Vec<u8>> = contacts.iter().map(|contact| key.contact_digest(contact).to_vec()).collect();
        let found = sqlx::query_scalar!(
            "SELECT DISTINCT subject FROM subject_contacts WHERE shop_id = $1 AND digest = ANY ($2)",
            shop.0,
            &digests,
        )
        .fetch_all(&mut **self)
        .await?;
        Ok(found.iter().filter_map(|subject| subject.parse().ok()).collect())
    }

    /// The digests by which subjects are found.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn contacts_of(&mut self, subjects: &BTreeSet<Subject>) -> Result<Vec<Vec<u8>>, StoreError> {
        let shop = self.shop();
        Ok(sqlx::query_scalar!(
            "SELECT DISTINCT digest FROM subject_contacts WHERE shop_id = $1 AND subject = ANY ($2)",
            shop.0,
            &texts(subjects),
        )
        .fetch_all(&mut **self)
        .await?)
    }

    /// How many rows say by what these subjects are found.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn contact_rows_of(&mut self, subjects: &BTreeSet<Subject>) -> Result<u64, StoreError> {
        let shop = self.shop();
        let rows = sqlx::query_scalar!(
            r#"SELECT count(*) AS "rows!" FROM subject_contacts WHERE shop_id = $1 AND subject = ANY ($2)"#,
            shop.0,
            &texts(subjects),
        );
        Ok(rows.fetch_one(&mut **self).await?.unsigned_abs())
    }

    /// The histories that values of these subjects stand in.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn streams_of(&mut self, subjects: &BTreeSet<Subject>) -> Result<Streams, StoreError> {
        let shop = self.shop();
        let named = sqlx::query!(
            "SELECT aggregate_type, aggregate_id FROM subject_streams WHERE shop_id = $1 AND subject = ANY ($2)",
            shop.0,
            &texts(subjects),
        )
        .fetch_all(&mut **self)
        .await?;
        let mut streams: Streams = named.into_iter().map(|row| (row.aggregate_type, row.aggregate_id)).collect();
        let own: Vec<(&str, String)> = subjects.iter().filter_map(Subject::stream).collect();
        let own = sqlx::query!(
            r#"SELECT o.aggregate_type AS "aggregate_type!", o.aggregate_id AS "aggregate_id!"
               FROM UNNEST($2::text[], $3::text[]) AS o (aggregate_type, aggregate_id)
               WHERE EXISTS (
                   SELECT FROM events e
                   WHERE e.shop_id = $1 AND e.aggregate_type = o.aggregate_type AND e.aggregate_id = o.aggregate_id
                     AND e.sequence = 1)"#,
            shop.0,
            &own.iter().map(|(kind, _)| (*kind).to_owned()).collect::<Vec<_>>(),
            &own.iter().map(|(_, id)| id.clone()).collect::<Vec<_>>(),
        )
        .fetch_all(&mut **self)
        .await?;
        streams.extend(own.into_iter().map(|row| (row.aggregate_type, row.aggregate_id)));
        Ok(streams)
    }

    /// Shows the events of some histories of one type that stand behind a position, up to another one: history by history,
    /// each in its order, and one event at a time, since they may be long. With each the hash of the event before it in the log.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], and what `each` answers.
    pub async fn each_event_of(
        &mut self,
        (aggregate_type, aggregate_ids): (&str, &[String]),
        (after, up_to): (i64, i64),
        mut each: impl FnMut(StoredEvent, Option<Vec<u8>>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let shop = self.shop();
        let mut rows = sqlx::query!(
            r#"SELECT e.position, e.recorded_at, e.aggregate_type, e.aggregate_id, e.sequence, e.event_type, e.event_version,
                      e.payload::text AS "payload!", e.metadata::text AS "metadata!", e.hash, p.hash AS "previous?"
               FROM UNNEST($3::text[]) AS w (id)
               CROSS JOIN LATERAL (
                   SELECT * FROM events
                   WHERE shop_id = $1 AND aggregate_type = $2 AND aggregate_id = w.id AND position > $4 AND position <= $5
                   ORDER BY sequence OFFSET 0
               ) e
               LEFT JOIN LATERAL (
                   SELECT hash FROM events WHERE shop_id = $1 AND position = e.position - 1 OFFSET 0
               ) p ON true
               ORDER BY e.aggregate_id, e.sequence"#,
            shop.0,
            aggregate_type,
            aggregate_ids,
            after,
            up_to,
        )
        .fetch(&mut **self);
        while let Some(row) = rows.try_next().await? {
            let event = StoredEvent {
                position: row.position,
                recorded_at: row.recorded_at,
                aggregate_type: row.aggregate_type,
                aggregate_id: row.aggregate_id,
                sequence: row.sequence,
                event_type: row.event_type,
                event_version: row.event_version,
                payload: row.payload,
                metadata: row.metadata,
                hash: row.hash,
            };
            each(event, row.previous)?;
        }
        Ok(())
    }

    /// The sealed values of some subjects in events.
    #[must_use]
    pub fn values_of(events: &[StoredEvent], subjects: &BTreeSet<Subject>) -> Vec<SealedValue> {
        let values = events.iter().flat_map(SealedValue::all_in);
        values.filter(|value| subjects.contains(&value.sealed.subject)).collect()
    }

    /// The keys of those subjects that have one and are not redacted.
    ///
    /// # Errors
    /// [`StoreError::Keys`] or [`StoreError::Unavailable`].
    pub async fn subject_keys(
        &mut self,
        key: &ShopKey,
        subjects: &BTreeSet<Subject>,
    ) -> Result<BTreeMap<Subject, SubjectKey>, StoreError> {
        let shop = self.shop();
        let rows = sqlx::query!(
            r#"SELECT subject, wrapped AS "wrapped!"
               FROM subject_keys
               WHERE shop_id = $1 AND subject = ANY ($2) AND wrapped IS NOT NULL"#,
            shop.0,
            &texts(subjects),
        )
        .fetch_all(&mut **self)
        .await?;
        let mut keys = BTreeMap::new();
        for row in rows {
            let subject: Subject = row.subject.parse().map_err(|_| StoreError::Keys(shop, VaultError::NoKey))?;
            let unwrapped = count_opened(SealedThing::SubjectKey, key.unwrap_subject(subject, &row.wrapped));
            let unwrapped = unwrapped.map_err(|error| StoreError::Keys(shop, error))?;
            keys.insert(subject, unwrapped);
        }
        Ok(keys)
    }

    /// Which of the subjects are redacted.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn redacted_among(&mut self, subjects: &BTreeSet<Subject>) -> Result<BTreeSet<Subject>, StoreError> {
        if subjects.is_empty() {
            return Ok(BTreeSet::new());
        }
        let shop = self.shop();
        let found = sqlx::query_scalar!(
            "SELECT subject FROM subject_keys WHERE shop_id = $1 AND subject = ANY ($2) AND wrapped IS NULL",
            shop.0,
            &texts(subjects),
        )
        .fetch_all(&mut **self)
        .await?;
        Ok(found.iter().filter_map(|subject| subject.parse().ok()).collect())
    }

    /// Destroys keys, also of subjects that have none yet and so never get one; snapshots of the histories go with them.
    /// Under the log's lock, and with an event, so that nobody decides on what was known before. Returns how many keys and
    /// snapshots there were.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn destroy_subjects(
        &mut self,
        subjects: &BTreeSet<Subject>,
        streams: &Streams,
    ) -> Result<(u64, u64), StoreError> {
        let shop = self.shop();
        let snapshots = sqlx::query!(
            "DELETE FROM snapshots s
             USING UNNEST($2::text[], $3::text[]) AS o (aggregate_type, aggregate_id)
             WHERE s.shop_id = $1 AND s.aggregate_type = o.aggregate_type AND s.aggregate_id = o.aggregate_id",
            shop.0,
            &streams.iter().map(|(kind, _)| kind.clone()).collect::<Vec<_>>(),
            &streams.iter().map(|(_, id)| id.clone()).collect::<Vec<_>>(),
        )
        .execute(&mut **self)
        .await?;
        let destroyed =
            sqlx::query_scalar!(r#"SELECT destroy_subjects($1, $2) AS "destroyed!""#, shop.0, &texts(subjects));
        Ok((destroyed.fetch_one(&mut **self).await?.unsigned_abs(), snapshots.rows_affected()))
    }
}

/// [`ShopTx::name_subjects`], each step in a transaction of its own, so that nobody waits for a long log.
///
/// # Errors
/// [`StoreError`].
pub async fn name_subjects_by_and_by(database: &Database, shop: ShopId) -> Result<(), StoreError> {
    loop {
        let mut tx = database.begin(shop).await?;
        tx.lock_log().await?;
        let goes_on = tx.name_more_subjects().await?;
        tx.commit().await?;
        if !goes_on {
            return Ok(());
        }
    }
}

fn texts(subjects: &BTreeSet<Subject>) -> Vec<String> {
    subjects.iter().map(Subject::to_string).collect()
}
