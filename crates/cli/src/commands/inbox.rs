//! `inbox list|retry`

use std::process::ExitCode;

use ingest::InboxStatus;
use serde_json::to_value;

use super::{FEW, output};
use crate::{
    args::InboxCommand,
    config::Environment,
    session::{Schema, Session},
};

pub async fn run(environment: &Environment, command: InboxCommand) -> anyhow::Result<ExitCode> {
    let session = Session::open(environment, FEW, Schema::Require).await?;
    match command {
        InboxCommand::List { shop, status, limit } => {
            let entry = session.shop(&shop).await?;
            let mut tx = session.database.begin_reading(entry.shop).await?;
            for item in ingest::list(&mut tx, status, limit).await? {
                if environment.json {
                    output::json(&to_value(&item)?);
                } else {
                    let why = item.reason.or(item.note).map(|why| format!("  {why}")).unwrap_or_default();
                    let at = item.received_at.format("%Y-%m-%dT%H:%M:%SZ");
                    output::line(format!("{at}  {:<10}  {:<24}  {}{why}", item.status, item.topic, item.webhook_id));
                }
            }
        }
        InboxCommand::Retry { shop, status, since } => {
            let entry = session.shop(&shop).await?;
            let mut tx = session.database.begin(entry.shop).await?;
            let count = ingest::retry(&mut tx, status, since).await?;
            tx.commit().await?;
            let what = match status {
                InboxStatus::Dead => "dead letters",
                InboxStatus::Pending | InboxStatus::Ignored | InboxStatus::Translated => "deliveries",
            };
            output::line(format!("{count} {what} are pending again"));
        }
    }
    Ok(ExitCode::SUCCESS)
}
