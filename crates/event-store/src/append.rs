//! The one way into the log: commands, decided on what the log held at one head, and appended if it still stands there.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    time::{Instant, SystemTime},
};

use chrono::{DateTime, Duration, Utc};
use domain::{ShopId, Subject};
use sqlx::PgConnection;
use vault::{MasterRing, Named, Sealer, VaultError};

use crate::{
    Envelope, Link, ShopTx, StoreError, StreamId,
    command::AnyState,
    metrics::{COUNTERS, SealedThing, count, opened},
    shop::{shop_key_unless_destroyed, unwrap_shop_key},
    snapshot::{Due, EVERY, Restored, Stored},
};

/// The kind of work that an append makes.
pub const PROJECT: &str = "project";

/// Commands that are decided while the events of as many before them are inserted.
const PART: usize = 200;
/// Commands that are decided without looking whether the database takes more of those events.
const WITHOUT_LOOKING: usize = 8;

/// What a command added to the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// How many events; 0 when it told nothing new.
    pub events: usize,
    /// The position of the last of them, or the head's when there were none.
    pub position: i64,
}

impl ShopTx {
    /// Seals and decides the commands in their order, each on what the ones before it made, and appends their events.
    /// All of it is stored or nothing is, when the caller commits. Until then nobody else writes to the shop's log.
    ///
    /// # Errors
    /// [`StoreError`]; the transaction is then of no further use.
    pub async fn execute(&mut self, mut commands: Vec<Envelope>) -> Result<Vec<Appended>, StoreError> {
        let shop = self.shop();
        let wanted = Wanted::by(&mut commands);
        COUNTERS.commands_locked.increment(count(commands.len()));
        let ring = self.shared_ring();
        let mut basis = Basis::load(&mut *self, shop, &ring, &wanted, Lock::Head).await?;
        let mut deciding = Deciding::begin(&mut basis, shop, &ring, &wanted)?;
        let mut appended = Vec::with_capacity(commands.len());
        let (mut commands, mut decided) = (commands.into_iter(), News::default());
        // The database inserts what one part made while the next one is decided; behind the last one comes none.
        loop {
            let part: Vec<Envelope> = commands.by_ref().take(PART).collect();
            let is_behind_the_last = part.is_empty();
            let (stored, next) = tokio::join!(decided.append_locked(self, shop), deciding.decide(part, &mut appended));
            stored?;
            decided = next?;
            if is_behind_the_last {
                break;
            }
        }
        basis.snapshots_due(shop, &ring)?.write(self, shop).await?;
        self.note_appended(&appended);
        Ok(appended)
    }
}

/// What commands look at.
pub(crate) struct Wanted {
    subjects: BTreeSet<Subject>,
    /// With how to begin the state of each.
    streams: HashMap<StreamId, fn() -> Box<dyn AnyState>>,
}

impl Wanted {
    pub(crate) fn by(commands: &mut [Envelope]) -> Self {
        let mut wanted = Self { subjects: BTreeSet::new(), streams: HashMap::with_capacity(commands.len()) };
        for envelope in commands {
            Sealer::subjects_of(&mut envelope.command, |subject| {
                wanted.subjects.insert(subject);
            });
            wanted.subjects.extend(envelope.stream.order());
            wanted.streams.entry(envelope.stream.clone()).or_insert_with(|| envelope.command.new_state());
        }
        wanted
    }

    pub(crate) fn stream(id: StreamId, new_state: fn() -> Box<dyn AnyState>) -> Self {
        Self { subjects: BTreeSet::new(), streams: HashMap::from([(id, new_state)]) }
    }
}

/// Whether others may write to the shop's log before the transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lock {
    Head,
    Nothing,
}

/// What commands are decided on: keys and states, all as the log held them at one head.
pub(crate) struct Basis {
    head: Head,
    shop_key: Option<Vec<u8>>,
    /// Wrapped; `None` where the key was destroyed.
    keys: HashMap<Subject, Option<Vec<u8>>>,
    streams: HashMap<StreamId, Loaded>,
    took_for_new: bool,
}

struct Head {
    position: i64,
    hash: [u8; 32],
    recorded_at: DateTime<Utc>,
    /// The database's clock as it was at an instant.
    clock: (DateTime<Utc>, Instant),
    /// That instant, by this machine's calendar.
    read_at: SystemTime,
}

/// An aggregate's state and where its history ends.
struct Loaded {
    state: Box<dyn AnyState>,
    sequence: i64,
    /// Where the snapshot stands that it was made from; 0 without one.
    snapshot: i64,
    /// Of the last event that was decided here, if any was.
    hash: Option<[u8; 32]>,
    /// Who was named of it here, and how they are found: it need not be said again.
    named: Known,
}

/// Subjects, and digests that they are found by.
type Known = HashSet<(Subject, Option<[u8; 16]>)>;

impl Loaded {
    fn begin(new_state: fn() -> Box<dyn AnyState>) -> Self {
        Self { state: new_state(), sequence: 0, snapshot: 0, hash: None, named: Known::new() }
    }

    fn is_snapshot_due(&self) -> bool {
        self.hash.is_some() && self.sequence - self.snapshot >= EVERY
    }
}

impl Basis {
    /// Reads it in one round trip; in one more for each time that snapshots are of no use.
    pub(crate) async fn load(
        connection: &mut PgConnection,
        shop: ShopId,
        ring: &MasterRing,
        wanted: &Wanted,
        lock: Lock,
    ) -> Result<Self, StoreError> {
        let mut useless = HashSet::new();
        loop {
            if let Some(basis) = Self::try_load(connection, shop, ring, wanted, lock, &mut useless).await? {
                return Ok(basis);
            }
        }
    }

    /// `None` when a snapshot is of no use whose rest was read: its stream is then among those to read as a whole.
    async fn try_load(
        connection: &mut PgConnection,
        shop: ShopId,
        ring: &MasterRing,
        wanted: &Wanted,
        lock: Lock,
        useless: &mut HashSet<StreamId>,
    ) -> Result<Option<Self>, StoreError> {
        let subjects: Vec<String> = wanted.subjects.iter().map(Subject::to_string).collect();
        let ids: Vec<&StreamId> = wanted.streams.keys().collect();
        let begun = |(id, new_state): (&StreamId, &fn() -> Box<dyn AnyState>)| (id.clone(), Loaded::begin(*new_state));
        let mut streams: HashMap<StreamId, Loaded> = wanted.streams.iter().map(begun).collect();
        let version = |id: &&StreamId| (!useless.contains(*id)).then(|| streams[*id].state.version());
        let row = sqlx::query!(
            r#"SELECT head_position, head_hash, head_recorded_at, read_at, shop_key,
                      subjects, wrapped AS "wrapped: Vec<Option<Vec<u8>>>",
                      snapshot_streams, snapshot_sequences, snapshot_hashes, snapshot_versions, snapshots, fitting,
                      streams, sequences, event_types, event_versions, payloads
               FROM load_aggregates($1, $2, $3, $4, $5, $6)"#,
            shop.0,
            lock == Lock::Head,
            &subjects,
            &ids.iter().map(|id| id.aggregate_type.to_owned()).collect::<Vec<_>>(),
            &ids.iter().map(|id| id.aggregate_id.clone()).collect::<Vec<_>>(),
            &ids.iter().map(version).collect::<Vec<_>>() as &[Option<i64>],
        )
        .fetch_one(connection)
        .await?;
        let (Some(position), Some(hash), Some(recorded_at), Some(read_at)) =
            (row.head_position, row.head_hash, row.head_recorded_at, row.read_at)
        else {
            return Err(StoreError::NoSuchShop(shop));
        };
        let what = "the head's hash is not one";
        let hash = hash.try_into().map_err(|_| StoreError::BrokenChain { shop, position, what: what.into() })?;
        let head = Head { position, hash, recorded_at, clock: (read_at, Instant::now()), read_at: SystemTime::now() };

        let mut keys = HashMap::new();
        for (subject, wrapped) in row.subjects.unwrap_or_default().iter().zip(row.wrapped.unwrap_or_default()) {
            let subject = subject.parse().map_err(|_| StoreError::Keys(shop, VaultError::NoKey))?;
            keys.insert(subject, wrapped);
        }

        let place = |stream: i64| usize::try_from(stream - 1).expect("ordinality counts from 1");
        let snapshots = Stored {
            streams: row.snapshot_streams.unwrap_or_default(),
            sequences: row.snapshot_sequences.unwrap_or_default(),
            hashes: row.snapshot_hashes.unwrap_or_default(),
            state_versions: row.snapshot_versions.unwrap_or_default(),
            sealed: row.snapshots.unwrap_or_default(),
            fitting: row.fitting.unwrap_or_default(),
        };
        let mut is_whole = true;
        if !snapshots.streams.is_empty() {
            // Without the shop's key nothing opens, and that is told by whatever needs it.
            let key = unwrap_shop_key(ring, shop, row.shop_key.as_deref()).ok();
            for (index, stream) in snapshots.streams.iter().enumerate() {
                let id = ids[place(*stream)];
                if useless.contains(id) {
                    continue;
                }
                let loaded = streams.get_mut(id).expect("asked for above");
                let sequence = snapshots.sequences[index];
                match key.as_ref().map(|key| snapshots.restore(index, id, key, &mut *loaded.state)) {
                    Some(Restored::Yes) => {
                        (loaded.sequence, loaded.snapshot) = (sequence, sequence);
                        continue;
                    }
                    Some(Restored::Unfit(why)) => {
                        tracing::warn!(%shop, stream = %id, sequence, why, "a snapshot is ignored");
                    }
                    Some(Restored::OtherBuild) | None => {}
                }
                is_whole &= snapshots.state_versions[index] != loaded.state.version();
                useless.insert(id.clone());
            }
        }
        if !is_whole {
            return Ok(None);
        }

        let (event_types, versions) = (row.event_types.unwrap_or_default(), row.event_versions.unwrap_or_default());
        let (sequences, payloads) = (row.sequences.unwrap_or_default(), row.payloads.unwrap_or_default());
        for (index, stream) in row.streams.unwrap_or_default().into_iter().enumerate() {
            let loaded = streams.get_mut(ids[place(stream)]).expect("asked for above");
            debug_assert!(loaded.sequence < sequences[index], "a history comes in its order");
            loaded.state.apply_stored(&event_types[index], &versions[index], &payloads[index])?;
            loaded.sequence = sequences[index];
        }
        Ok(Some(Self { head, shop_key: row.shop_key, keys, streams, took_for_new: false }))
    }

    /// The state of a stream that was wanted.
    pub(crate) fn into_state(mut self, id: &StreamId) -> Option<Box<dyn AnyState>> {
        self.streams.remove(id).map(|loaded| loaded.state)
    }

    /// Whether a history has become so long that its state is to be kept.
    pub(crate) fn is_snapshot_due(&self) -> bool {
        self.streams.values().any(Loaded::is_snapshot_due)
    }

    /// The states to be kept, of histories that were gone on with here.
    fn snapshots_due(&self, shop: ShopId, ring: &MasterRing) -> Result<Due, StoreError> {
        let mut due = Due::default();
        if self.is_snapshot_due()
            && let Some(key) = shop_key_unless_destroyed(ring, shop, self.shop_key.as_deref())?
        {
            for (id, loaded) in &self.streams {
                if let Some(hash) = loaded.hash.filter(|_| loaded.is_snapshot_due()) {
                    due.add(&key, shop, id, loaded.sequence, hash, &*loaded.state);
                }
            }
        }
        Ok(due)
    }

    /// Takes histories and subjects that are not known for new ones: the append will look whether they are.
    pub(crate) fn with_new(mut self, wanted: &Wanted) -> Self {
        for (id, new_state) in &wanted.streams {
            if !self.streams.contains_key(id) {
                self.streams.insert(id.clone(), Loaded::begin(*new_state));
                self.took_for_new = true;
            }
        }
        self.took_for_new |= !wanted.subjects.iter().all(|subject| self.keys.contains_key(subject));
        self
    }

    /// Since it was first read, by whichever clock says more: the one that only rises stops while the machine sleeps.
    pub(crate) fn age(&self) -> std::time::Duration {
        self.head.clock.1.elapsed().max(self.head.read_at.elapsed().unwrap_or(std::time::Duration::MAX))
    }

    /// How many histories are in it.
    pub(crate) fn streams(&self) -> usize {
        self.streams.len()
    }
}

/// Commands being decided on what was loaded for them. Afterwards that is what the log holds once the news is appended.
pub(crate) struct Deciding<'a> {
    basis: &'a mut Basis,
    shop: ShopId,
    sealer: Sealer,
    /// The clock of the database, also when it was read a little while ago.
    now: DateTime<Utc>,
}

impl<'a> Deciding<'a> {
    /// Unwraps the keys of all who are wanted.
    pub(crate) fn begin(
        basis: &'a mut Basis,
        shop: ShopId,
        ring: &MasterRing,
        wanted: &Wanted,
    ) -> Result<Self, StoreError> {
        let mut sealer = Sealer::new(shop_key_unless_destroyed(ring, shop, basis.shop_key.as_deref())?);
        for (subject, wrapped) in wanted.subjects.iter().filter_map(|subject| basis.keys.get_key_value(subject)) {
            let known = opened(SealedThing::SubjectKey, sealer.know(*subject, wrapped.as_deref()));
            known.map_err(|error| StoreError::Keys(shop, error))?;
        }
        let (read_at, then) = basis.head.clock;
        Ok(Self { basis, shop, sealer, now: read_at + then.elapsed() })
    }

    /// Seals and decides commands that want what was loaded, each on what the ones before it made.
    async fn decide(&mut self, commands: Vec<Envelope>, appended: &mut Vec<Appended>) -> Result<News, StoreError> {
        let mut news = self.nothing_yet();
        for (number, command) in commands.into_iter().enumerate() {
            if number % WITHOUT_LOOKING == 0 {
                tokio::task::yield_now().await;
            }
            appended.push(self.add(command, &mut news)?);
        }
        self.keep_keys(&mut news);
        Ok(news)
    }

    /// The same of one command.
    pub(crate) fn decide_one(&mut self, command: Envelope) -> Result<(Appended, News), StoreError> {
        let mut news = self.nothing_yet();
        let appended = self.add(command, &mut news)?;
        self.keep_keys(&mut news);
        Ok((appended, news))
    }

    fn nothing_yet(&mut self) -> News {
        let took_for_new = std::mem::take(&mut self.basis.took_for_new);
        let Head { position, hash, .. } = &self.basis.head;
        News { position: *position, expected: hash.to_vec(), took_for_new, ..News::default() }
    }

    fn add(&mut self, command: Envelope, news: &mut News) -> Result<Appended, StoreError> {
        let Envelope { stream, metadata, mut command } = command;
        // Of an erased order nothing is kept again, whomever it names: its buyer may go by another number since.
        if stream.order().is_some_and(|order| self.sealer.is_redacted(order)) {
            Sealer::redact_persons(&mut command);
        }
        let named = self.sealer.seal(&mut command).map_err(|error| StoreError::Keys(self.shop, error))?;
        let head = &mut self.basis.head;
        let loaded = self.basis.streams.get_mut(&stream).expect("loaded with the batch");
        let events = command.decide(&mut *loaded.state)?;
        let metadata = if events.is_empty() { String::new() } else { metadata.to_json() };
        let count = events.len();
        for event in events {
            loaded.sequence += 1;
            head.position += 1;
            // An instant maps to one position, also when the clock steps back.
            head.recorded_at = (head.recorded_at + Duration::microseconds(1)).max(self.now);
            let link = Link {
                shop: self.shop,
                position: head.position,
                recorded_at: head.recorded_at,
                aggregate_type: stream.aggregate_type,
                aggregate_id: &stream.aggregate_id,
                sequence: loaded.sequence,
                event_type: &event.event_type,
                event_version: &event.event_version,
                payload: &event.payload,
                metadata: &metadata,
            };
            head.hash = link.hash(&head.hash);
            loaded.hash = Some(head.hash);
            news.recorded_at.push(head.recorded_at);
            news.aggregate_types.push(stream.aggregate_type.to_owned());
            news.aggregate_ids.push(stream.aggregate_id.clone());
            news.sequences.push(loaded.sequence);
            news.event_types.push(event.event_type);
            news.event_versions.push(event.event_version);
            news.payloads.push(event.payload);
            news.metadata.push(metadata.clone());
            news.hashes.push(head.hash.to_vec());
        }
        if count > 0 {
            news.name(&stream, named, &mut loaded.named, &mut self.sealer);
        }
        Ok(Appended { events: count, position: head.position })
    }

    /// Keys that were made or destroyed meanwhile. Those made where nothing was new wait: what comes later may be sealed under them.
    fn keep_keys(&mut self, news: &mut News) {
        if news.is_empty() {
            return;
        }
        for (subject, wrapped) in self.sealer.take_created() {
            news.subjects.push(subject.to_string());
            news.wrapped.push(wrapped.clone());
            self.basis.keys.insert(subject, Some(wrapped));
        }
        for subject in &news.destroyed {
            self.basis.keys.insert(*subject, None);
        }
    }
}

/// The events of a batch, column by column, as `UNNEST` takes them, and the keys that seal them.
#[derive(Default)]
pub(crate) struct News {
    /// Where the head stood that all of it was decided on.
    position: i64,
    /// The hash of that head, by which it is found again. Not its position: a database that failed over to a stand-by
    /// that lacked the newest events may hold others there.
    expected: Vec<u8>,
    /// Histories that begin here and subjects that are met here may exist after all.
    took_for_new: bool,
    subjects: Vec<String>,
    wrapped: Vec<Vec<u8>>,
    recorded_at: Vec<DateTime<Utc>>,
    aggregate_types: Vec<String>,
    aggregate_ids: Vec<String>,
    sequences: Vec<i64>,
    event_types: Vec<String>,
    event_versions: Vec<String>,
    payloads: Vec<String>,
    metadata: Vec<String>,
    hashes: Vec<Vec<u8>>,
    named_subjects: Vec<String>,
    named_types: Vec<String>,
    named_ids: Vec<String>,
    contact_digests: Vec<Vec<u8>>,
    contact_subjects: Vec<String>,
    destroyed: Vec<Subject>,
}

impl News {
    /// Notes whom events of a stream are about, but for what is known of it already.
    fn name(&mut self, stream: &StreamId, named: Named, known: &mut Known, sealer: &mut Sealer) {
        // What a refund or an edit says of the buyer is the order's, since it names no customer. Once it is known that the
        // customer is redacted, so is what comes of the order.
        let of_redacted = named.redacted.iter().any(|subject| matches!(subject, Subject::Customer(_)));
        if let Some(order) = stream.order()
            && of_redacted
            && !sealer.is_redacted(order)
        {
            sealer.redact(order);
            self.destroyed.push(order);
        }
        for subject in named.subjects {
            // Its own history is where it is looked for first.
            let is_own = subject.stream() == Some((stream.aggregate_type, stream.aggregate_id.clone()));
            if !is_own && known.insert((subject, None)) {
                self.named_subjects.push(subject.to_string());
                self.named_types.push(stream.aggregate_type.to_owned());
                self.named_ids.push(stream.aggregate_id.clone());
            }
        }
        for (digest, subject) in named.contacts {
            if known.insert((subject, Some(digest))) {
                self.contact_digests.push(digest.to_vec());
                self.contact_subjects.push(subject.to_string());
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// Writes it, if there is any, to a log whose head is locked.
    async fn append_locked(&self, connection: &mut PgConnection, shop: ShopId) -> Result<(), StoreError> {
        if self.is_empty() || self.append(connection, shop).await? {
            return Ok(());
        }
        let what = "the head moved while it was locked".to_owned();
        Err(StoreError::BrokenChain { shop, position: self.position, what })
    }

    /// Writes it in one call, if the log is as was expected; otherwise `false`, and nothing is written.
    pub(crate) async fn append(&self, connection: &mut PgConnection, shop: ShopId) -> Result<bool, StoreError> {
        let appended = sqlx::query_scalar!(
            r#"SELECT append_events_of_subjects($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14,
                                                  $15, $16, $17, $18, $19, $20) AS "appended!""#,
            shop.0,
            &self.expected,
            self.took_for_new,
            &self.subjects,
            &self.wrapped,
            &self.recorded_at,
            &self.aggregate_types,
            &self.aggregate_ids,
            &self.sequences,
            &self.event_types,
            &self.event_versions,
            &self.payloads,
            &self.metadata,
            &self.hashes,
            &self.named_subjects,
            &self.named_types,
            &self.named_ids,
            &self.contact_digests,
            &self.contact_subjects,
            &self.destroyed.iter().map(Subject::to_string).collect::<Vec<_>>(),
        )
        .fetch_one(connection)
        .await?;
        Ok(appended)
    }
}
