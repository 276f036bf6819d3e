//! The settings: what the environment, a file or the data folder says, read here and nowhere else. Where programs are found, and
//! who is logged in, is asked where it is needed.

use std::{
    fs,
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow, bail};
use api::{Edge, Limits, Origins, Quota, Quotas, SharedLimits};
use clap::Args;
use secrecy::{ExposeSecret, SecretString};
use vault::{MasterRing, SigningKeys};

/// Settings from the environment. Lists are separated by commas, newest first.
#[derive(Debug, Clone, Args)]
pub struct Environment {
    /// Folder of the private Postgres and of keys made for development
    #[arg(long = "data", env = "ECOMDASH_DATA", default_value = ".ecomdash", global = true)]
    pub data: PathBuf,
    /// Writes JSON where scripts read
    #[arg(long, global = true)]
    pub json: bool,
    /// postgres://… of the database; without it, a private one is started
    #[arg(long, env = "DATABASE_URL", hide = true, hide_env_values = true)]
    pub database_url: Option<SecretString>,
    /// postgres://… past a connection pooler, for migrations
    #[arg(long, env = "DATABASE_DIRECT_URL", hide = true, hide_env_values = true)]
    pub database_direct_url: Option<SecretString>,
    /// Connections of this process at most, of `up` in each of its two pools [default: of serve 5, of work 4, of up 10 and 6]
    #[arg(long, env = "DATABASE_POOL_SIZE", value_parser = clap::value_parser!(u32).range(2..=200), hide = true)]
    pub database_pool_size: Option<u32>,
    /// The app's secret, then the one before it
    #[arg(long, env = "SHOPIFY_API_SECRET", hide = true, hide_env_values = true)]
    pub shopify_api_secret: Option<SecretString>,
    /// Master keys, 32 bytes each in base64 or hex
    #[arg(long, env = "ENCRYPTION_KEYS", hide = true, hide_env_values = true)]
    pub encryption_keys: Option<SecretString>,
    /// Ed25519 seeds that receipts and checkpoints are signed with, 32 bytes each in base64 or hex; behind them public keys of
    /// former ones, with `public:` before each
    #[arg(long, env = "SIGNING_KEYS", hide = true, hide_env_values = true)]
    pub signing_keys: Option<SecretString>,
    /// File that receipts of redactions are kept in, outside the database and its backups
    #[arg(long, env = "RECEIPTS_FILE", hide = true)]
    pub receipts_file: Option<PathBuf>,
    /// Hours that a redaction is waited with, in which it can be cancelled; those that Shopify asks for are not
    #[arg(
        long,
        env = "REDACTION_HOLD_HOURS",
        default_value_t = 24,
        value_parser = clap::value_parser!(u32).range(0..=720),
        hide = true
    )]
    pub redaction_hold_hours: u32,
    /// How many days the bodies of settled deliveries are kept, 0 to 90
    #[arg(
        long,
        env = "INBOX_RETENTION_DAYS",
        default_value_t = 30,
        value_parser = clap::value_parser!(i32).range(0..=90),
        hide = true
    )]
    pub inbox_retention_days: i32,
    /// Who may read /metrics; without it, there is no such route
    #[arg(long, env = "METRICS_TOKEN", hide = true, hide_env_values = true)]
    pub metrics_token: Option<SecretString>,
    /// The revision that was built, as build_info shows it
    #[arg(long, env = "RENDER_GIT_COMMIT", hide = true)]
    pub revision: Option<String>,
    /// Origins whose pages may call the API
    #[arg(long, env = "ALLOWED_ORIGINS", default_value = "", hide = true, hide_env_values = true)]
    pub allowed_origins: String,
    /// redis://… that rate limits are shared through
    #[arg(long, env = "REDIS_URL", hide = true, hide_env_values = true)]
    pub redis_url: Option<SecretString>,
    /// Proxies in front that add to X-Forwarded-For
    #[arg(long, env = "TRUSTED_PROXIES", default_value_t = 0, hide = true)]
    pub trusted_proxies: u8,
    /// Requests a minute of one client address; 0: any number
    #[arg(long, env = "RATE_LIMIT_PER_CLIENT", default_value_t = 6_000, hide = true)]
    pub rate_limit_per_client: u32,
    /// Requests a minute of one shop's tokens; 0: any number
    #[arg(long, env = "RATE_LIMIT_PER_SHOP", default_value_t = 12_000, hide = true)]
    pub rate_limit_per_shop: u32,
    /// Deliveries a minute of one client address whose signature does not fit; 0: any number
    #[arg(long, env = "RATE_LIMIT_FORGED", default_value_t = 600, hide = true)]
    pub rate_limit_forged: u32,
    /// error, warn, info, debug or trace [default: info; of the demo warn]
    #[arg(long, env = "LOG_LEVEL", hide = true)]
    pub log_level: Option<String>,
    /// development or production
    #[arg(long, env = "ENVIRONMENT", default_value = "development", hide = true)]
    pub environment: String,
}

impl Environment {
    /// Whether keys must be given and logs are JSON.
    pub fn is_production(&self) -> bool {
        self.environment == "production"
    }

    /// How many connections a pool has, of which there are so many where nothing else is said.
    pub fn pool_size(&self, usual: u32) -> u32 {
        self.database_pool_size.unwrap_or(usual)
    }

    /// The master keys: given, or made once for development.
    pub fn master_ring(&self) -> anyhow::Result<MasterRing> {
        let keys = self.secret("ENCRYPTION_KEYS", self.encryption_keys.as_ref(), "encryption_keys")?;
        MasterRing::parse(keys.expose_secret()).context("ENCRYPTION_KEYS cannot be used")
    }

    /// Where receipts are kept outside the database: beside a private one, where nothing else is said.
    pub fn receipts_file(&self) -> Option<PathBuf> {
        let beside = || self.database_url.is_none().then(|| self.data.join("receipts.jsonl"));
        self.receipts_file.clone().or_else(beside)
    }

    /// What receipts and checkpoints are signed with.
    pub fn signing_keys(&self) -> anyhow::Result<SigningKeys> {
        let keys = self.secret("SIGNING_KEYS", self.signing_keys.as_ref(), "signing_keys")?;
        SigningKeys::parse(keys.expose_secret()).context("SIGNING_KEYS cannot be used")
    }

    /// The same for whoever does without them, too.
    pub fn signing_keys_if_any(&self) -> anyhow::Result<Option<SigningKeys>> {
        if self.signing_keys.is_none() && self.is_production() { Ok(None) } else { self.signing_keys().map(Some) }
    }

    /// The same as they are: whoever only checks makes none, since nothing was signed by it.
    pub fn existing_signing_keys(&self) -> anyhow::Result<Option<SigningKeys>> {
        let is_there = self.signing_keys.is_some() || self.data.join("keys/signing_keys").exists();
        if is_there { self.signing_keys_if_any() } else { Ok(None) }
    }

    /// The app's secrets, newest first.
    pub fn shopify_secrets(&self) -> anyhow::Result<Vec<SecretString>> {
        let list = self.secret("SHOPIFY_API_SECRET", self.shopify_api_secret.as_ref(), "shopify_api_secret")?;
        let secrets: Vec<SecretString> = list
            .expose_secret()
            .split(',')
            .map(str::trim)
            .filter(|secret| !secret.is_empty())
            .map(SecretString::from)
            .collect();
        if secrets.is_empty() {
            bail!("SHOPIFY_API_SECRET is empty: anybody could sign webhooks");
        }
        Ok(secrets)
    }

    /// Who may read the metrics, if anybody.
    pub fn metrics_token(&self) -> anyhow::Result<Option<SecretString>> {
        let Some(token) = &self.metrics_token else { return Ok(None) };
        let plain = token.expose_secret();
        if plain.is_empty() || !plain.bytes().all(|byte| byte.is_ascii_graphic()) {
            bail!("METRICS_TOKEN is empty, or holds what no header can");
        }
        Ok(Some(token.clone()))
    }

    /// How the API meets the world. Called within a runtime.
    pub fn edge(&self) -> anyhow::Result<Edge> {
        let origins = Origins::parse(&self.allowed_origins).map_err(|fault| anyhow!("ALLOWED_ORIGINS: {fault}"))?;
        let quota = |per_minute| Quota { per_minute };
        let quotas = Quotas {
            client: quota(self.rate_limit_per_client),
            shop: quota(self.rate_limit_per_shop),
            forged: quota(self.rate_limit_forged),
        };
        let shared = match &self.redis_url {
            // The reason would show the URL, which may hold a password.
            Some(url) => Some(SharedLimits::connect(url.expose_secret()).map_err(|_| {
                anyhow!("REDIS_URL cannot be used: it is not of the form redis://[:password@]host[:port]")
            })?),
            None => None,
        };
        let key = self.shopify_secrets()?.swap_remove(0);
        let limits = Limits::new(quotas, shared, key);
        Ok(Edge::new(origins, limits, self.trusted_proxies.into(), self.is_production()))
    }

    fn secret(&self, variable: &str, given: Option<&SecretString>, file: &str) -> anyhow::Result<SecretString> {
        match given {
            Some(value) => Ok(value.clone()),
            None if self.is_production() => bail!("{variable} is not set; production needs it"),
            None => made_once(&self.data.join("keys"), file),
        }
    }
}

/// A secret for development, made when it is first needed and kept in the data folder.
fn made_once(folder: &Path, name: &str) -> anyhow::Result<SecretString> {
    let path = folder.join(name);
    let cannot = || format!("cannot keep a key in {}", path.display());
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).with_context(cannot)?;
    if !path.exists() {
        let key = MasterRing::generate_key()?;
        // Written aside and linked into place: two processes that start together agree on one.
        let aside = folder.join(format!(".{name}.{}", std::process::id()));
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&aside)
            .with_context(cannot)?;
        file.write_all(key.as_bytes()).with_context(cannot)?;
        file.sync_all().with_context(cannot)?;
        match fs::hard_link(&aside, &path) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(error).with_context(cannot);
            }
            _ => fs::remove_file(&aside).with_context(cannot)?,
        }
    }
    Ok(fs::read_to_string(&path).with_context(cannot)?.trim().to_owned().into())
}
