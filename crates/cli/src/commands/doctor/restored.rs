//! What a restore may have lost or brought back. Every log is read from end to end, and every figure is made anew.

use event_store::verify;
use ingest::DirectoryEntry;
use projector::{RebuildOptions, rebuild};
use read_models::PROJECTIONS;

use super::{Report, fleet::named};
use crate::{commands::output, session::Session};

pub async fn examine(session: &Session, shops: &[DirectoryEntry], report: &mut Report) {
    let outcome = async {
        logs(session, shops, report).await?;
        figures(session, shops, report).await?;
        tokens(session, shops, report).await
    };
    if let Err(error) = outcome.await {
        report.failed("restore", &format!("{error:#}"));
    }
}

async fn logs(session: &Session, shops: &[DirectoryEntry], report: &mut Report) -> anyhow::Result<()> {
    let (mut broken, mut events, mut newest) = (0, 0, None);
    for entry in shops {
        let bar = output::progress(entry.domain.as_str());
        let (head, recorded_at) = session.database.begin_reading(entry.shop).await?.head().await?;
        bar.set_length(head.cast_unsigned());
        let verified = verify(&session.database, entry.shop, |read| bar.set_position(read.cast_unsigned())).await?;
        bar.finish_and_clear();
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
            "`ecomdash token list [--shop DOMAIN]`, and `ecomdash token revoke ID` for those that are to be none",
        );
    }
    Ok(())
}
