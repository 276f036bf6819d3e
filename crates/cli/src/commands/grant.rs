//! `grant issue|list|revoke`

use std::process::ExitCode;

use chrono::{DateTime, Utc};
use domain::grant::Grant;
use serde_json::{Value, json};

use super::{FEW, output};
use crate::{
    args::GrantCommand,
    config::Environment,
    session::{Schema, Session},
};

/// Grants that are read at a time.
const PAGE: i64 = 100;

pub async fn run(environment: &Environment, command: GrantCommand) -> anyhow::Result<ExitCode> {
    let session = Session::open(environment, FEW, Schema::Require).await?;
    let now = Utc::now();
    match command {
        GrantCommand::Issue { shop, token, hours, said } => {
            let shop = session.shop(&shop).await?.shop;
            let mut tx = session.database.begin(shop).await?;
            let id = compliance::grant::issue(&mut tx, token, &said.reason, hours, &said.by.to_string(), now).await?;
            let grant = tx.load(&id).await?;
            tx.commit().await?;
            output::json(&told(&id, &grant, now));
        }
        GrantCommand::List { shop } => {
            let shop = session.shop(&shop).await?.shop;
            let mut tx = session.database.begin_reading(shop).await?;
            let mut before: Option<String> = None;
            loop {
                let page = compliance::grant::list(&mut tx, before.as_deref(), PAGE).await?;
                let Some((last, _)) = page.last() else { break };
                before = Some(last.clone());
                page.iter().for_each(|(id, grant)| output::json(&told(id, grant, now)));
            }
        }
        GrantCommand::Revoke { id, shop, said } => {
            let shop = session.shop(&shop).await?.shop;
            let mut tx = session.database.begin(shop).await?;
            compliance::grant::revoke(&mut tx, &id, said.said(now)).await?;
            let grant = tx.load(&id).await?;
            tx.commit().await?;
            output::json(&told(&id, &grant, now));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn told(id: &str, grant: &Grant, now: DateTime<Utc>) -> Value {
    let issued = grant.issued.as_ref();
    json!({
        "id": id,
        "issued": issued,
        "is_running": issued.is_some_and(|issued| grant.allows(&issued.token, now)),
        "revoked_by": grant.revoked_by,
        "uses": grant.uses,
        "last_used_at": grant.last_used_at,
    })
}
