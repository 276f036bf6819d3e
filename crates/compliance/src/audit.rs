//! What of a shop's log is shown to whoever checks it. A line is a view of an event: the bytes that are chained are in the log,
//! and in a bundle of it. Sealed values read `[sealed]`, those of redacted subjects `[redacted]`; under a grant the former are
//! opened, with keys that are read for each page and forgotten with it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use domain::{
    Sealed, ShopId, Subject,
    grant::{Grant, GrantError},
};
use event_store::{Database, Selection, ShopTx, StoreError, StoredEvent, as_sealed, open_sealed};
use futures::{Stream, stream};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;
use vault::SubjectKey;

/// Events of a page at most, which is in memory as a whole; long ones make shorter pages.
const PAGE: i64 = 100;

const SEALED: &str = "[sealed]";
const REDACTED: &str = "[redacted]";

/// Under which grant personal values are opened. It is looked at for each page: one that ends or is revoked meanwhile ends
/// what is shown under it.
#[derive(Debug, Clone)]
pub struct Leave {
    /// The grant's id.
    pub grant: String,
    /// Whose it is.
    pub token: Uuid,
    /// What time it is.
    pub clock: fn() -> DateTime<Utc>,
}

impl Leave {
    async fn check(&self, tx: &mut ShopTx) -> Result<(), StoreError> {
        let grant: Grant = tx.load(&self.grant).await?;
        if grant.allows(&self.token.to_string(), (self.clock)()) {
            Ok(())
        } else {
            Err(StoreError::Refused(Box::new(GrantError::NotAllowed)))
        }
    }
}

/// An event as it is shown.
#[derive(Debug, Serialize)]
pub struct Line {
    /// 1, 2, 3 … in the shop's log.
    pub position: i64,
    /// When it was written.
    pub recorded_at: DateTime<Utc>,
    /// `order`, `shop` …
    pub aggregate_type: String,
    /// Within the type.
    pub aggregate_id: String,
    /// 1, 2, 3 … within the aggregate.
    pub sequence: i64,
    /// `OrderPlaced` …
    pub event_type: String,
    /// `1` …
    pub event_version: String,
    /// What it says.
    pub payload: Value,
    /// Where it came from: `source`, `actor` …
    pub metadata: Value,
    /// In hex, over the stored bytes.
    pub hash: String,
}

/// The events that are asked for, a page of lines of JSON at a time, at most `limit` lines: each page is a transaction of its
/// own, and all that is in memory. A page may be empty: nothing may be of many positions. An error ends it before its end.
pub fn pages(
    database: &Database,
    shop: ShopId,
    selection: Selection,
    limit: Option<i64>,
    leave: Option<Leave>,
    token: Option<Uuid>,
) -> impl Stream<Item = Result<String, StoreError>> + Send + Unpin + use<> {
    struct State {
        database: Database,
        selection: Selection,
        leave: Option<Leave>,
        left: i64,
        cursor: Option<i64>,
    }
    let left = limit.unwrap_or(i64::MAX);
    let state = State { database: database.clone(), selection, leave, left, cursor: Some(0) };
    Box::pin(stream::try_unfold(state, move |mut state| async move {
        let Some(cursor) = state.cursor.filter(|_| state.left > 0) else { return Ok(None) };
        let mut tx = state.database.begin(shop).await?;
        let mut page = tx.selected(&state.selection, cursor, PAGE).await?;
        page.events.truncate(usize::try_from(state.left).unwrap_or(usize::MAX));
        state.cursor = page.next;
        if let Some(leave) = &state.leave {
            leave.check(&mut tx).await?;
        }
        // Whose token ends meanwhile sees no more.
        if let Some(token) = token
            && !is_good(&mut tx, token).await?
        {
            return Err(StoreError::Refused(Box::new(GrantError::NotAllowed)));
        }
        let lines = lines(&mut tx, page.events, state.leave.is_some()).await?;
        tx.commit().await?;
        state.left -= i64::try_from(lines.len()).unwrap_or(i64::MAX);
        let mut text = String::new();
        for line in &lines {
            text += &serde_json::to_string(line).map_err(|fault| StoreError::Refused(fault.into()))?;
            text.push('\n');
        }
        Ok(Some((text, state)))
    }))
}

async fn is_good(tx: &mut ShopTx, token: Uuid) -> Result<bool, StoreError> {
    let good = sqlx::query_scalar!(
        r#"SELECT EXISTS (
               SELECT FROM api_tokens
               WHERE token_id = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())) AS "good!""#,
        token
    );
    Ok(good.fetch_one(&mut **tx).await?)
}

/// Events as they are shown, personal values opened or not.
async fn lines(tx: &mut ShopTx, events: Vec<StoredEvent>, is_open: bool) -> Result<Vec<Line>, StoreError> {
    let mut lines = Vec::with_capacity(events.len());
    for event in events {
        let parse = |text: &str| {
            serde_json::from_str(text).map_err(|source| StoreError::Unreadable {
                event_type: event.event_type.clone(),
                position: event.position,
                source,
            })
        };
        let (payload, metadata) = (parse(&event.payload)?, parse(&event.metadata)?);
        lines.push(Line {
            position: event.position,
            recorded_at: event.recorded_at,
            aggregate_type: event.aggregate_type,
            aggregate_id: event.aggregate_id,
            sequence: event.sequence,
            event_type: event.event_type,
            event_version: event.event_version,
            payload,
            metadata,
            hash: hex::encode(event.hash),
        });
    }
    show(tx, lines.iter_mut().map(|line| &mut line.payload).collect(), is_open).await?;
    Ok(lines)
}

/// Puts what may be seen in the place of each sealed value.
async fn show(tx: &mut ShopTx, values: Vec<&mut Value>, is_open: bool) -> Result<(), StoreError> {
    let mut subjects = BTreeSet::new();
    for value in &values {
        each_sealed(value, &mut |sealed| {
            subjects.insert(sealed.subject);
        });
    }
    let (redacted, keys) = match tx.living_shop_key().await? {
        // Erased with the shop.
        None => (subjects, BTreeMap::new()),
        Some(key) => {
            let redacted = tx.redacted_among(&subjects).await?;
            (redacted, if is_open { tx.subject_keys(&key, &subjects).await? } else { BTreeMap::new() })
        }
    };
    for value in values {
        replace(value, &redacted, &keys);
    }
    Ok(())
}

fn each_sealed(value: &Value, each: &mut impl FnMut(Sealed)) {
    if let Some(sealed) = as_sealed(value) {
        return each(sealed);
    }
    match value {
        Value::Object(members) => members.values().for_each(|member| each_sealed(member, each)),
        Value::Array(members) => members.iter().for_each(|member| each_sealed(member, each)),
        _ => {}
    }
}

/// Returns how many were opened.
pub(crate) fn replace(value: &mut Value, redacted: &BTreeSet<Subject>, keys: &BTreeMap<Subject, SubjectKey>) -> u64 {
    if let Some(sealed) = as_sealed(value) {
        let opened = keys.get(&sealed.subject).and_then(|key| open_sealed(&sealed, key).ok());
        let opened = opened.and_then(|json| serde_json::from_slice(&json).ok());
        let count = u64::from(opened.is_some());
        let unseen = if redacted.contains(&sealed.subject) { REDACTED } else { SEALED };
        *value = opened.unwrap_or_else(|| unseen.into());
        return count;
    }
    match value {
        Value::Object(members) => members.values_mut().map(|member| replace(member, redacted, keys)).sum(),
        Value::Array(members) => members.iter_mut().map(|member| replace(member, redacted, keys)).sum(),
        _ => 0,
    }
}

/// What is known of one event of a history, without what it says.
#[derive(Debug, Serialize)]
pub struct Heading {
    /// 1, 2, 3 … within the aggregate.
    pub sequence: i64,
    /// 1, 2, 3 … in the shop's log.
    pub position: i64,
    /// When it was written.
    pub recorded_at: DateTime<Utc>,
    /// `OrderPlaced` …
    pub event_type: String,
    /// `1` …
    pub event_version: String,
    /// Where it came from: `source`, `actor` …
    pub metadata: Value,
}

/// An aggregate as its first so many events made it.
#[derive(Debug)]
pub struct StateShown {
    /// The last event that is in it.
    pub last: Heading,
    /// Its state, personal values opened or not.
    pub state: Value,
}

impl Heading {
    fn of(event: StoredEvent) -> Self {
        Self {
            sequence: event.sequence,
            position: event.position,
            recorded_at: event.recorded_at,
            event_type: event.event_type,
            event_version: event.event_version,
            metadata: serde_json::from_str(&event.metadata).unwrap_or_default(),
        }
    }
}

/// At most `limit` events of a history behind one of them, without what they say.
///
/// # Errors
/// [`StoreError`].
pub async fn headings(
    tx: &mut ShopTx,
    aggregate_type: &str,
    aggregate_id: &str,
    after: i64,
    limit: i64,
) -> Result<Vec<Heading>, StoreError> {
    let shop = tx.shop();
    let events = sqlx::query!(
        r#"SELECT sequence, position, recorded_at, event_type, event_version, metadata::text AS "metadata!"
           FROM events
           WHERE shop_id = $1 AND aggregate_type = $2 AND aggregate_id = $3 AND sequence > $4
           ORDER BY sequence
           LIMIT $5"#,
        shop.0,
        aggregate_type,
        aggregate_id,
        after,
        limit,
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(events
        .into_iter()
        .map(|event| Heading {
            sequence: event.sequence,
            position: event.position,
            recorded_at: event.recorded_at,
            event_type: event.event_type,
            event_version: event.event_version,
            metadata: serde_json::from_str(&event.metadata).unwrap_or_default(),
        })
        .collect())
}

/// What the first so many events of a history made of its aggregate, folded as every command folds them; `None` where there is
/// no such history.
///
/// # Errors
/// [`StoreError`].
pub async fn state_at(
    tx: &mut ShopTx,
    aggregate_type: &str,
    aggregate_id: &str,
    sequence: i64,
    is_open: bool,
) -> Result<Option<StateShown>, StoreError> {
    let Some(at) = tx.state_at(aggregate_type, aggregate_id, sequence).await? else { return Ok(None) };
    let mut state: Value = serde_json::from_slice(&at.json).map_err(|source| StoreError::Unreadable {
        event_type: at.last.event_type.clone(),
        position: at.last.position,
        source,
    })?;
    show(tx, vec![&mut state], is_open).await?;
    Ok(Some(StateShown { last: Heading::of(at.last), state }))
}
