//! Reading parts of the log: what is asked for of it, page by page, and what a history had made of its aggregate.

use domain::{Snapshot, snapshot::WithAggregate};

use crate::{
    Page, ShopTx, StoreError, StoredEvent,
    command::{AnyState, new_state},
};

/// Positions that are looked at for one page.
const WINDOW: i64 = 10_000;
/// Events of a history that are folded at a time.
const FOLDED: i64 = 500;
/// Of events that are in memory at once, of which others make several times as much.
const PAGE_BYTES: usize = 1 << 20;

/// Which events of a shop's log, in `(after, up_to]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Only of this type …
    pub aggregate_type: Option<String>,
    /// … and of it, only this history.
    pub aggregate_id: Option<String>,
    /// Only events of this type.
    pub event_type: Option<String>,
    /// Behind this position.
    pub after: i64,
    /// Up to this one.
    pub up_to: i64,
}

/// Some of the events, and where to go on; `None` at the end.
pub struct Selected {
    /// In the log's order.
    pub events: Vec<StoredEvent>,
    /// What the next page is asked with.
    pub next: Option<i64>,
}

/// An aggregate as its first so many events make it.
pub struct StateAt {
    /// Its state as JSON, with personal values as they are stored.
    pub json: Vec<u8>,
    /// The last event that is in it.
    pub last: StoredEvent,
}

struct Begin;

impl WithAggregate for Begin {
    type Output = fn() -> Box<dyn AnyState>;

    fn with<A: Snapshot + 'static>(self) -> fn() -> Box<dyn AnyState> {
        new_state::<A>
    }
}

impl ShopTx {
    /// At most `limit` of the events that are asked for, fewer where they are long; of a few positions only, so none may be among
    /// them. `cursor` is 0 for the first page, then [`Selected::next`].
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn selected(&mut self, selection: &Selection, cursor: i64, limit: i64) -> Result<Selected, StoreError> {
        if let (Some(kind), Some(id)) = (&selection.aggregate_type, &selection.aggregate_id) {
            // Along the history, by its own count.
            let page = self.history_after(kind, id, cursor, limit).await?;
            let mut events = page.rows;
            let last = events.last().filter(|last| page.is_full && last.position < selection.up_to);
            let next = last.map(|last| last.sequence);
            events.retain(|event| {
                let is_within = event.position > selection.after && event.position <= selection.up_to;
                is_within && selection.event_type.as_ref().is_none_or(|only| *only == event.event_type)
            });
            return Ok(Selected { events, next });
        }
        let shop = self.shop();
        let after = cursor.max(selection.after);
        let end = selection.up_to.min(after.saturating_add(WINDOW));
        let mut page = Page::of_at_most(limit, PAGE_BYTES);
        while let Some(count) = page.wants() {
            let events = sqlx::query_as!(
                StoredEvent,
                r#"SELECT position, recorded_at, aggregate_type, aggregate_id, sequence, event_type, event_version,
                          payload::text AS "payload!", metadata::text AS "metadata!", hash
                   FROM events
                   WHERE shop_id = $1 AND position > $2 AND position <= $3
                     AND ($4::text IS NULL OR aggregate_type = $4)
                     AND ($5::text IS NULL OR event_type = $5)
                   ORDER BY position
                   LIMIT $6"#,
                shop.0,
                page.rows.last().map_or(after, |last: &StoredEvent| last.position),
                end,
                selection.aggregate_type.as_deref(),
                selection.event_type.as_deref(),
                count,
            );
            page.take(count, events.fetch(&mut **self), StoredEvent::length).await?;
        }
        let reached = page.rows.last().filter(|_| page.is_full).map_or(end, |last| last.position);
        Ok(Selected { next: (reached < selection.up_to).then_some(reached), events: page.rows })
    }

    /// At most `limit` events of a history behind one of them, in order; fewer where they are long.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn history_after(
        &mut self,
        aggregate_type: &str,
        aggregate_id: &str,
        sequence: i64,
        limit: i64,
    ) -> Result<Page<StoredEvent>, StoreError> {
        let shop = self.shop();
        let mut page = Page::of_at_most(limit, PAGE_BYTES);
        while let Some(count) = page.wants() {
            let events = sqlx::query_as!(
                StoredEvent,
                r#"SELECT position, recorded_at, aggregate_type, aggregate_id, sequence, event_type, event_version,
                          payload::text AS "payload!", metadata::text AS "metadata!", hash
                   FROM events
                   WHERE shop_id = $1 AND aggregate_type = $2 AND aggregate_id = $3 AND sequence > $4
                   ORDER BY sequence
                   LIMIT $5"#,
                shop.0,
                aggregate_type,
                aggregate_id,
                page.rows.last().map_or(sequence, |last: &StoredEvent| last.sequence),
                count,
            );
            page.take(count, events.fetch(&mut **self), StoredEvent::length).await?;
        }
        Ok(page)
    }

    /// How many events a history has; 0 where there is none.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn history_length(&mut self, aggregate_type: &str, aggregate_id: &str) -> Result<i64, StoreError> {
        let shop = self.shop();
        Ok(sqlx::query_scalar!(
            r#"SELECT COALESCE(max(sequence), 0) AS "length!"
               FROM events
               WHERE shop_id = $1 AND aggregate_type = $2 AND aggregate_id = $3"#,
            shop.0,
            aggregate_type,
            aggregate_id,
        )
        .fetch_one(&mut **self)
        .await?)
    }

    /// What the first so many events of a history make of its aggregate, made of events alone; `None` where there is no such
    /// type, or no event.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn state_at(
        &mut self,
        aggregate_type: &str,
        aggregate_id: &str,
        sequence: i64,
    ) -> Result<Option<StateAt>, StoreError> {
        let Some(begin) = domain::snapshot::of_type(aggregate_type, Begin) else { return Ok(None) };
        let (mut state, mut last) = (begin(), None::<StoredEvent>);
        loop {
            let folded = last.as_ref().map_or(0, |last| last.sequence);
            let limit = FOLDED.min(sequence - folded);
            let page = self.history_after(aggregate_type, aggregate_id, folded, limit).await?.rows;
            for event in &page {
                state.apply_stored(&event.event_type, &event.event_version, &event.payload)?;
            }
            match page.into_iter().next_back() {
                Some(event) => last = Some(event),
                None => break,
            }
        }
        let Some(last) = last else { return Ok(None) };
        let json = state.to_json().map_err(|source| StoreError::Unreadable {
            event_type: last.event_type.clone(),
            position: last.position,
            source,
        })?;
        Ok(Some(StateAt { json, last }))
    }
}
