//! `replay`

use std::{
    io::{self, ErrorKind, Write},
    process::ExitCode,
};

use anyhow::Context;
use compliance::audit;
use event_store::Selection;
use futures::TryStreamExt;

use super::FEW;
use crate::{
    args::{AsOf, ReplayArgs},
    config::Environment,
    session::{Schema, Session},
};

pub async fn run(environment: &Environment, args: ReplayArgs) -> anyhow::Result<ExitCode> {
    let session = Session::open(environment, FEW, Schema::Require).await?;
    let shop = session.any_shop(&args.shop).await?;
    let mut tx = session.database.begin(shop).await?;
    let (head, _) = tx.head().await?;
    let up_to = match args.as_of {
        None => head,
        Some(AsOf::Position(position)) => head.min(position),
        Some(AsOf::Instant(at)) => tx.position_at(at).await?,
    };
    tx.commit().await?;
    let selection = Selection {
        aggregate_type: args.aggregate_type,
        aggregate_id: args.aggregate_id,
        event_type: args.event_type,
        after: args.after,
        up_to,
    };
    let mut pages = audit::pages(&session.database, shop, selection, args.limit, None, None);
    let mut out = io::stdout().lock();
    loop {
        let page =
            pages.try_next().await.context("the log was not read to its end: what is printed is a part of it")?;
        let Some(page) = page else { break };
        match out.write_all(page.as_bytes()) {
            // A reader that has seen enough.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => break,
            written => written.context("what was asked for cannot be printed")?,
        }
    }
    out.flush().or_else(|error| if error.kind() == ErrorKind::BrokenPipe { Ok(()) } else { Err(error) })?;
    Ok(ExitCode::SUCCESS)
}
