//! `doctor`: looks for every trouble that it knows of, and says what to do about each. It mends nothing: with
//! `--after-restore` it fills a generation of each read model to compare, and deletes it again; with receipts beside it, it
//! erases again whom the restore brought back.

mod api;
mod fleet;
mod ground;
mod restored;
mod settings;

use std::process::ExitCode;

use serde_json::json;

use super::{FEW, output};
use crate::{
    args::DoctorArgs,
    config::Environment,
    session::{Place, Session},
};

pub async fn run(environment: &Environment, args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    let mut report = Report { is_json: environment.json, ..Report::default() };
    let has_keys = settings::names_keys(environment, &mut report);
    if has_keys {
        settings::examine(environment, &mut report);
    }
    match settings::names_a_database(environment, &mut report) && has_keys {
        true => match Place::of(environment) {
            Ok(place) => database(environment, args, place, &mut report).await?,
            Err(error) => report.trouble(
                "database",
                &format!("there is none: {error:#}"),
                "set DATABASE_URL to postgres://USER:PASSWORD@HOST/DATABASE, or install PostgreSQL for a private one",
            ),
        },
        false => report.unseen("shops", "what stands above is in the way"),
    }
    settings::examine_redis(environment, &mut report).await;
    if let Some(url) = &args.url {
        api::examine(environment, url.trim_end_matches('/'), &mut report).await;
    }
    Ok(report.end())
}

async fn database(
    environment: &Environment,
    args: &DoctorArgs,
    place: Place,
    report: &mut Report,
) -> anyhow::Result<()> {
    if !ground::examine(environment, &place.url, report).await {
        report.unseen("shops", "what stands above is in the way");
        return Ok(());
    }
    if environment.master_ring().is_err() {
        report.unseen("shops", "without master keys nothing that they hold can be opened");
        return Ok(());
    }
    let session = Session::at(place, environment, FEW)?;
    let shops = fleet::examine(&session, report).await;
    if args.after_restore {
        if let Some(receipts) = &args.receipts {
            restored::redo(environment, &session, receipts, report).await;
        }
        let shops = session.shops(None).await.unwrap_or(shops);
        restored::examine(environment, &session, &shops, args.receipts.is_some(), report).await;
    }
    session.database.close().await;
    Ok(())
}

/// What was found, told as it is found.
#[derive(Default)]
struct Report {
    is_json: bool,
    troubles: u32,
    warnings: u32,
    unseen: u32,
}

impl Report {
    /// As it should be.
    fn good(&mut self, what: &str, finding: &str) {
        self.tell("good", what, finding, None);
    }

    /// It works, and may not for long or not for everybody.
    fn warning(&mut self, what: &str, finding: &str, fix: &str) {
        self.warnings += 1;
        self.tell("warning", what, finding, Some(fix));
    }

    /// It does not work.
    fn trouble(&mut self, what: &str, finding: &str, fix: &str) {
        self.troubles += 1;
        self.tell("TROUBLE", what, finding, Some(fix));
    }

    /// What is in the way of a look.
    fn unseen(&mut self, what: &str, why: &str) {
        self.unseen += 1;
        self.tell("unseen", what, why, None);
    }

    /// A look that itself failed.
    fn failed(&mut self, what: &str, error: &dyn std::fmt::Display) {
        self.trouble(what, &format!("the look at it failed: {error}"), "mend what stands above first, then look again");
    }

    fn tell(&self, verdict: &str, what: &str, finding: &str, fix: Option<&str>) {
        if self.is_json {
            let verdict = verdict.to_lowercase();
            output::json(&json!({ "verdict": verdict, "what": what, "finding": finding, "fix": fix }));
            return;
        }
        output::line(format!("{verdict:<8} {what:<12} {finding}"));
        if let Some(fix) = fix {
            output::line(format!("{:<8} {:<12} → {fix}", "", ""));
        }
    }

    /// Fails where there is trouble, or where it could not look.
    fn end(self) -> ExitCode {
        let Self { is_json, troubles, warnings, unseen } = self;
        if !is_json {
            output::line(format!("{troubles} in trouble, {warnings} to be watched, {unseen} not looked at"));
        }
        if troubles + unseen == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
