//! `token issue|list|revoke`

use std::process::ExitCode;

use anyhow::bail;
use api::Role;
use chrono::Utc;
use domain::redaction::Said;
use secrecy::ExposeSecret;
use serde_json::to_value;

use super::{FEW, output};
use crate::{
    args::TokenCommand,
    config::Environment,
    session::{Schema, Session},
};

pub async fn run(environment: &Environment, command: TokenCommand) -> anyhow::Result<ExitCode> {
    let session = Session::open(environment, FEW, Schema::Require).await?;
    let now = Utc::now();
    match command {
        TokenCommand::Issue { shop, role, ttl, reason, by } => {
            let shop = match (&shop, role) {
                (Some(_), Role::Operator) => {
                    bail!("an operator's token has no shop: leave --shop out")
                }
                (None, Role::Merchant | Role::Auditor | Role::Compliance) => {
                    bail!("a token of role {} is for a shop: name it by --shop", role.as_str())
                }
                (Some(domain), _) => Some(session.shop(domain).await?.shop),
                (None, Role::Operator) => None,
            };
            let said = Said { by: by.to_string(), reason: reason.map(|reason| reason.to_string()), at: now };
            let token = api::issue(&session.database, shop, role, ttl, said).await?;
            output::line(token.secret.expose_secret()); // alone, so that a script can take it
        }
        TokenCommand::List { shop } => {
            let shop = match &shop {
                Some(domain) => Some(session.shop(domain).await?.shop),
                None => None,
            };
            for token in api::list(&session.database, shop).await? {
                if environment.json {
                    output::json(&to_value(&token)?);
                } else {
                    let end = match (token.revoked_at, token.expires_at) {
                        (Some(at), _) => format!("revoked {at}"),
                        (None, Some(at)) => format!("until {at}"),
                        (None, None) => "until it is revoked".to_owned(),
                    };
                    let said = |what: &str, by: &Option<String>, why: &Option<String>| match (by, why) {
                        (Some(by), Some(why)) => format!("  {what}by {by}: {why}"),
                        (Some(by), None) => format!("  {what}by {by}"),
                        (None, _) => String::new(),
                    };
                    let why = said("", &token.issued_by, &token.reason)
                        + &said("ended ", &token.revoked_by, &token.revoke_reason);
                    output::line(format!("{}  {:<10}  {end}{why}", token.id, token.role));
                }
            }
        }
        TokenCommand::Revoke { id, said } => {
            if !api::revoke(&session.database, id, said.said(now)).await? {
                bail!("there is no token {id}");
            }
            output::line(format!("{id} is revoked"));
        }
    }
    Ok(ExitCode::SUCCESS)
}
