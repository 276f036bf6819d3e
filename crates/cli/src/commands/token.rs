//! `token issue|list|revoke`

use std::process::ExitCode;

use anyhow::bail;
use api::Role;
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
    match command {
        TokenCommand::Issue { shop, role, ttl } => {
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
            let token = api::issue(&session.database, shop, role, ttl).await?;
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
                    output::line(format!("{}  {:<10}  {end}", token.id, token.role));
                }
            }
        }
        TokenCommand::Revoke { id } => {
            if !api::revoke(&session.database, id).await? {
                bail!("there is no token {id}");
            }
            output::line(format!("{id} is revoked"));
        }
    }
    Ok(ExitCode::SUCCESS)
}
