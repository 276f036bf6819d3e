//! What a restore may have lost or brought back. Every log is read from end to end, and every figure is made anew.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
};

use anyhow::Context;
use compliance::{Entry, Redone};
use event_store::{StoreError, Trust, verify_with};
use ingest::DirectoryEntry;
use projector::{RebuildOptions, rebuild, settle_deliveries};
use read_models::PROJECTIONS;
use vault::SigningKeys;

use super::{Report, fleet::named};
use crate::{commands::output, config::Environment, session::Session};

pub async fn examine(
    environment: &Environment,
    session: &Session,
    shops: &[DirectoryEntry],
    has_receipts: bool,
    report: &mut Report,
) {
    if !has_receipts {
        report.warning(
            "redactions",
            "whoever was erased after the backup is back",
            "`ecomdash doctor --after-restore --receipts FILE`, with the receipts that were kept outside the database",
        );
    }
    let outcome = async {
        logs(environment, session, shops, report).await?;
        figures(session, shops, report).await?;
        tokens(session, shops, report).await
    };
    if let Err(error) = outcome.await {
        report.failed("restore", &format!("{error:#}"));
    }
}

/// Does again what a restore undid of the redactions whose receipts were kept elsewhere.
pub async fn redo(environment: &Environment, session: &Session, receipts: &Path, report: &mut Report) {
    match redo_all(environment, session, receipts).await {
        Ok(Redos { again, already, strange: 0, broken: 0, failed: 0, elsewhere }) => {
            report.good("redactions", &format!("{again} were undone and are done again, {already} were not undone"));
            if elsewhere > 0 {
                report.warning(
                    "redactions",
                    &format!("{elsewhere} are of shops that are not here"),
                    "nothing, if those shops came after the backup",
                );
            }
        }
        Ok(Redos { again, already, strange, broken, failed, .. }) => report.trouble(
            "redactions",
            &format!(
                "{again} are done again, {already} were not undone; {strange} receipts are of no key of SIGNING_KEYS, \
                 {broken} lines are none, {failed} failed (the log says why; a legal hold is in the way of one)"
            ),
            "see whose these are before anybody reads the figures: name the keys of that time, or restore the file",
        ),
        Err(error) => report.failed("redactions", &format!("{error:#}")),
    }
}

#[derive(Default)]
struct Redos {
    again: u64,
    already: u64,
    elsewhere: u64,
    /// Not signed by us.
    strange: u64,
    /// Lines that are no receipts.
    broken: u64,
    failed: u64,
}

async fn redo_all(environment: &Environment, session: &Session, receipts: &Path) -> anyhow::Result<Redos> {
    let signing = environment.signing_keys()?;
    let file = File::open(receipts).with_context(|| format!("{} cannot be read", receipts.display()))?;
    let mut redos = Redos::default();
    for line in BufReader::new(file).split(b'\n') {
        let line = line.with_context(|| format!("{} cannot be read", receipts.display()))?;
        if line.trim_ascii().is_empty() {
            continue;
        }
        match serde_json::from_slice::<Entry>(&line) {
            Err(_) => redos.broken += 1,
            Ok(entry) if !entry.is_genuine(&signing) => redos.strange += 1,
            Ok(entry) => match redo_one(session, &entry, &signing).await {
                Ok(Redone::Again) => redos.again += 1,
                Ok(Redone::Already) => redos.already += 1,
                Ok(Redone::NoSuchShop) => redos.elsewhere += 1,
                // One that fails holds up no other.
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(shop = %entry.shop, redaction = entry.id, error, "not done again");
                    redos.failed += 1;
                }
            },
        }
    }
    Ok(redos)
}

/// Each goes through thousands of deliveries, or waits for seconds.
const SETTLED_AT_MOST: u32 = 50;

async fn redo_one(session: &Session, entry: &Entry, signing: &SigningKeys) -> Result<Redone, StoreError> {
    // Nobody may have worked on it yet.
    let now = chrono::Utc::now();
    let settle = async || {
        for _ in 0..SETTLED_AT_MOST {
            if settle_deliveries(&session.database, entry.shop, now).await? {
                return Ok(true);
            }
        }
        Ok(false)
    };
    compliance::redo(&session.database, entry, signing, now, settle).await
}

async fn logs(
    environment: &Environment,
    session: &Session,
    shops: &[DirectoryEntry],
    report: &mut Report,
) -> anyhow::Result<()> {
    let keys = environment.signing_keys_if_any()?.map(|keys| keys.public()).unwrap_or_default();
    // What a key has signed that is not at hand here is said apart: it is no damage.
    let trust = Trust { keys, accepts_unknown_keys: true, ..Trust::default() };
    let (mut broken, mut events, mut newest, mut unchecked) = (0, 0, None, 0);
    for entry in shops {
        let bar = output::progress(entry.domain.as_str());
        let (head, recorded_at) = session.database.begin_reading(entry.shop).await?.head().await?;
        bar.set_length(head.cast_unsigned());
        let along = |read: i64| bar.set_position(read.cast_unsigned());
        let verified = verify_with(&session.database, entry.shop, trust.clone(), along).await?;
        bar.finish_and_clear();
        unchecked += verified.unchecked_signatures;
        events += verified.events;
        newest = newest.max(Some(recorded_at));
        if let Some(fault) = verified.fault {
            broken += 1;
            report.trouble(
                "log",
                &format!("of {}, position {}: {}", entry.domain, fault.position, fault.kind),
                "the backup or the restore is damaged: restore another one",
            );
        }
    }
    if broken == 0 {
        report.good("log", &format!("{events} events of {} shops, every chain unbroken", shops.len()));
    }
    if unchecked > 0 {
        report.warning(
            "signatures",
            &format!("{unchecked} checkpoints of logs are of keys that are not known here: they prove nothing"),
            "give SIGNING_KEYS as the services have them, with the public keys of former ones; then `ecomdash verify`",
        );
    }
    if let Some(newest) = newest {
        report.warning(
            "since then",
            &format!("the last event is of {newest}: what was acknowledged later is not here, and Shopify does not send it again"),
            "take in the orders changed since then as documents of the Admin API (`ecomdash ingest`)",
        );
    }
    Ok(())
}

async fn figures(session: &Session, shops: &[DirectoryEntry], report: &mut Report) -> anyhow::Result<()> {
    let mut differ = Vec::new();
    for entry in shops {
        for (name, _) in PROJECTIONS {
            let bar = output::progress(&format!("{} {name}", entry.domain));
            let options = RebuildOptions { check_only: true, ..RebuildOptions::of(name) };
            let compared = rebuild(&session.database, entry.shop, options, |position, head| {
                bar.set_length(head.cast_unsigned());
                bar.set_position(position.cast_unsigned());
            });
            let compared = compared.await?;
            bar.finish_and_clear();
            if !compared.comparison.is_equal() {
                differ.push(entry.clone());
            }
        }
    }
    if differ.is_empty() {
        report.good("figures", "made anew from the logs, they are the same");
    } else {
        report.trouble(
            "figures",
            &format!("made anew from the log, those of {} are others", named(&differ)),
            "ecomdash rebuild --shop DOMAIN",
        );
    }
    Ok(())
}

async fn tokens(session: &Session, shops: &[DirectoryEntry], report: &mut Report) -> anyhow::Result<()> {
    let mut alive = 0;
    for shop in shops.iter().map(|entry| Some(entry.shop)).chain([None]) {
        let tokens = api::list(&session.database, shop).await?;
        let now = chrono::Utc::now();
        alive += tokens.iter().filter(|token| token.is_good(now)).count();
    }
    if alive > 0 {
        report.warning(
            "tokens",
            &format!("{alive} are good, those too that were revoked after the backup"),
            "`ecomdash token list [--shop DOMAIN]`, and `ecomdash token revoke ID --reason REASON` for those that are to be none",
        );
    }
    Ok(())
}
