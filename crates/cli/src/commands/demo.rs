//! `demo`: `up`, and shops that sell.

use std::{
    fs::{DirBuilder, File},
    io::IsTerminal,
    os::unix::fs::DirBuilderExt,
    process::ExitCode,
    sync::Mutex,
};

use anyhow::{Context, bail};
use api::Role;
use chrono::{Duration, Utc};
use domain::{ShopId, redaction::Said};
use indicatif::{ProgressBar, ProgressStyle};
use ingest::Registration;
use secrecy::ExposeSecret;
use simulator::{Phase, Progress, ShopProfile, Simulation, Target};

use super::{
    output,
    serve::{Running, everything, stop_on_signal},
};
use crate::{args::DemoArgs, config::Environment, http_client, postgres::PrivatePostgres};

const SEED: u64 = 1;
const SHOPS: u16 = 3;
const DAYS: u16 = 90;
/// In the data folder: what `up` keeps beside it is nothing that a demo may fill or throw away.
const FOLDER: &str = "demo";
/// What the simulated shops are at.
const STATE: &str = "demo.json";
/// Roles of the first shop, each of which has a token.
const ROLES: [Role; 3] = [Role::Merchant, Role::Auditor, Role::Compliance];

pub async fn run(environment: &Environment, args: &DemoArgs) -> anyhow::Result<ExitCode> {
    if environment.is_production() || environment.database_url.is_some() {
        bail!("the demo fills a database of its own: unset DATABASE_URL and ENVIRONMENT");
    }
    let environment = &Environment { data: environment.data.join(FOLDER), ..environment.clone() };
    DirBuilder::new().recursive(true).mode(0o700).create(&environment.data).context("the demo needs a folder")?;
    let here = environment.data.display();
    let lock = File::create(environment.data.join("demo.lock"))?;
    if lock.try_lock().is_err() {
        bail!("a demo runs in {here} already; another one takes another folder: --data");
    }
    // First: a signal while the private Postgres starts must leave none behind.
    let stop = stop_on_signal()?;
    let path = environment.data.join(STATE);
    if args.fresh && environment.data.join("postgres.users").exists() {
        PrivatePostgres::open(&environment.data)?.empty()?;
    }
    if args.fresh && path.exists() {
        std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    let simulation = match Simulation::load(&path).context("--fresh begins anew")? {
        Some(earlier) => {
            let asked = args.seed.is_none_or(|seed| seed == earlier.seed())
                && args.shops.is_none_or(|shops| usize::from(shops) == earlier.shops().count())
                && args.days.is_none_or(|days| i64::from(days) == earlier.days());
            if !asked {
                bail!("there is another demo already in {here}: --fresh begins anew");
            }
            output::line("going on where the last demo stopped");
            earlier
        }
        None => Simulation::new(
            args.seed.unwrap_or(SEED),
            args.shops.unwrap_or(SHOPS).into(),
            args.days.unwrap_or(DAYS).into(),
            Utc::now(),
        ),
    };
    let secret = environment.shopify_secrets()?.swap_remove(0);
    let client = http_client().tls_certs_only([]).build()?; // it asks this machine, and needs no authority
    everything(environment, args.up.port, stop, async |running: Running| {
        let mut first = None;
        for profile in simulation.shops() {
            let shop = register(&running, &profile).await?;
            first.get_or_insert((profile, shop));
        }
        if let Some((profile, shop)) = first {
            introduce(&running, &profile, shop).await?;
        }
        let target = Target { url: running.url.clone(), secret: secret.expose_secret().to_owned(), client };
        let teller = Teller::new();
        simulator::run(
            simulation,
            &path,
            &target,
            args.rate,
            Utc::now,
            |progress| teller.tell(progress),
            &running.stop,
        )
        .await?;
        Ok(())
    })
    .await
}

async fn register(running: &Running, profile: &ShopProfile) -> anyhow::Result<ShopId> {
    let registration = Registration {
        domain: profile.domain.parse().context("a simulated shop's domain")?,
        shopify_id: None,
        timezone: profile.zone.name().parse().context("a simulated shop's zone")?,
        currency: profile.currency.parse().context("a simulated shop's currency")?,
    };
    Ok(ingest::register(&running.database, &registration, Utc::now()).await?)
}

/// The address, tokens, and lines to paste, for one shop.
async fn introduce(running: &Running, profile: &ShopProfile, shop: ShopId) -> anyhow::Result<()> {
    let url = &running.url;
    let mut merchant = String::new();
    output::line(format!("\ntokens for {} (30 days):", profile.domain));
    let said = || Said { by: "demo".to_owned(), reason: Some("a first look".to_owned()), at: Utc::now() };
    for role in ROLES {
        let token = api::issue(&running.database, Some(shop), role, Some(Duration::days(30)), said()).await?;
        output::line(format!("  {:<10}  {}", role.as_str(), token.secret.expose_secret()));
        if role == Role::Merchant {
            token.secret.expose_secret().clone_into(&mut merchant);
        }
    }
    let operator = api::issue(&running.database, None, Role::Operator, Some(Duration::days(30)), said()).await?;
    output::line(format!("  {:<10}  {}", Role::Operator.as_str(), operator.secret.expose_secret()));
    output::line("\nlines to paste:");
    let today = Utc::now().with_timezone(&profile.zone).date_naive();
    let since = today - Duration::days(29);
    for what in [
        "/api/dashboard/stats".to_owned(),
        format!("/api/dashboard/series?metric=total_sales&granularity=day&from={since}&to={today}"),
        "/api/orders?limit=5".to_owned(),
    ] {
        output::line(format!("  curl -s '{url}{what}' -H 'Authorization: Bearer {merchant}'"));
    }
    output::line(format!(
        "  curl -s '{url}/api/dashboard/stats' -H 'Authorization: Bearer {merchant}' | grep -o '\"lag\":[0-9]*'"
    ));
    output::line(format!(
        "\nto open in a browser:\n  the figures of {}:  {url}/#token={merchant}\n  every shop, how far it is:  \
         {url}/#token={}\n  the documentation:  {url}/docs\n\nCtrl-C ends it; a second start goes on.\n",
        profile.domain,
        operator.secret.expose_secret(),
    ));
    Ok(())
}

/// Tells how far it is: a bar on a terminal, lines elsewhere.
struct Teller {
    bar: Option<ProgressBar>,
    /// What was told last: tenths of the past, then thousands of webhooks.
    told: Mutex<Option<u64>>,
}

impl Teller {
    fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| output::progress("telling the past, in thousandths"));
        if let Some(bar) = &bar {
            bar.set_length(1_000);
        }
        Self { bar, told: Mutex::default() }
    }

    fn tell(&self, progress: Progress) {
        let sent = progress.sent;
        match (progress.phase, &self.bar) {
            (Phase::Past(told), Some(bar)) => bar.set_position(told),
            (Phase::Live, Some(bar)) => {
                // From here on there is no end that a bar could show.
                self.once(11, || bar.set_style(ProgressStyle::default_spinner()));
                bar.set_message(format!("selling: {sent} webhooks sent"));
            }
            (Phase::Past(told), None) => {
                self.once(told / 100, || output::line(format!("the past: {} % told, {sent} webhooks", told / 10)));
            }
            (Phase::Live, None) => {
                self.once(11 + sent / 1_000, || output::line(format!("selling: {sent} webhooks sent")))
            }
        }
    }

    fn once(&self, what: u64, say: impl FnOnce()) {
        let mut told = self.told.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if *told != Some(what) {
            *told = Some(what);
            say();
        }
    }
}
