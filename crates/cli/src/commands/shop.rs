//! `shop register|list|show|pause`

use std::process::ExitCode;

use chrono::Utc;
use domain::{ids::ShopifyShopId, shop::Shop};
use ingest::Registration;
use read_models::parked;
use serde_json::json;

use super::{FEW, output};
use crate::{
    args::ShopCommand,
    config::Environment,
    session::{Schema, Session},
};

pub async fn run(environment: &Environment, command: ShopCommand) -> anyhow::Result<ExitCode> {
    let session = Session::open(environment, FEW, Schema::Require).await?;
    match command {
        ShopCommand::Register { domain, timezone, currency, shopify_id } => {
            let shopify_id = shopify_id.map(ShopifyShopId);
            let registration = Registration { domain, shopify_id, timezone, currency };
            let shop = ingest::register(&session.database, &registration, Utc::now()).await?;
            if environment.json {
                output::json(&json!({ "shop_id": shop.to_string(), "domain": registration.domain.as_str() }));
            } else {
                output::line(format!("{} is registered as {shop}", registration.domain));
            }
        }
        ShopCommand::List => {
            for entry in session.shops(None).await? {
                if environment.json {
                    output::json(&json!({ "shop_id": entry.shop.to_string(), "domain": entry.domain.as_str(),
                                          "paused": entry.is_paused }));
                } else {
                    let paused = if entry.is_paused { " (paused)" } else { "" };
                    output::line(format!("{}  {}{paused}", entry.shop, entry.domain));
                }
            }
        }
        ShopCommand::Show { domain } => {
            let entry = session.shop(&domain).await?;
            let mut tx = session.database.begin_reading(entry.shop).await?;
            let shop: Shop = tx.load(Shop::ID).await?;
            let (position, recorded_at) = tx.head().await?;
            let inbox = ingest::counts(&mut tx).await?;
            let parked = parked(&mut tx, entry.shop).await?;
            let currency = shop.currency().map(|currency| currency.to_string());
            output::line(serde_json::to_string_pretty(&json!({
                "domain": entry.domain.as_str(),
                "shop_id": entry.shop.to_string(),
                "shopify_id": entry.shopify_id.map(|id| id.to_string()),
                "timezone": shop.timezone().name(),
                "currency": currency,
                "installed": shop.is_installed(),
                "paused": entry.is_paused,
                "head": { "position": position, "recorded_at": recorded_at },
                "inbox": inbox,
                "parked": parked,
            }))?);
        }
        ShopCommand::Pause { domain, resume } => {
            let entry = session.shop(&domain).await?;
            let mut tx = session.database.begin(entry.shop).await?;
            ingest::set_paused(&mut tx, entry.shop, !resume).await?;
            tx.commit().await?;
            output::line(format!("{domain} is {}", if resume { "worked on again" } else { "paused" }));
        }
    }
    Ok(ExitCode::SUCCESS)
}
