//! `keys status|rotate`

use std::{collections::BTreeMap, process::ExitCode};

use ingest::{KeyUse, key_uses, rotate_keys};
use serde_json::json;

use super::{FEW, output};
use crate::{
    args::KeysCommand,
    config::Environment,
    session::{Schema, Session},
};

pub async fn run(environment: &Environment, command: KeysCommand) -> anyhow::Result<ExitCode> {
    match command {
        KeysCommand::Status => status(environment).await,
        KeysCommand::Rotate => rotate(environment).await,
    }
}

async fn status(environment: &Environment) -> anyhow::Result<ExitCode> {
    let session = Session::open_with_any_keys(environment, FEW, Schema::Require).await?;
    let ring = session.database.ring();
    let uses = key_uses(&session.database, |_| true).await?;
    let none = KeyUse::default();
    let of_ring = ring.ids().into_iter().map(|id| (uses.get(&id).unwrap_or(&none), id));
    let strange = uses.iter().filter(|(id, _)| !ring.holds(id)).map(|(id, of_key)| (of_key, id.clone()));
    let mut is_complete = true;
    for (of_key, id) in of_ring.chain(strange) {
        let (is_held, is_newest) = (ring.holds(&id), id == ring.newest());
        is_complete &= is_held;
        if environment.json {
            output::json(&json!({
                "key": id, "in_ring": is_held, "newest": is_newest, "shop_keys": of_key.shops,
                "unclaimed_deliveries": of_key.deliveries, "needed": is_newest || *of_key != none,
            }));
            continue;
        }
        output::line(match () {
            () if is_newest => format!("{id}  the newest, under which all that is new comes: {of_key}"),
            () if !is_held => format!("{id}  MISSING from ENCRYPTION_KEYS, and needed for {of_key}"),
            () if *of_key == none => {
                format!("{id}  needed for nothing: it may be dropped, unless it is yet to be the newest")
            }
            () => format!("{id}  still needed for {of_key}: `ecomdash keys rotate`"),
        });
    }
    Ok(if is_complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn rotate(environment: &Environment) -> anyhow::Result<ExitCode> {
    let session = Session::open(environment, FEW, Schema::Require).await?;
    let newest = session.database.ring().newest();
    let older = || key_uses(&session.database, |id| id != newest);
    let bar = output::progress("keys and bodies");
    bar.set_length(count(&older().await?));
    let rotated = rotate_keys(&session.database, |done| bar.set_position(done)).await?;
    bar.finish_and_clear();
    let left = count(&older().await?);
    if environment.json {
        output::json(&json!({
            "newest": newest, "shop_keys": rotated.shop_keys, "unclaimed_deliveries": rotated.bodies,
            "refused": rotated.refused, "left": left,
        }));
    } else {
        let (keys, bodies) = (rotated.shop_keys, rotated.bodies);
        output::line(format!("under key {newest} now: the keys of {keys} shops and {bodies} deliveries more"));
        output::line(match (left, rotated.refused) {
            (0, _) => "nothing needs an older key".to_owned(),
            (_, 0) => format!(
                "{left} are under an older key again: see that every process has {newest} first, then run this again"
            ),
            (_, refused) => format!("{left} are under an older key, {refused} of them damaged: the log names them"),
        });
    }
    Ok(if left == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn count(uses: &BTreeMap<String, KeyUse>) -> u64 {
    uses.values().map(|of_key| of_key.shops + of_key.deliveries).sum()
}
