//! Whether a shop's log is what was written: every hash recomputed, every position and sequence counted, and the whole
//! compared with what was signed of it.

use std::collections::VecDeque;

use domain::ShopId;

use crate::{
    Checkpoint, Database, Page, StoreError, StoredEvent, Trust, Verified,
    checker::{Checker, FaultKind},
};

/// Events of one look.
const PAGE: i64 = 1000;
/// Checkpoints of one look.
const CHECKPOINTS: i64 = 500;

/// A verification under way: page by page, so that whoever looks can be told how far it is and can leave at any time.
pub struct Verification {
    database: Database,
    shop: ShopId,
    /// What is looked at next.
    page: Vec<StoredEvent>,
    /// Lent to a thread of its own while that looks at a page.
    along: Option<Box<Along>>,
    /// Events that were looked at, and those that there were at the beginning.
    progress: (i64, i64),
}

/// What goes along the log.
struct Along {
    checker: Checker,
    /// As it was at the beginning.
    head: (i64, Vec<u8>),
    /// Of the stored checkpoints, the next ones.
    stored: VecDeque<Checkpoint>,
    /// Up to this position they were read; once all were, there is no end to it.
    stored_up_to: i64,
}

impl Along {
    /// `false` once something is wrong.
    fn look_at(&mut self, page: &[StoredEvent]) -> bool {
        page.iter().all(|event| {
            let before = self.checker.verified.hash;
            if !self.checker.take(event) {
                return false;
            }
            if event.position == self.head.0 && event.hash != self.head.1 {
                self.checker.verified.events -= 1;
                self.checker.verified.hash = before;
                return self.checker.fault(event.position, FaultKind::Head);
            }
            while let Some(checkpoint) = self.stored.pop_front_if(|next| next.position <= event.position) {
                if !self.checker.compare(&checkpoint) {
                    return false;
                }
            }
            true
        })
    }

    /// Reads the stored checkpoints up to a position.
    async fn read_checkpoints(&mut self, database: &Database, shop: ShopId, up_to: i64) -> Result<(), StoreError> {
        while self.stored_up_to < up_to {
            let mut tx = database.begin(shop).await?;
            let page = tx.checkpoints_after(self.stored_up_to, CHECKPOINTS).await?;
            tx.commit().await?;
            let is_full = i64::try_from(page.len()).is_ok_and(|count| count == CHECKPOINTS);
            // Those that come later are of a later verification, unless they are of more than there is.
            self.stored_up_to = page.last().filter(|_| is_full).map_or(i64::MAX, |last| last.position);
            self.stored.extend(page);
        }
        Ok(())
    }
}

impl Verification {
    /// Begins at the log's first event.
    ///
    /// # Errors
    /// [`StoreError::NoSuchShop`] or [`StoreError::Unavailable`].
    pub async fn begin(database: &Database, shop: ShopId, trust: Trust) -> Result<Self, StoreError> {
        Self::begin_behind(database, shop, trust, None).await
    }

    /// Begins behind a genuine checkpoint of the log, if there is one: what is before it is not looked at.
    pub(crate) async fn begin_behind(
        database: &Database,
        shop: ShopId,
        trust: Trust,
        signed: Option<&Checkpoint>,
    ) -> Result<Self, StoreError> {
        let from = signed.map_or(0, |signed| signed.position);
        let mut tx = database.begin(shop).await?;
        let head = sqlx::query!("SELECT position, hash FROM heads WHERE shop_id = $1", shop.0)
            .fetch_optional(&mut *tx)
            .await?
            .ok_or(StoreError::NoSuchShop(shop))?;
        let page = tx.events_after(from, PAGE).await?.rows;
        tx.commit().await?;
        let mut checker = Checker::new(shop, trust);
        if let Some(signed) = signed {
            checker.behind(signed);
        }
        let head = (head.position, head.hash);
        let progress = (from, head.0);
        let along = Along { checker, head, stored: VecDeque::new(), stored_up_to: from };
        Ok(Self { database: database.clone(), shop, page, along: Some(Box::new(along)), progress })
    }

    /// How many events were looked at, and how many there were at the beginning.
    #[must_use]
    pub fn progress(&self) -> (i64, i64) {
        self.progress
    }

    /// Looks at a page; the outcome, once there is one.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]. A log that is wrong is an outcome, not an error.
    pub async fn step(&mut self) -> Result<Option<Verified>, StoreError> {
        let mut along = self.along.take().ok_or_else(|| StoreError::Refused("it has ended".into()))?;
        let page = std::mem::take(&mut self.page);
        let Some(last) = page.last().map(|last| last.position) else { return self.end(along).await };
        along.read_checkpoints(&self.database, self.shop, last).await?;
        let looking = tokio::task::spawn_blocking(move || (along.look_at(&page), along));
        // The next page is on its way meanwhile.
        let (looked, next) = tokio::join!(looking, read(&self.database, self.shop, last));
        let (is_good, along) = looked.map_err(|fault| StoreError::Refused(fault.into()))?;
        self.progress.0 = along.checker.verified.events;
        if !is_good {
            return Ok(Some(along.checker.outcome()));
        }
        self.page = next?.rows;
        self.along = Some(along);
        Ok(None)
    }

    async fn end(&mut self, along: Box<Along>) -> Result<Option<Verified>, StoreError> {
        let events = along.checker.verified.events;
        let mut tx = self.database.begin(self.shop).await?;
        let later = tx.checkpoints_after(events, 1).await?;
        // Read after the checkpoints: what one of them is of was there before it.
        let news = tx.events_after(events, PAGE).await?.rows;
        let (head, _) = tx.head().await?;
        tx.commit().await?;
        if !news.is_empty() {
            self.page = news;
            self.along = Some(along);
            return Ok(None);
        }
        let Along { mut checker, head: at_first, .. } = *along;
        if !checker.compare_beyond(&later) {
            return Ok(Some(checker.outcome()));
        }
        // Events may have been appended since the head was read, never taken away. At the head that it began with, there was
        // nothing to look at.
        let is_another = at_first.0 == events && at_first.1 != checker.verified.hash;
        if events < at_first.0 || is_another {
            checker.fault(events + 1, FaultKind::Head);
        } else if events > head {
            // Whatever stands behind the head as it is now was not written by an append.
            checker.fault(head + 1, FaultKind::Head);
        }
        Ok(Some(checker.outcome()))
    }
}

async fn read(database: &Database, shop: ShopId, after: i64) -> Result<Page<StoredEvent>, StoreError> {
    let mut tx = database.begin(shop).await?;
    let page = tx.events_after(after, PAGE).await?;
    tx.commit().await?;
    Ok(page)
}

/// Reads a shop's whole log, calling `progress` with the number of events so far. It says that the log agrees with itself, and
/// with its stored checkpoints, whose signatures are not checked: nobody says whose would be good.
///
/// # Errors
/// [`StoreError::NoSuchShop`] or [`StoreError::Unavailable`]. A log that is wrong is an outcome, not an error.
pub async fn verify(database: &Database, shop: ShopId, progress: impl FnMut(i64)) -> Result<Verified, StoreError> {
    let trust = Trust { accepts_unknown_keys: true, ..Trust::default() };
    verify_with(database, shop, trust, progress).await
}

/// The same, compared with what is trusted.
///
/// # Errors
/// As [`verify`].
pub async fn verify_with(
    database: &Database,
    shop: ShopId,
    trust: Trust,
    mut progress: impl FnMut(i64),
) -> Result<Verified, StoreError> {
    let mut verification = Verification::begin(database, shop, trust).await?;
    loop {
        if let Some(verified) = verification.step().await? {
            return Ok(verified);
        }
        progress(verification.progress().0);
    }
}
