//! `redact customer|shop|list|show|hold|release|confirm|cancel`

use std::process::ExitCode;

use anyhow::{Context, bail};
use chrono::{DateTime, TimeDelta, Utc};
use compliance::{Answer, Ask, LegalHolds, Match, Whom};
use domain::{
    ids::{CustomerId, OrderId},
    redaction::{Redaction, RedactionCommand, Said},
};
use event_store::ShopTx;
use serde_json::{Value, json};
use shopify::ShopDomain;
use vault::ContactKey;

use super::{FEW, output};
use crate::{
    args::{AskArgs, PersonArgs, RedactCommand, SaidArgs, ToRedaction},
    config::Environment,
    session::{Schema, Session},
};

/// Redactions that are read at a time.
const PAGE: i64 = 100;

pub async fn run(environment: &Environment, command: RedactCommand) -> anyhow::Result<ExitCode> {
    let session = Session::open(environment, FEW, Schema::Require).await?;
    let now = Utc::now();
    match command {
        RedactCommand::Customer { shop, person, asked, all } => {
            let whom = customer_of(&person)?;
            ask(environment, &session, &shop, whom, asked, all, now).await?;
        }
        RedactCommand::Shop { shop, asked } => ask(environment, &session, &shop, Whom::Shop, asked, false, now).await?,
        RedactCommand::List { shop: name } => {
            let shop = session.any_shop(&name).await?;
            for erased in session.erased_before(&name).await? {
                output::note(&format!("there was one before it: {erased}"));
            }
            let mut before: Option<String> = None;
            loop {
                // Whoever reads for long keeps what was destroyed from being vacuumed.
                let mut tx = session.database.begin_reading(shop).await?;
                let page = compliance::redactions(&mut tx, before.as_deref(), PAGE).await?;
                let Some((last, _)) = page.last() else { break };
                before = Some(last.clone());
                let holds = LegalHolds::of(&mut tx).await?;
                for (id, redaction) in &page {
                    output::json(&told(&mut tx, &holds, id, redaction).await?);
                }
            }
        }
        RedactCommand::Receipts { shop } => {
            for (shop, _) in session.logs(shop.as_ref()).await? {
                let mut tx = session.database.begin_reading(shop).await?;
                for entry in compliance::entries(&mut tx).await?.iter().rev() {
                    output::json(&serde_json::to_value(entry)?);
                }
            }
        }
        RedactCommand::Show(which) => {
            let shop = session.any_shop(&which.shop).await?;
            let mut tx = session.database.begin_reading(shop).await?;
            let redaction: Redaction = tx.load(&which.id).await?;
            redaction.status().context("there is no such redaction")?;
            output::line(serde_json::to_string_pretty(&told_alone(&mut tx, &which.id, &redaction).await?)?);
        }
        RedactCommand::Hold(to) => {
            let hold = |Said { by, reason, at }| RedactionCommand::Hold { reason: reason.unwrap_or_default(), by, at };
            act(&session, &to, now, hold).await?;
        }
        RedactCommand::Release(to) => act(&session, &to, now, RedactionCommand::Release).await?,
        RedactCommand::Confirm { which, reason, by } => {
            let to = ToRedaction { which, said: SaidArgs { reason, by } };
            act(&session, &to, now, RedactionCommand::Confirm).await?;
        }
        RedactCommand::Cancel(to) => act(&session, &to, now, RedactionCommand::Cancel).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn ask(
    environment: &Environment,
    session: &Session,
    shop: &ShopDomain,
    whom: Whom,
    AskArgs { said: SaidArgs { reason, by }, dry_run, now: at_once }: AskArgs,
    all: bool,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    // Before anybody is looked up.
    if at_once.as_ref() == Some(&by) {
        bail!("another person than who asks has to confirm it: name them by --now, and who asks by --by");
    }
    let entry = session.shop(shop).await?;
    if dry_run {
        let said = reason.said_by(&by.to_string(), now);
        let plan = compliance::plan(&session.database, entry.shop, &whom, &said).await?;
        output::json(
            &json!({ "would_erase": matches(&plan.matches), "streams": plan.streams, "values": plan.values, "held_by": plan.held_by }),
        );
        return Ok(());
    }
    let hold = TimeDelta::hours(environment.redaction_hold_hours.into());
    let asked = Ask { whom, reason: reason.clone(), by: by.to_string(), at: now, hold, all };
    let mut tx = session.database.begin(entry.shop).await?;
    match compliance::ask(&mut tx, asked).await? {
        Answer::Nobody => {
            tx.commit().await?;
            bail!("nobody is known by that");
        }
        Answer::Several(found) => {
            tx.commit().await?;
            output::json(&json!({ "several": matches(&found) }));
            bail!("several persons are known by that: choose one by --id or --order, or say that --all are meant");
        }
        Answer::Asked { id, mut due_at, matches: found } => {
            if let Some(confirmer) = at_once.map(|who| who.to_string()) {
                due_at = Some(now);
                let confirm = RedactionCommand::Confirm(reason.said_by(&confirmer, now));
                compliance::act(&mut tx, &id, confirm, &confirmer).await?;
            }
            tx.commit().await?;
            output::json(&json!({ "id": id, "shop": entry.shop, "due_at": due_at, "erases": matches(&found) }));
        }
    }
    Ok(())
}

async fn act(
    session: &Session,
    ToRedaction { which, said }: &ToRedaction,
    now: DateTime<Utc>,
    command: impl FnOnce(Said) -> RedactionCommand,
) -> anyhow::Result<()> {
    let shop = session.any_shop(&which.shop).await?;
    let mut tx: ShopTx = session.database.begin(shop).await?;
    compliance::act(&mut tx, &which.id, command(said.said(now)), &said.by.to_string()).await?;
    let redaction: Redaction = tx.load(&which.id).await?;
    tx.commit().await?;
    let mut tx = session.database.begin_reading(shop).await?;
    output::json(&told_alone(&mut tx, &which.id, &redaction).await?);
    Ok(())
}

fn customer_of(args: &PersonArgs) -> anyhow::Result<Whom> {
    let PersonArgs { id, order, email, phone } = args;
    Ok(match (id, order, email, phone) {
        (Some(id), ..) => Whom::Customer(CustomerId(*id)),
        (_, Some(id), ..) => Whom::Order(OrderId(*id)),
        (.., Some(email), _) => Whom::Email(ContactKey::of_email(email).context("--email is no e-mail address")?),
        (.., Some(phone)) => Whom::Phone(ContactKey::of_phone(phone).context("--phone is no telephone number")?),
        (None, None, None, None) => bail!("who? --id, --order, --email or --phone"),
    })
}

fn matches(found: &[Match]) -> Vec<Value> {
    let one = |found: &Match| json!({ "subject": found.subject, "orders": found.orders, "redacted": found.redacted });
    found.iter().map(one).collect()
}

async fn told_alone(tx: &mut ShopTx, id: &str, redaction: &Redaction) -> anyhow::Result<Value> {
    let holds = LegalHolds::of(tx).await?;
    told(tx, &holds, id, redaction).await
}

async fn told(tx: &mut ShopTx, holds: &LegalHolds, id: &str, redaction: &Redaction) -> anyhow::Result<Value> {
    let held_by = holds.on(tx, id, redaction).await?;
    Ok(json!({
        "id": id,
        "status": redaction.status(),
        "due_at": redaction.due_at(),
        "request": redaction.request,
        "hold": redaction.hold,
        "held_by": held_by,
        "confirmed_by": redaction.confirmed_by,
        "erased": redaction.erased,
        "receipt": redaction.receipt,
    }))
}
