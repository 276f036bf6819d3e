//! The shops: whether their keys open, what waits, what is dead or parked, and whether anybody works.

use event_store::shop_key;
use ingest::DirectoryEntry;
use projector::{Backlog, backlog};
use read_models::parked;

use super::Report;
use crate::session::Session;

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
    let (mut locked, mut readable) = (Vec::new(), Vec::new());
    for entry in shops {
        let mut tx = session.database.begin_reading(entry.shop).await?;
        match shop_key(&mut tx).await {
            Ok(_) => readable.push(entry),
            Err(_) => locked.push(entry),
        }
    }
    if !locked.is_empty() {
        report.trouble(
            "keys",
            &format!("ENCRYPTION_KEYS cannot open {}", named(&locked)),
            "add the key that sealed them behind the newest one, separated by a comma: it is with whoever made it, and in no \
             backup of the database",
        );
    } else if !readable.is_empty() {
        report.good("keys", &format!("they open what is stored, of {} shops", readable.len()));
    }
    deliveries(session, &readable, report).await?;
    unclaimed(session, report).await?;
    Ok(readable)
}

async fn deliveries(session: &Session, shops: &[DirectoryEntry], report: &mut Report) -> anyhow::Result<()> {
    let (mut waiting, mut dead, mut behind, mut stuck) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut oldest_s = 0.0_f64;
    let mut letters = 0;
    for entry in shops {
        let Some(Backlog { pending: _, oldest_pending_s, dead: of_shop, models }) =
            backlog(&session.database, entry.shop).await?
        else {
            continue;
        };
        if oldest_pending_s > IDLE_S {
            oldest_s = oldest_s.max(oldest_pending_s);
            waiting.push(entry.clone());
        }
        if of_shop > 0 {
            letters += of_shop;
            dead.push(entry.clone());
        }
        if models.iter().any(|model| model.is_parked) {
            let mut tx = session.database.begin_reading(entry.shop).await?;
            let reasons = parked(&mut tx, entry.shop).await?;
            stuck.extend(reasons.into_iter().map(|parked| format!("{} {}", entry.domain, parked.reason)));
        } else if models.iter().any(|model| model.lag_s > IDLE_S) {
            behind.push(entry.clone());
        }
    }
    let paused = shops.iter().filter(|entry| entry.is_paused).count();
    if paused > 0 {
        report.warning(
            "shops",
            &format!("{paused} paused: their deliveries are kept and not worked on"),
            "ecomdash shop pause DOMAIN --resume",
        );
    }
    if waiting.is_empty() && behind.is_empty() {
        report.good("workers", "nothing waits for longer than a minute");
    } else {
        let shown = if waiting.is_empty() { named(&behind) } else { named(&waiting) };
        report.trouble(
            "workers",
            &format!("nobody works on what waits, for {oldest_s:.0} s, of {shown}"),
            "start `ecomdash work`; if it runs, its log says what it waits for",
        );
    }
    if !stuck.is_empty() {
        stuck.truncate(NAMED);
        report.trouble(
            "read models",
            &format!("parked at an event that the build cannot digest: {}", stuck.join("; ")),
            "deploy a build that can, then it goes on by itself; the rest of the shop goes on meanwhile",
        );
    }
    if !dead.is_empty() {
        report.warning(
            "deliveries",
            &format!("{letters} could not be read, of {}", named(&dead)),
            "`ecomdash inbox list --shop DOMAIN --status dead` shows why; after a mend, `ecomdash inbox retry --shop DOMAIN`",
        );
    }
    Ok(())
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

/// Some of them, and how many more.
pub fn named(shops: &[DirectoryEntry]) -> String {
    let names: Vec<&str> = shops.iter().take(NAMED).map(|entry| entry.domain.as_str()).collect();
    match shops.len().saturating_sub(NAMED) {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}
