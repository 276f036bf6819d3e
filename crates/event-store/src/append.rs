//! The one way into the log: a batch of commands in the caller's transaction.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Duration, Utc};
use domain::{ShopId, Subject};
use vault::Sealer;

use crate::{
    Envelope, Link, ShopTx, StoreError, StreamId,
    command::{AnyState, Decided},
    shop::unwrap_shop_key,
};

/// The kind of work that an append makes.
pub const PROJECT: &str = "project";

/// What a command added to the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// How many events; 0 when it told nothing new.
    pub events: usize,
    /// The position of the last of them, or the head's when there were none.
    pub position: i64,
}

/// The head of a shop's log, read under its lock.
struct Head {
    position: i64,
    hash: [u8; 32],
    /// The time of the next event: an instant maps to one position, also when the clock steps back.
    next_at: DateTime<Utc>,
}

/// An aggregate's state and where its history ends.
struct Loaded {
    state: Box<dyn AnyState>,
    sequence: i64,
}

impl ShopTx {
    /// Seals and decides the commands in their order, each on what the ones before it made, and appends their events.
    /// All of it is stored or nothing is, when the caller commits.
    ///
    /// # Errors
    /// [`StoreError`]; the transaction is then of no further use.
    pub async fn execute(&mut self, mut commands: Vec<Envelope>) -> Result<Vec<Appended>, StoreError> {
        let mut subjects = BTreeSet::new();
        for envelope in &mut commands {
            Sealer::subjects_of(&mut envelope.command, |subject| {
                subjects.insert(subject);
            });
        }
        let (mut head, mut sealer, mut streams) = self.load_batch(&commands, &subjects).await?;

        let mut rows = Rows::default();
        let mut appended = Vec::with_capacity(commands.len());
        for Envelope { stream, metadata, mut command } in commands {
            sealer.seal(&mut command).map_err(|error| StoreError::Keys(self.shop(), error))?;
            let loaded = streams.get_mut(&stream).expect("loaded with the batch");
            let events = command.decide(&mut *loaded.state)?;
            let metadata = if events.is_empty() { String::new() } else { metadata.to_json() };
            appended.push(Appended { events: events.len(), position: head.position + events.len() as i64 });
            for event in events {
                loaded.sequence += 1;
                rows.push(self.shop(), &mut head, &stream, loaded.sequence, event, metadata.clone());
            }
        }
        if !rows.position.is_empty() {
            self.append(&rows, sealer.take_created(), &head).await?;
        }
        Ok(appended)
    }

    /// Takes the shop's write lock and reads everything that the batch looks at, in one round trip.
    ///
    /// The statement sees what was there when it began, while the lock may have been waited for. The head as the
    /// statement saw it then differs from the head as it was locked, and the statement is run again, under the lock.
    ///
    /// `OFFSET 0` keeps the planner from joining otherwise: on a table without statistics, as a new database's are, it
    /// takes a shop for a handful of rows and reads them all.
    async fn load_batch(
        &mut self,
        commands: &[Envelope],
        subjects: &BTreeSet<Subject>,
    ) -> Result<(Head, Sealer, HashMap<StreamId, Loaded>), StoreError> {
        let shop = self.shop();
        let mut streams: HashMap<StreamId, Loaded> = HashMap::with_capacity(commands.len());
        let (mut types, mut ids) = (Vec::new(), Vec::new());
        for envelope in commands {
            streams.entry(envelope.stream.clone()).or_insert_with(|| {
                types.push(envelope.stream.aggregate_type);
                ids.push(envelope.stream.aggregate_id.clone());
                Loaded { state: envelope.command.new_state(), sequence: 0 }
            });
        }
        let subjects: Vec<String> = subjects.iter().map(Subject::to_string).collect();
        let types_sql: Vec<String> = types.iter().map(ToString::to_string).collect();
        let row = loop {
            let row = sqlx::query!(
                r#"SELECT h.position, h.hash, h.recorded_at, clock_timestamp() AS "now!",
                      (SELECT seen.position FROM heads seen WHERE seen.shop_id = $1) AS "seen!",
                      k.wrapped AS "shop_key?",
                      s.subjects AS "subjects?: Vec<String>", s.wrapped AS "wrapped?: Vec<Option<Vec<u8>>>",
                      e.streams AS "streams?: Vec<i64>", e.sequences AS "sequences?: Vec<i64>",
                      e.event_types AS "event_types?: Vec<String>", e.event_versions AS "event_versions?: Vec<String>",
                      e.payloads AS "payloads?: Vec<String>"
               FROM heads h
               LEFT JOIN shop_keys k ON k.shop_id = h.shop_id
               LEFT JOIN LATERAL (
                   SELECT array_agg(k.subject) AS subjects, array_agg(k.wrapped) AS wrapped
                   FROM UNNEST($2::text[]) AS w (subject)
                   CROSS JOIN LATERAL (
                       SELECT subject, wrapped FROM subject_keys WHERE shop_id = $1 AND subject = w.subject OFFSET 0
                   ) k
               ) s ON true
               LEFT JOIN LATERAL (
                   SELECT array_agg(n) AS streams, array_agg(sequence) AS sequences,
                          array_agg(event_type) AS event_types, array_agg(event_version) AS event_versions,
                          array_agg(payload) AS payloads
                   FROM (
                       SELECT w.n, v.*
                       FROM UNNEST($3::text[], $4::text[]) WITH ORDINALITY AS w (aggregate_type, aggregate_id, n)
                       CROSS JOIN LATERAL (
                           SELECT sequence, event_type, event_version, payload::text AS payload
                           FROM events
                           WHERE shop_id = $1 AND aggregate_type = w.aggregate_type AND aggregate_id = w.aggregate_id
                           ORDER BY sequence OFFSET 0
                       ) v
                       ORDER BY w.n, v.sequence
                   ) history
               ) e ON true
               WHERE h.shop_id = $1
               FOR NO KEY UPDATE OF h"#,
                shop.0,
                &subjects,
                &types_sql,
                &ids,
            )
            .fetch_optional(&mut **self)
            .await?
            .ok_or(StoreError::NoSuchShop(shop))?;
            if row.seen == row.position {
                break row;
            }
        };

        let mut sealer = Sealer::new(unwrap_shop_key(self, row.shop_key)?);
        let wrapped = row.wrapped.unwrap_or_default();
        for (subject, wrapped) in row.subjects.unwrap_or_default().iter().zip(wrapped) {
            let subject = subject.parse().map_err(|_| StoreError::Keys(shop, vault::VaultError::NoKey))?;
            sealer.know(subject, wrapped.as_deref()).map_err(|error| StoreError::Keys(shop, error))?;
        }

        let (types_of_event, versions) = (row.event_types.unwrap_or_default(), row.event_versions.unwrap_or_default());
        let (sequences, payloads) = (row.sequences.unwrap_or_default(), row.payloads.unwrap_or_default());
        for (index, stream) in row.streams.unwrap_or_default().into_iter().enumerate() {
            let place = usize::try_from(stream - 1).expect("ordinality counts from 1");
            let id = StreamId { aggregate_type: types[place], aggregate_id: ids[place].clone() };
            let loaded = streams.get_mut(&id).expect("asked for above");
            loaded.state.apply_stored(&types_of_event[index], &versions[index], &payloads[index])?;
            loaded.sequence = sequences[index];
        }

        let hash = row.hash.try_into().map_err(|_| StoreError::BrokenChain {
            shop,
            position: row.position,
            what: "the head's hash is not one".into(),
        })?;
        let next_at = (row.recorded_at + Duration::microseconds(1)).max(row.now);
        Ok((Head { position: row.position, hash, next_at }, sealer, streams))
    }

    /// Events, head, the keys of subjects not met before and the work that all this makes, in one statement.
    async fn append(&mut self, rows: &Rows, keys: Vec<(Subject, Vec<u8>)>, head: &Head) -> Result<(), StoreError> {
        let shop = self.shop();
        let (subjects, wrapped): (Vec<String>, Vec<Vec<u8>>) =
            keys.into_iter().map(|(subject, wrapped)| (subject.to_string(), wrapped)).unzip();
        sqlx::query!(
            r#"WITH made_work AS (
                   INSERT INTO work_queue (shop_id, kind, due_at)
                   VALUES ($1, 'project', now())
               ), made_keys AS (
                   INSERT INTO subject_keys (shop_id, subject, wrapped)
                   SELECT $1, k.subject, k.wrapped
                   FROM UNNEST($15::text[], $16::bytea[]) AS k (subject, wrapped)
               ), appended AS (
                   INSERT INTO events (shop_id, position, recorded_at, aggregate_type, aggregate_id, sequence,
                                       event_type, event_version, payload, metadata, hash)
                   SELECT $1, e.position, e.recorded_at, e.aggregate_type, e.aggregate_id, e.sequence,
                          e.event_type, e.event_version, e.payload::json, e.metadata::json, e.hash
                   FROM UNNEST($2::bigint[], $3::timestamptz[], $4::text[], $5::text[], $6::bigint[],
                               $7::text[], $8::text[], $9::text[], $10::text[], $11::bytea[])
                     AS e (position, recorded_at, aggregate_type, aggregate_id, sequence,
                           event_type, event_version, payload, metadata, hash)
               )
               UPDATE heads
               SET position = $12, hash = $13, recorded_at = $14
               WHERE shop_id = $1"#,
            shop.0,
            &rows.position,
            &rows.recorded_at,
            &rows.aggregate_type,
            &rows.aggregate_id,
            &rows.sequence,
            &rows.event_type,
            &rows.event_version,
            &rows.payload,
            &rows.metadata,
            &rows.hash,
            head.position,
            head.hash.as_slice(),
            rows.recorded_at.last().copied().expect("a batch that appends has a row"),
            &subjects,
            &wrapped,
        )
        .execute(&mut **self)
        .await?;
        Ok(())
    }
}

/// The rows of a batch, column by column, as `UNNEST` takes them.
#[derive(Default)]
struct Rows {
    position: Vec<i64>,
    recorded_at: Vec<DateTime<Utc>>,
    aggregate_type: Vec<String>,
    aggregate_id: Vec<String>,
    sequence: Vec<i64>,
    event_type: Vec<String>,
    event_version: Vec<String>,
    payload: Vec<String>,
    metadata: Vec<String>,
    hash: Vec<Vec<u8>>,
}

impl Rows {
    fn push(
        &mut self,
        shop: ShopId,
        head: &mut Head,
        stream: &StreamId,
        sequence: i64,
        event: Decided,
        metadata: String,
    ) {
        head.position += 1;
        let link = Link {
            shop,
            position: head.position,
            recorded_at: head.next_at,
            aggregate_type: stream.aggregate_type,
            aggregate_id: &stream.aggregate_id,
            sequence,
            event_type: &event.event_type,
            event_version: &event.event_version,
            payload: &event.payload,
            metadata: &metadata,
        };
        head.hash = link.hash(&head.hash);
        self.position.push(head.position);
        self.recorded_at.push(head.next_at);
        self.aggregate_type.push(stream.aggregate_type.to_owned());
        self.aggregate_id.push(stream.aggregate_id.clone());
        self.sequence.push(sequence);
        self.event_type.push(event.event_type);
        self.event_version.push(event.event_version);
        self.payload.push(event.payload);
        self.metadata.push(metadata);
        self.hash.push(head.hash.to_vec());
        head.next_at += Duration::microseconds(1);
    }
}
