//! `verify`

use std::process::ExitCode;

use event_store::verify;
use serde_json::json;

use super::{FEW, output};
use crate::{
    args::VerifyArgs,
    config::Environment,
    session::{Schema, Session},
};

pub async fn run(environment: &Environment, args: &VerifyArgs) -> anyhow::Result<ExitCode> {
    let session = Session::open(environment, FEW, Schema::Require).await?;
    let mut all_good = true;
    for entry in session.shops(args.shop.as_ref()).await? {
        let bar = output::progress(entry.domain.as_str());
        let (head, _) = session.database.begin_reading(entry.shop).await?.head().await?;
        bar.set_length(head.cast_unsigned());
        let verified = verify(&session.database, entry.shop, |events| bar.set_position(events.cast_unsigned())).await?;
        bar.finish_and_clear();
        let hash: String = verified.hash.iter().map(|byte| format!("{byte:02x}")).collect();
        let fault = verified.fault.as_ref();
        all_good &= fault.is_none();
        if environment.json {
            output::json(&json!({
                "shop": entry.domain.as_str(), "good_events": verified.events, "hash": hash,
                "fault": fault.map(|fault| json!({ "position": fault.position, "what": fault.kind.to_string() })),
            }));
        } else {
            output::line(match fault {
                None => format!("{}: {} events, unbroken, hash {hash}", entry.domain, verified.events),
                Some(fault) => format!("{}: BROKEN at position {}: {}", entry.domain, fault.position, fault.kind),
            });
        }
    }
    Ok(if all_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
