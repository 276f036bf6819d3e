//! Reading the log: pages and streams of one shop's events, in order.

use chrono::{DateTime, TimeDelta, Utc};
use cqrs_es::DomainEvent;
use domain::{ShopId, Snapshot};
use futures::{Stream, TryStreamExt, stream};

pub use domain::command::Stored as Decode;

use crate::{
    Database, GENESIS, Link, Page, ShopTx, StoreError, StreamId,
    append::{Basis, Lock, Wanted},
    command::new_state,
};

/// Of a page of events, which is in memory as a whole.
const PAGE_BYTES: usize = 4 << 20;
/// The end of the year 9999, behind all that is ever recorded.
const FAR_AWAY: DateTime<Utc> = DateTime::from_timestamp(253_402_300_799, 0).expect("an instant");

/// An event as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
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
    /// The stored bytes.
    pub payload: String,
    /// The stored bytes.
    pub metadata: String,
    /// As stored.
    pub hash: Vec<u8>,
}

impl StoredEvent {
    /// The event that its bytes stand for.
    ///
    /// # Errors
    /// [`StoreError::Newer`] or [`StoreError::Unreadable`].
    pub fn decode<E: Decode + DomainEvent>(&self) -> Result<E, StoreError> {
        decode(&self.event_type, &self.event_version, &self.payload, self.position)
    }

    /// Whether its hash follows from what it says and from the hash of the event before it; the first one has none before it.
    #[must_use]
    pub fn follows(&self, shop: ShopId, previous: Option<&[u8]>) -> bool {
        let previous = match self.position {
            1 => Some(GENESIS),
            _ => previous.and_then(|hash| hash.try_into().ok()),
        };
        previous.is_some_and(|previous| self.link(shop).hash(&previous).as_slice() == self.hash)
    }

    /// About how many bytes it takes.
    pub(crate) fn length(&self) -> usize {
        size_of::<Self>() + self.payload.len() + self.metadata.len()
    }

    /// What of it is chained.
    #[must_use]
    pub fn link(&self, shop: ShopId) -> Link<'_> {
        Link {
            shop,
            position: self.position,
            recorded_at: self.recorded_at,
            aggregate_type: &self.aggregate_type,
            aggregate_id: &self.aggregate_id,
            sequence: self.sequence,
            event_type: &self.event_type,
            event_version: &self.event_version,
            payload: &self.payload,
            metadata: &self.metadata,
        }
    }
}

/// Reads stored bytes as an event, older versions included.
///
/// # Errors
/// [`StoreError::Newer`] for what this build does not know, [`StoreError::Unreadable`] for what it should.
pub fn decode<E: Decode>(event_type: &str, event_version: &str, payload: &str, position: i64) -> Result<E, StoreError> {
    if !E::knows(event_type, event_version) {
        return Err(StoreError::Newer { event_type: event_type.to_owned(), event_version: event_version.to_owned() });
    }
    E::from_stored(event_type, event_version, payload).map_err(|source| StoreError::Unreadable {
        event_type: event_type.to_owned(),
        position,
        source,
    })
}

/// What an event is, without what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventHeading {
    /// 1, 2, 3 … in the shop's log.
    pub position: i64,
    /// When it was written.
    pub recorded_at: DateTime<Utc>,
    /// `order`, `shop` …
    pub aggregate_type: String,
    /// `OrderPlaced` …
    pub event_type: String,
}

impl ShopTx {
    /// The last events, newest first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn last_events(&mut self, limit: i64) -> Result<Vec<EventHeading>, StoreError> {
        let shop = self.shop();
        Ok(sqlx::query_as!(
            EventHeading,
            "SELECT position, recorded_at, aggregate_type, event_type
             FROM events
             WHERE shop_id = $1
             ORDER BY position DESC
             LIMIT $2",
            shop.0,
            limit,
        )
        .fetch_all(&mut **self)
        .await?)
    }

    /// At most `limit` events after a position, in order; fewer where they are long.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn events_after(&mut self, position: i64, limit: i64) -> Result<Page<StoredEvent>, StoreError> {
        let shop = self.shop();
        let mut page = Page::of_at_most(limit, PAGE_BYTES);
        while let Some(count) = page.wants() {
            let events = sqlx::query_as!(
                StoredEvent,
                r#"SELECT position, recorded_at, aggregate_type, aggregate_id, sequence, event_type, event_version,
                          payload::text AS "payload!", metadata::text AS "metadata!", hash
                   FROM events
                   WHERE shop_id = $1 AND position > $2
                   ORDER BY position
                   LIMIT $3"#,
                shop.0,
                page.rows.last().map_or(position, |last: &StoredEvent| last.position),
                count,
            );
            page.take(count, events.fetch(&mut **self), StoredEvent::length).await?;
        }
        Ok(page)
    }

    /// The whole history of the named aggregates of one type up to a position, in the log's order.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn histories(
        &mut self,
        aggregate_type: &str,
        aggregate_ids: &[String],
        up_to: i64,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let shop = self.shop();
        Ok(sqlx::query_as!(
            StoredEvent,
            r#"SELECT position, recorded_at, aggregate_type, aggregate_id, sequence, event_type, event_version,
                      payload::text AS "payload!", metadata::text AS "metadata!", hash
               FROM UNNEST($3::text[]) AS w (id)
               CROSS JOIN LATERAL (
                   SELECT * FROM events
                   WHERE shop_id = $1 AND aggregate_type = $2 AND aggregate_id = w.id AND position <= $4
                   ORDER BY sequence OFFSET 0
               ) e
               ORDER BY aggregate_id, sequence"#,
            shop.0,
            aggregate_type,
            aggregate_ids,
            up_to,
        )
        .fetch_all(&mut **self)
        .await?)
    }

    /// An aggregate as its history makes it, of which only what its snapshot lacks is read; the default one if it has none.
    ///
    /// # Errors
    /// [`StoreError::NoSuchShop`], [`StoreError::Unavailable`], [`StoreError::Newer`], [`StoreError::Unreadable`].
    pub async fn load<A: Snapshot + 'static>(&mut self, aggregate_id: &str) -> Result<A, StoreError> {
        let id = StreamId { aggregate_type: A::TYPE, aggregate_id: aggregate_id.to_owned() };
        let wanted = Wanted::stream(id.clone(), new_state::<A>);
        let (shop, ring) = (self.shop(), self.shared_ring());
        let basis = Basis::load(&mut *self, shop, &ring, &wanted, Lock::Nothing).await?;
        let mut state = basis.into_state(&id).expect("it was wanted");
        Ok(std::mem::take(state.as_any().downcast_mut::<A>().expect("begun as one")))
    }

    /// The position of the last event that was recorded by an instant; 0 where none was. Times of recording grow with
    /// positions, of which none is missing: so halving the log finds it, and needs no index.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn position_at(&mut self, at: DateTime<Utc>) -> Result<i64, StoreError> {
        let shop = self.shop();
        // PostgreSQL knows no instants that are further away.
        let at = at.clamp(DateTime::UNIX_EPOCH, FAR_AWAY);
        let position = sqlx::query_scalar!(
            r#"WITH RECURSIVE halves (low, high) AS (
                   SELECT 0::bigint, position FROM heads WHERE shop_id = $1
                   UNION ALL
                   SELECT CASE WHEN e.recorded_at <= $2 THEN e.position ELSE h.low END,
                          CASE WHEN e.recorded_at <= $2 THEN h.high ELSE e.position - 1 END
                   FROM halves h
                   CROSS JOIN LATERAL (
                       SELECT position, recorded_at FROM events
                       WHERE shop_id = $1 AND position = h.low + (h.high - h.low + 1) / 2 OFFSET 0
                   ) e
                   WHERE h.low < h.high
               )
               SELECT low AS "low!" FROM halves WHERE low = high"#,
            shop.0,
            at,
        )
        .fetch_optional(&mut **self)
        .await?;
        Ok(position.unwrap_or(0))
    }

    /// The position of the last event that was recorded before an instant; 0 where none was.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn position_before(&mut self, instant: DateTime<Utc>) -> Result<i64, StoreError> {
        match instant.checked_sub_signed(TimeDelta::nanoseconds(1)) {
            Some(at) => self.position_at(at).await,
            None => Ok(0),
        }
    }

    /// When an event was recorded; `None` where there is none at that position.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn recorded_at(&mut self, position: i64) -> Result<Option<DateTime<Utc>>, StoreError> {
        let shop = self.shop();
        let at = sqlx::query_scalar!(
            "SELECT recorded_at FROM events WHERE shop_id = $1 AND position = $2",
            shop.0,
            position
        );
        Ok(at.fetch_optional(&mut **self).await?)
    }

    /// An aggregate as its history up to a position makes it; the default one if that is empty.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Newer`], [`StoreError::Unreadable`].
    pub async fn load_as_of<A: Snapshot>(&mut self, aggregate_id: &str, up_to: i64) -> Result<A, StoreError> {
        let mut state = A::default();
        for event in self.histories(A::TYPE, &[aggregate_id.to_owned()], up_to).await? {
            state.apply(event.decode()?);
        }
        Ok(state)
    }

    /// The position and time of the newest event that is stored.
    ///
    /// # Errors
    /// [`StoreError::NoSuchShop`] or [`StoreError::Unavailable`].
    pub async fn head(&mut self) -> Result<(i64, DateTime<Utc>), StoreError> {
        let shop = self.shop();
        let head = sqlx::query!("SELECT position, recorded_at FROM heads WHERE shop_id = $1", shop.0)
            .fetch_optional(&mut **self)
            .await?
            .ok_or(StoreError::NoSuchShop(shop))?;
        Ok((head.position, head.recorded_at))
    }
}

/// The events of a shop in `(after, up_to]`, in order, page by page: constant memory, and no transaction outlives a page.
pub fn events(
    database: &Database,
    shop: ShopId,
    after: i64,
    up_to: i64,
) -> impl Stream<Item = Result<StoredEvent, StoreError>> + Unpin {
    const PAGE: i64 = 1000;
    let database = database.clone();
    let pages = stream::try_unfold(after, move |after| {
        let database = database.clone();
        async move {
            let limit = PAGE.min(up_to - after);
            if limit <= 0 {
                return Ok::<_, StoreError>(None);
            }
            let mut tx = database.begin(shop).await?;
            let page = tx.events_after(after, limit).await?;
            tx.commit().await?;
            let next = page.rows.last().map(|last| last.position);
            Ok(next.map(|next| (stream::iter(page.rows.into_iter().map(Ok)), next)))
        }
    });
    Box::pin(pages.try_flatten())
}
