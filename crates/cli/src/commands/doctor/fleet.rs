//! The shops: whether their keys open, what waits, what is dead or parked, and whether anybody works.

use domain::shop::Shop;
use event_store::{StoreError, shop_key};
use ingest::DirectoryEntry;
use projector::backlog;
use read_models::parked;
use vault::VaultError;

use super::Report;
use crate::{commands::output, session::Session};

/// What waits for longer than this waits for a worker.
const IDLE_S: f64 = 60.0;
/// How many shops a finding names.
const NAMED: usize = 5;

/// Returns the shops, those that can be read.
pub async fn examine(session: &Session, report: &mut Report) -> Vec<DirectoryEntry> {
    match try_examine(session, report).await {
        Ok(shops) => shops,
        Err(error) => {
            report.failed("shops", &format!("{error:#}"));
            Vec::new()
        }
    }
}

async fn try_examine(session: &Session, report: &mut Report) -> anyhow::Result<Vec<DirectoryEntry>> {
    let shops = session.shops(None).await?;
    if shops.is_empty() {
        report.warning(
            "shops",
            "none is registered: deliveries are kept for seven days",
            "ecomdash shop register DOMAIN --timezone IANA --currency ISO",
        );
    }
    let paused = shops.iter().filter(|entry| entry.is_paused).count();
    let mut found = Found::default();
    let bar = output::progress("shops");
    bar.set_length(shops.len() as u64);
    for entry in shops {
        found.look_at(session, entry).await?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    found.keys_and_logs(report);
    found.deliveries(paused, report);
    unclaimed(session, report).await?;
    master_keys(session, report).await?;
    Ok(found.readable)
}

#[derive(Default)]
struct Found {
    /// Whose keys open, or were destroyed on purpose, and whose log begins as one does.
    readable: Vec<DirectoryEntry>,
    redacted: usize,
    locked: Vec<DirectoryEntry>,
    without_log: Vec<DirectoryEntry>,
    unreadable: Vec<DirectoryEntry>,
    /// Of deliveries that are due, and of events that are not in a read model.
    waiting: Vec<DirectoryEntry>,
    waiting_s: f64,
    dead: Vec<DirectoryEntry>,
    letters: i64,
    parked: Vec<String>,
}

impl Found {
    async fn look_at(&mut self, session: &Session, entry: DirectoryEntry) -> anyhow::Result<()> {
        let mut tx = session.database.begin_reading(entry.shop).await?;
        match shop_key(&mut tx).await {
            Ok(_) => {}
            Err(StoreError::Keys(_, VaultError::Redacted)) => {
                self.redacted += 1;
                return Ok(());
            }
            Err(StoreError::Keys(..)) => {
                self.locked.push(entry);
                return Ok(());
            }
            Err(StoreError::NoSuchShop(_)) => {
                self.without_log.push(entry);
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
        match tx.load::<Shop>(Shop::ID).await {
            Ok(_) => {}
            Err(error @ (StoreError::Unavailable(_) | StoreError::Database(_))) => return Err(error.into()),
            Err(StoreError::NoSuchShop(_)) => {
                self.without_log.push(entry);
                return Ok(());
            }
            Err(_) => {
                self.unreadable.push(entry);
                return Ok(());
            }
        }
        tx.commit().await?;
        let Some(backlog) = backlog(&session.database, entry.shop).await? else {
            self.without_log.push(entry);
            return Ok(());
        };
        let waits_s = backlog.models.iter().filter(|model| !model.is_parked).map(|model| model.lag_s);
        let waits_s = waits_s.fold(backlog.oldest_due_s, f64::max);
        if waits_s > IDLE_S {
            self.waiting_s = self.waiting_s.max(waits_s);
            self.waiting.push(entry.clone());
        }
        if backlog.dead > 0 {
            self.letters += backlog.dead;
            self.dead.push(entry.clone());
        }
        if backlog.models.iter().any(|model| model.is_parked) {
            let mut tx = session.database.begin_reading(entry.shop).await?;
            let reasons = parked(&mut tx, entry.shop).await?;
            self.parked.extend(reasons.into_iter().map(|parked| format!("{} {}", entry.domain, parked.reason)));
        }
        self.readable.push(entry);
        Ok(())
    }

    fn keys_and_logs(&self, report: &mut Report) {
        if !self.locked.is_empty() {
            report.trouble(
                "keys",
                &format!("ENCRYPTION_KEYS cannot open {}", named(&self.locked)),
                "add the key that sealed them behind the newest one, separated by a comma: it is with whoever made it, and in \
                 no backup of the database",
            );
        } else if !self.readable.is_empty() {
            report.good("keys", &format!("they open what is stored, of {} shops", self.readable.len()));
        }
        if self.redacted > 0 {
            report.good("keys", &format!("those of {} shops are destroyed, as their redaction asked", self.redacted));
        }
        if !self.without_log.is_empty() {
            report.trouble(
                "shops",
                &format!("{} is registered and has no log or no key", named(&self.without_log)),
                "the database is not whole: restore a backup that is",
            );
        }
        if !self.unreadable.is_empty() {
            report.trouble(
                "shops",
                &format!("what the log says of the shop itself cannot be read, of {}", named(&self.unreadable)),
                "`ecomdash verify --shop DOMAIN` says whether the log is damaged; if it is whole, deploy a build that is newer",
            );
        }
    }

    fn deliveries(&mut self, paused: usize, report: &mut Report) {
        if paused > 0 {
            report.warning(
                "shops",
                &format!("{paused} paused: their deliveries are kept and not worked on"),
                "ecomdash shop pause DOMAIN --resume",
            );
        }
        if self.waiting.is_empty() {
            report.good("workers", "nothing waits for longer than a minute");
        } else {
            report.trouble(
                "workers",
                &format!("what waits is not worked on, for {:.0} s, of {}", self.waiting_s, named(&self.waiting)),
                "start `ecomdash work`, or more of it; if it runs, its log says what it waits for",
            );
        }
        if !self.parked.is_empty() {
            self.parked.truncate(NAMED);
            report.trouble(
                "read models",
                &format!("parked at an event that the build cannot digest: {}", self.parked.join("; ")),
                "deploy a build that can, then it goes on by itself; the rest of the shop goes on meanwhile",
            );
        }
        if !self.dead.is_empty() {
            report.warning(
                "deliveries",
                &format!("{} could not be read, of {}", self.letters, named(&self.dead)),
                "`ecomdash inbox list --shop DOMAIN --status dead` shows why; after a mend, \
                 `ecomdash inbox retry --shop DOMAIN`",
            );
        }
    }
}

async fn unclaimed(session: &Session, report: &mut Report) -> anyhow::Result<()> {
    let mut fleet = session.database.begin_fleet().await?;
    let (count, domains) = ingest::unclaimed(&mut fleet, i64::try_from(NAMED)?).await?;
    fleet.commit().await?;
    if count > 0 {
        report.warning(
            "deliveries",
            &format!(
                "{count} are of shops that are not registered, as {}; they go after seven days",
                domains.join(", ")
            ),
            "ecomdash shop register DOMAIN --timezone IANA --currency ISO, which takes them over",
        );
    }
    Ok(())
}

/// Which keys are missing, which are needed no more, and whether a rotation is to be ended.
async fn master_keys(session: &Session, report: &mut Report) -> anyhow::Result<()> {
    let ring = session.database.ring();
    let uses = ingest::key_uses(&session.database, |_| true).await?;
    let mut is_done = true;
    for (id, of_key) in uses.iter().filter(|(id, _)| **id != ring.newest()) {
        is_done = false;
        if ring.holds(id) {
            report.warning(
                "keys",
                &format!("key {id} of ENCRYPTION_KEYS is not the newest, and still needed for {of_key}"),
                "ecomdash keys rotate, once every process has the newest key first",
            );
        } else {
            report.trouble(
                "keys",
                &format!("ENCRYPTION_KEYS cannot open {of_key}, which need key {id}"),
                "add it behind the newest one, separated by a comma",
            );
        }
    }
    let older = &ring.ids()[1..];
    if is_done && !older.is_empty() {
        let older = older.join(", ");
        report.good("keys", &format!("nothing needs {older}: it may be dropped, unless it is yet to be the newest"));
    }
    Ok(())
}

/// Some of them, and how many more.
pub fn named(shops: &[DirectoryEntry]) -> String {
    let names: Vec<&str> = shops.iter().take(NAMED).map(|entry| entry.domain.as_str()).collect();
    match shops.len().saturating_sub(NAMED) {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}
