//! `rebuild`

use std::process::ExitCode;

use projector::{RebuildOptions, rebuild};
use read_models::PROJECTIONS;
use serde_json::json;

use super::{FEW, output};
use crate::{
    args::RebuildArgs,
    config::Environment,
    session::{Schema, Session},
};

pub async fn run(environment: &Environment, args: &RebuildArgs) -> anyhow::Result<ExitCode> {
    let session = Session::open(environment, FEW, Schema::Require).await?;
    let mut all_equal = true;
    for entry in session.shops(args.shop.as_ref()).await? {
        for (name, _) in PROJECTIONS {
            if args.projection.as_deref().is_some_and(|only| only != name) {
                continue;
            }
            let bar = output::progress(&format!("{} {name}", entry.domain));
            let options = RebuildOptions { check_only: args.check, ..RebuildOptions::of(name) };
            let rebuilt = rebuild(&session.database, entry.shop, options, |position, head| {
                bar.set_length(head.cast_unsigned());
                bar.set_position(position.cast_unsigned());
            })
            .await?;
            bar.finish_and_clear();
            let equal = rebuilt.comparison.is_equal();
            all_equal &= equal;
            if environment.json {
                output::json(&json!({
                    "shop": entry.domain.as_str(), "projection": name, "generation": rebuilt.generation,
                    "events": rebuilt.events, "position": rebuilt.comparison.position, "equal": equal,
                    "switched": rebuilt.switched,
                    "before": rebuilt.comparison.before, "after": rebuilt.comparison.after,
                }));
            } else {
                let outcome = if equal { "the same figures" } else { "OTHER FIGURES" };
                let serves = if rebuilt.switched { "serves now" } else { "was compared only" };
                output::line(format!(
                    "{} {name}: {} events, {outcome} at position {}; generation {} {serves}",
                    entry.domain, rebuilt.events, rebuilt.comparison.position, rebuilt.generation,
                ));
            }
        }
    }
    // A comparison that finds a difference is what --check is for.
    Ok(if args.check && !all_equal { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
