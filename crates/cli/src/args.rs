//! What can be asked of the binary.

use std::path::PathBuf;

use api::Role;
use chrono::{DateTime, Duration, Utc};
use clap::{Args as ClapArgs, Parser, Subcommand, builder::PossibleValuesParser};
use compliance::{Reason, Who};
use domain::{
    Currency, Zone,
    redaction::Said,
    snapshot::{AGGREGATE_TYPES, all_event_types},
};
use ingest::InboxStatus;
use shopify::ShopDomain;
use uuid::Uuid;

use crate::config::Environment;

/// Analytics for Shopify shops that a merchant can trust and an auditor can check.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
pub struct Args {
    /// Settings that come from the environment.
    #[command(flatten)]
    pub environment: Environment,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Everything in one process: a private Postgres (unless DATABASE_URL is set), the API and the workers
    Up(UpArgs),
    /// Like `up`, with simulated shops that have a past and sell while you watch
    Demo(DemoArgs),
    /// The API
    Serve(ServeArgs),
    /// The workers: deliveries into events, events into read models
    Work(WorkArgs),
    /// Brings the database's schema up to date
    Migrate,
    /// Shops: register, list, show, pause
    #[command(subcommand)]
    Shop(ShopCommand),
    /// Tokens for the API: issue, list, revoke
    #[command(subcommand)]
    Token(TokenCommand),
    /// Erases persons and shops: ask for it, see it, hold, confirm or cancel it
    #[command(subcommand)]
    Redact(RedactCommand),
    /// Leave for auditors to see personal data: issue, list, revoke
    #[command(subcommand)]
    Grant(GrantCommand),
    /// Deliveries: list them, drive dead letters again
    #[command(subcommand)]
    Inbox(InboxCommand),
    /// Takes in a file of orders of the Admin API, with their sales agreements
    Ingest(IngestArgs),
    /// Master keys: what needs which, and everything under the newest
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Builds read models anew from the log, and puts them in the old ones' place
    Rebuild(RebuildArgs),
    /// Prints a shop's log, an event a line as JSON, with sealed values as `[sealed]` and redacted ones as `[redacted]`
    Replay(ReplayArgs),
    /// Checks that a shop's log is what was written and what was signed, or writes or checks a copy of it in a file
    Verify(VerifyArgs),
    /// Looks for trouble, from the settings to the figures, and says what to do about it
    Doctor(DoctorArgs),
}

/// `up`
#[derive(Debug, ClapArgs)]
pub struct UpArgs {
    /// Port to listen on, on 127.0.0.1; 0 takes any free one [default: 8000, or another if it is taken]
    #[arg(long, env = "PORT")]
    pub port: Option<u16>,
}

/// `demo`
#[derive(Debug, ClapArgs)]
pub struct DemoArgs {
    /// Where it listens
    #[command(flatten)]
    pub up: UpArgs,
    /// How many shops sell [default: 3]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=500))]
    pub shops: Option<u16>,
    /// What all that happens follows from [default: 1]
    #[arg(long)]
    pub seed: Option<u64>,
    /// Webhooks a second, once the past is told
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=2_000))]
    pub rate: u64,
    /// Days of the past [default: 90]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=730))]
    pub days: Option<u16>,
    /// Throws away what an earlier demo left, and begins anew
    #[arg(long)]
    pub fresh: bool,
}

/// `serve`
#[derive(Debug, ClapArgs)]
pub struct ServeArgs {
    /// Port to listen on
    #[arg(long, env = "PORT", default_value_t = 8000)]
    pub port: u16,
    /// Address to listen on [default: 127.0.0.1, in production 0.0.0.0]
    #[arg(long)]
    pub host: Option<std::net::IpAddr>,
}

/// `ingest`
#[derive(Debug, ClapArgs)]
pub struct IngestArgs {
    /// The shop that the orders are of
    #[arg(long)]
    pub shop: ShopDomain,
    /// The file: one `Order` a line as JSON, its connections nested; `-` is standard input
    pub file: std::path::PathBuf,
}

/// `work`
#[derive(Debug, ClapArgs)]
pub struct WorkArgs {
    /// Port that /health and /metrics are served on, on 127.0.0.1, in production on every address; 0 takes any free one
    /// [default: none is listened on]
    #[arg(long, env = "METRICS_PORT")]
    pub metrics_port: Option<u16>,
}

/// `redact …`
#[derive(Debug, Subcommand)]
pub enum RedactCommand {
    /// Asks that a customer be erased
    Customer {
        /// Whose customer
        #[arg(long)]
        shop: ShopDomain,
        /// Who is meant
        #[command(flatten)]
        person: PersonArgs,
        /// Why, and at whose word
        #[command(flatten)]
        asked: AskArgs,
        /// Everybody who has the address or number
        #[arg(long)]
        all: bool,
    },
    /// Asks that a shop be erased, with everybody in it; done once another person has confirmed it
    Shop {
        /// Its permanent domain
        #[arg(long)]
        shop: ShopDomain,
        /// Why, and at whose word
        #[command(flatten)]
        asked: AskArgs,
    },
    /// Lists a shop's redactions
    List {
        /// Its permanent domain, or our id, by which a shop is known that was erased
        #[arg(long)]
        shop: ShopName,
    },
    /// Prints the receipts of every shop, or of one, those of erased shops too: a line of JSON each, to be kept elsewhere
    Receipts {
        /// Only this shop: its permanent domain, or our id
        #[arg(long)]
        shop: Option<ShopName>,
    },
    /// Shows a redaction, with its receipt once it is done
    Show(WhichRedaction),
    /// Puts a legal hold on one
    Hold(ToRedaction),
    /// Lifts the hold
    Release(ToRedaction),
    /// Says, as another person than who asked, that it is not to be waited with
    Confirm {
        /// Which
        #[command(flatten)]
        which: WhichRedaction,
        /// Why; kept for ever, so without anybody's address or number
        #[arg(long)]
        reason: Reason,
        /// Who says so, who is another person than who asked; kept for ever, as the reason is
        #[arg(long)]
        by: Who,
    },
    /// Takes it back, while it is not done
    Cancel(ToRedaction),
}

/// At whose word something is done, and why.
#[derive(Debug, Clone, ClapArgs)]
pub struct SaidArgs {
    /// Why: which case, which law; kept for ever, so without anybody's address or number
    #[arg(long)]
    pub reason: Reason,
    /// Who says so; kept for ever, as the reason is
    #[arg(long, default_value_t = logged_in())]
    pub by: Who,
}

/// Whoever is logged in, where that can be told.
fn logged_in() -> Who {
    let names = ["LOGNAME", "USER"].into_iter().filter_map(|name| std::env::var(name).ok());
    names.filter_map(|name| name.parse().ok()).next().unwrap_or_else(Who::of_command)
}

impl SaidArgs {
    /// As it is kept.
    #[must_use]
    pub fn said(&self, at: DateTime<Utc>) -> Said {
        self.reason.said_by(&self.by.to_string(), at)
    }
}

/// Something that is done to a redaction.
#[derive(Debug, ClapArgs)]
pub struct ToRedaction {
    /// Which
    #[command(flatten)]
    pub which: WhichRedaction,
    /// At whose word, and why
    #[command(flatten)]
    pub said: SaidArgs,
}

/// Why somebody is to be erased, and at whose word.
#[derive(Debug, ClapArgs)]
pub struct AskArgs {
    /// Why, and who asks
    #[command(flatten)]
    pub said: SaidArgs,
    /// Shows who would be erased, and does nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Does not wait, on the word of a second person
    #[arg(long, value_name = "WHO CONFIRMS")]
    pub now: Option<Who>,
}

/// A shop, which may be one that was erased.
#[derive(Debug, Clone)]
pub enum ShopName {
    /// Its permanent domain.
    Domain(ShopDomain),
    /// Our id.
    Id(Uuid),
}

impl std::str::FromStr for ShopName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse::<Uuid>() {
            Ok(id) => Ok(Self::Id(id)),
            Err(_) => text.parse().map(Self::Domain).map_err(|error: shopify::InvalidShopDomain| error.to_string()),
        }
    }
}

/// Who is meant.
#[derive(Debug, ClapArgs)]
#[group(required = true, multiple = false)]
pub struct PersonArgs {
    /// Shopify's number of the customer
    #[arg(long)]
    pub id: Option<u64>,
    /// Shopify's number of an order, whose buyer is meant
    #[arg(long)]
    pub order: Option<u64>,
    /// An e-mail address, in any spelling
    #[arg(long)]
    pub email: Option<String>,
    /// A telephone number, in any spelling; its last nine digits count
    #[arg(long)]
    pub phone: Option<String>,
}

/// Which redaction.
#[derive(Debug, ClapArgs)]
pub struct WhichRedaction {
    /// Its id
    pub id: String,
    /// Of which shop: its permanent domain, or our id
    #[arg(long)]
    pub shop: ShopName,
}

/// `shop …`
#[derive(Debug, Subcommand)]
pub enum ShopCommand {
    /// Registers a shop; doing it twice is doing it once
    Register {
        /// Its permanent domain, like example.myshopify.com
        domain: ShopDomain,
        /// IANA time zone that its days are cut in
        #[arg(long)]
        timezone: Zone,
        /// Currency of its figures
        #[arg(long)]
        currency: Currency,
        /// Shopify's number of the shop; bodies that name another one are then refused
        #[arg(long)]
        shopify_id: Option<u64>,
    },
    /// Lists every shop
    List,
    /// Shows a shop, its inbox and how far its figures are
    Show {
        /// Its permanent domain
        domain: ShopDomain,
    },
    /// Stops work on a shop's deliveries, which are accepted and kept all the same
    Pause {
        /// Its permanent domain
        domain: ShopDomain,
        /// Goes on again
        #[arg(long)]
        resume: bool,
    },
}

/// `token …`
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Prints a new token, which is shown this once
    Issue {
        /// The shop that it is for; operators have none
        #[arg(long)]
        shop: Option<ShopDomain>,
        /// merchant, auditor, compliance or operator
        #[arg(long)]
        role: Role,
        /// How long it is good: 90s, 15m, 2h, 30d [default: until it is revoked]
        #[arg(long, value_parser = parse_ttl)]
        ttl: Option<Duration>,
        /// Why; kept for ever, so without anybody's address or number. Left out, no auditor and nobody who handles compliance is let in
        #[arg(long, required_if_eq_any([("role", "auditor"), ("role", "compliance")]))]
        reason: Option<Reason>,
        /// Who says so; kept for ever, as the reason is
        #[arg(long, default_value_t = logged_in())]
        by: Who,
    },
    /// Lists the tokens of a shop, or the operators'
    List {
        /// The shop
        #[arg(long)]
        shop: Option<ShopDomain>,
    },
    /// Ends a token at once
    Revoke {
        /// Its id, as `list` shows it
        id: Uuid,
        /// At whose word, and why
        #[command(flatten)]
        said: SaidArgs,
    },
}

/// `inbox …`
#[derive(Debug, Subcommand)]
pub enum InboxCommand {
    /// Lists a shop's newest deliveries
    List {
        /// The shop
        #[arg(long)]
        shop: ShopDomain,
        /// Only pending, translated, ignored or dead ones
        #[arg(long)]
        status: Option<InboxStatus>,
        /// At most so many
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=10_000))]
        limit: i64,
    },
    /// Drives a shop's dead letters again, or what was ignored or translated by an older build
    Retry {
        /// The shop
        #[arg(long)]
        shop: ShopDomain,
        /// Which: dead, ignored or translated ones
        #[arg(long, default_value = "dead")]
        status: InboxStatus,
        /// Only those received since, like 2026-11-01T00:00:00Z
        #[arg(long)]
        since: Option<DateTime<Utc>>,
    },
}

/// `keys …`
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Says of each key of ENCRYPTION_KEYS what needs it, and names keys that are missing
    Status,
    /// Brings everything under the newest key, while services go on; ended anywhere, it is begun again
    Rotate,
}

/// `rebuild`
#[derive(Debug, ClapArgs)]
pub struct RebuildArgs {
    /// Only this shop [default: every shop]
    #[arg(long)]
    pub shop: Option<ShopDomain>,
    /// Only this read model: sales or orders [default: every one]
    #[arg(long, value_parser = read_models::PROJECTIONS.map(|(name, _)| name))]
    pub projection: Option<String>,
    /// Only compares; the one that serves stays
    #[arg(long)]
    pub check: bool,
}

/// `replay`
#[derive(Debug, ClapArgs)]
pub struct ReplayArgs {
    /// The shop: its permanent domain, or our id, by which a shop is known that was erased
    #[arg(long)]
    pub shop: ShopName,
    /// As the log stood then: an instant like 2026-11-01T00:00:00Z, or a position [default: now]
    #[arg(long, value_name = "INSTANT|POSITION")]
    pub as_of: Option<AsOf>,
    /// Only what stands behind this position
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(i64).range(0..))]
    pub after: i64,
    /// Only events of this type of aggregates, like order
    #[arg(long, value_parser = PossibleValuesParser::new(AGGREGATE_TYPES))]
    pub aggregate_type: Option<String>,
    /// Only events of this one of them
    #[arg(long, requires = "aggregate_type")]
    pub aggregate_id: Option<String>,
    /// Only events of this type, like OrderPlaced
    #[arg(long, value_parser = PossibleValuesParser::new(all_event_types()))]
    pub event_type: Option<String>,
    /// At most so many
    #[arg(long, value_parser = clap::value_parser!(i64).range(1..))]
    pub limit: Option<i64>,
}

/// When.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AsOf {
    /// After so many events.
    Position(i64),
    /// When all up to then were recorded.
    Instant(DateTime<Utc>),
}

impl std::str::FromStr for AsOf {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(position) = text.parse().ok().filter(|position| *position >= 0) {
            return Ok(Self::Position(position));
        }
        text.parse().map(Self::Instant).map_err(|_| "neither an instant like 2026-11-01T00:00:00Z nor a position")
    }
}

/// `verify`
#[derive(Debug, ClapArgs)]
#[command(group = clap::ArgGroup::new("of_one").args(["shop", "bundle"]))]
pub struct VerifyArgs {
    /// The shop: its permanent domain, or our id [default: every shop, those too that were erased]
    #[arg(long)]
    pub shop: Option<ShopName>,
    /// A file of checkpoints that were kept elsewhere, as /api/audit/checkpoint answers them: the log must be what they are of
    #[arg(long, value_name = "FILE", requires = "of_one", conflicts_with = "export")]
    pub anchor: Option<PathBuf>,
    /// Writes the log, what was signed of it and the public keys into a file, which is checked by --bundle
    #[arg(long, value_name = "FILE", requires = "shop")]
    pub export: Option<PathBuf>,
    /// Checks such a file: needs no database and no settings
    #[arg(long, value_name = "FILE", conflicts_with_all = ["shop", "export"])]
    pub bundle: Option<PathBuf>,
    /// Only compares stored checkpoints whose key is not known; without it, as they prove nothing, there must be none
    #[arg(long, conflicts_with = "bundle")]
    pub accept_unknown_keys: bool,
    /// A key whose signatures count: 32 bytes in base64 or hex, or a file that holds them. With --bundle one of the keys that are
    /// given must have signed, or else, proving less, one that the file itself names; without it, those of SIGNING_KEYS count, too
    #[arg(long, value_name = "KEY|FILE", conflicts_with = "export")]
    pub public_key: Vec<String>,
}

/// `grant …`
#[derive(Debug, Subcommand)]
pub enum GrantCommand {
    /// Lets the holder of an auditor's token see personal data in the log; each use is written into it
    Issue {
        /// The shop
        #[arg(long)]
        shop: ShopDomain,
        /// The id of the auditor's token, as `token list` shows it
        #[arg(long)]
        token: Uuid,
        /// For so many hours
        #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=72))]
        hours: u32,
        /// Why, and who grants it
        #[command(flatten)]
        said: SaidArgs,
    },
    /// Lists a shop's grants, newest first
    List {
        /// The shop
        #[arg(long)]
        shop: ShopDomain,
    },
    /// Takes one back
    Revoke {
        /// Its id
        id: String,
        /// Of which shop
        #[arg(long)]
        shop: ShopDomain,
        /// At whose word, and why
        #[command(flatten)]
        said: SaidArgs,
    },
}

/// `doctor`
#[derive(Debug, ClapArgs)]
pub struct DoctorArgs {
    /// Where the API is, to be asked as well, like https://api.example.com
    #[arg(long)]
    pub url: Option<String>,
    /// Also reads every log from end to end and compares every figure: for a database that was restored
    #[arg(long)]
    pub after_restore: bool,
    /// Receipts that were kept outside the database: what a restore undid of them is done again
    #[arg(long, value_name = "FILE", requires = "after_restore")]
    pub receipts: Option<std::path::PathBuf>,
}

fn parse_ttl(text: &str) -> Result<Duration, String> {
    let fault = || format!("`{text}` is not a time like 90s, 15m, 2h or 30d");
    let unit = text.chars().last().ok_or_else(fault)?;
    let number: i64 = text[..text.len() - unit.len_utf8()].parse().map_err(|_| fault())?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return Err(fault()),
    };
    let total =
        number.checked_mul(seconds).filter(|total| (1..=100 * 366 * 86_400).contains(total)).ok_or_else(fault)?;
    Ok(Duration::seconds(total))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn every_setting_is_in_the_example_and_in_the_readme() {
        let (example, readme) = (include_str!("../../../.env.example"), include_str!("../../../README.md"));
        let mut command = Args::command();
        command.build();
        let subcommands = command.get_subcommands().flat_map(clap::Command::get_arguments);
        let mut variables: Vec<String> = command
            .get_arguments()
            .chain(subcommands)
            .filter_map(|argument| Some(argument.get_env()?.to_str()?.to_owned()))
            .collect();
        variables.sort_unstable();
        variables.dedup();
        assert!(variables.len() >= 15, "{variables:?}");
        // The launcher of the private Postgres reads it itself.
        variables.push("ECOMDASH_PG_BIN".to_owned());
        // The platform sets it.
        variables.retain(|variable| variable != "RENDER_GIT_COMMIT");
        let named =
            example.lines().filter_map(|line| line.trim_start_matches("# ").split_once('=')).map(|(name, _)| name);
        for name in named.filter(|name| name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')) {
            assert!(variables.iter().any(|variable| variable == name), "{name} of .env.example is no setting");
        }
        for variable in variables {
            let stands = example.lines().any(|line| line.trim_start_matches("# ").starts_with(&format!("{variable}=")));
            assert!(stands, "{variable} is not in .env.example");
            assert!(readme.contains(&format!("| `{variable}` |")), "{variable} is not in README.md");
        }
    }

    #[test]
    fn a_ttl_has_a_number_and_a_unit() {
        assert_eq!(parse_ttl("90s").unwrap(), Duration::seconds(90));
        assert_eq!(parse_ttl("30d").unwrap(), Duration::days(30));
        for bad in ["", "s", "0s", "-1h", "5", "5w", "5.5h", "99999999999999999d", "5ß"] {
            assert!(parse_ttl(bad).is_err(), "{bad}");
        }
    }
}
