//! The database that a command works on, for as long as it does.

use std::{str::FromStr, time::Duration};

use anyhow::{Context, bail};
use chrono::SecondsFormat;
use domain::ShopId;
use event_store::{Database, DatabaseOptions, migrate, schema_is_current};
use ingest::{DirectoryEntry, FormerShop, KeyUse};
use secrecy::ExposeSecret;
use shopify::ShopDomain;
use sqlx::postgres::PgConnectOptions;
use vault::MasterRing;

use crate::{args::ShopName, config::Environment, postgres::PrivatePostgres};

/// A database, and the private Postgres behind it if there is one.
pub struct Session {
    /// The database.
    pub database: Database,
    /// `None` when `DATABASE_URL` names one.
    pub private: Option<PrivatePostgres>,
    url: String,
}

/// What to do about a schema that is behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schema {
    /// Bring it up to date.
    Migrate,
    /// Refuse to work on it.
    Require,
    /// It will be waited for.
    Ignore,
}

/// Where the database is.
pub struct Place {
    private: Option<PrivatePostgres>,
    /// It holds the password.
    pub url: String,
}

impl Place {
    /// The database that the environment names, or a private one, which is started.
    pub fn of(environment: &Environment) -> anyhow::Result<Self> {
        Ok(match &environment.database_url {
            Some(url) => Self { private: None, url: url.expose_secret().to_owned() },
            None => {
                let private = PrivatePostgres::open(&environment.data)?;
                Self { url: private.url().to_owned(), private: Some(private) }
            }
        })
    }
}

impl Session {
    /// Opens the database that the environment names, or starts a private one, whose schema is always brought up to date.
    ///
    /// # Errors
    /// When the key ring cannot open what is stored, too.
    pub async fn open(environment: &Environment, connections: u32, schema: Schema) -> anyhow::Result<Self> {
        let session = Self::open_with_any_keys(environment, connections, schema).await?;
        if schema != Schema::Ignore || session.private.is_some() {
            session.check_ring().await?;
        }
        Ok(session)
    }

    /// The same, whether the key ring can open what is stored or not.
    pub async fn open_with_any_keys(
        environment: &Environment,
        connections: u32,
        schema: Schema,
    ) -> anyhow::Result<Self> {
        let session = Self::at(Place::of(environment)?, environment, connections)?;
        match schema {
            _ if session.private.is_some() => session.migrate(environment).await?,
            Schema::Migrate => session.migrate(environment).await?,
            Schema::Require => {
                let mut connection = session.database.acquire().await.context("the database cannot be reached")?;
                if !schema_is_current(&mut connection).await? {
                    bail!("the database's schema is behind this build: run `ecomdash migrate`");
                }
            }
            Schema::Ignore => {}
        }
        Ok(session)
    }

    /// The database of a place, as it is.
    pub fn at(place: Place, environment: &Environment, connections: u32) -> anyhow::Result<Self> {
        let Place { private, url } = place;
        let database = PoolOptions { url: url.clone(), connections, ring: environment.master_ring()? }.open()?;
        Ok(Self { database, private, url })
    }

    /// Another pool of connections to the same database.
    pub fn another_pool(&self, environment: &Environment, connections: u32) -> anyhow::Result<PoolOptions> {
        Ok(PoolOptions { url: self.url.clone(), connections, ring: environment.master_ring()? })
    }

    /// Brings the schema up to date.
    pub async fn migrate(&self, environment: &Environment) -> anyhow::Result<()> {
        migrate(self.schema_url(environment).1).await?;
        Ok(())
    }

    /// Which database's schema `migrate` changes: not the one of `DATABASE_URL` where another is named for it.
    pub fn schema_place(&self, environment: &Environment) -> String {
        let (variable, url) = self.schema_url(environment);
        let Ok(options) = PgConnectOptions::from_str(url) else { return variable.to_owned() };
        format!("{}, at {} ({variable})", options.get_database().unwrap_or_default(), options.get_host())
    }

    fn schema_url<'a>(&'a self, environment: &'a Environment) -> (&'static str, &'a str) {
        match &environment.database_direct_url {
            _ if self.private.is_some() => ("private", &self.url),
            Some(direct) => ("DATABASE_DIRECT_URL", direct.expose_secret()),
            None => ("DATABASE_URL", &self.url),
        }
    }

    /// Waits for the database and for its schema.
    ///
    /// # Errors
    /// When the key ring cannot open what is stored: that does not pass by waiting.
    pub async fn wait_until_usable(&self) -> anyhow::Result<()> {
        let mut was_told = false;
        loop {
            let state = match self.database.acquire().await {
                Ok(mut connection) => schema_is_current(&mut connection).await,
                Err(error) => Err(error),
            };
            match state {
                Ok(true) => match self.check_ring().await {
                    Err(error) if !error.is::<RingLacks>() => {
                        if !was_told {
                            tracing::warn!(
                                error = &*error as &dyn std::error::Error,
                                "the keys could not be looked at yet"
                            );
                            was_told = true;
                        }
                    }
                    fits => return fits,
                },
                Ok(false) if !was_told => {
                    tracing::warn!("the database's schema is behind this build: waiting for `ecomdash migrate`");
                    was_told = true;
                }
                Err(error) if !was_told => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "waiting for the database");
                    was_told = true;
                }
                Ok(false) | Err(_) => {}
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// Refuses a key ring that cannot open what is stored: with it, every webhook would be refused or lost.
    async fn check_ring(&self) -> anyhow::Result<()> {
        let ring = self.database.ring();
        let missing = ingest::key_uses(&self.database, |id| !ring.holds(id)).await?;
        match missing.into_iter().next() {
            Some((id, of_key)) => Err(RingLacks { ids: ring.ids().join(", "), id, of_key }.into()),
            None => Ok(()),
        }
    }

    /// The shop of a domain.
    pub async fn shop(&self, domain: &ShopDomain) -> anyhow::Result<DirectoryEntry> {
        let mut fleet = self.database.begin_fleet().await?;
        let entry = ingest::find(&mut fleet, domain).await?;
        let former = match entry {
            None => ingest::predecessors(&mut fleet, None, Some(domain)).await?,
            Some(_) => Vec::new(),
        };
        fleet.commit().await?;
        entry.with_context(|| match former.first() {
            None => format!("no shop {domain} is registered"),
            Some(erased) => format!("no shop {domain} is registered: {}", told(erased)),
        })
    }

    /// What is to be known of the shops that were erased before one of them was registered under the same domain.
    pub async fn erased_before(&self, name: &ShopName) -> anyhow::Result<Vec<String>> {
        let ShopName::Domain(domain) = name else { return Ok(Vec::new()) };
        let mut fleet = self.database.begin_fleet().await?;
        let shop = ingest::find(&mut fleet, domain).await?.map(|entry| entry.shop);
        let former = ingest::predecessors(&mut fleet, shop, Some(domain)).await?;
        fleet.commit().await?;
        Ok(former.iter().map(told).collect())
    }

    /// Our id of a shop, which may be one that was erased.
    pub async fn any_shop(&self, name: &ShopName) -> anyhow::Result<ShopId> {
        match name {
            ShopName::Domain(domain) => Ok(self.shop(domain).await?.shop),
            ShopName::Id(id) => {
                let shop = ShopId(*id);
                let mut tx = self.database.begin_reading(shop).await?;
                tx.head().await.with_context(|| format!("no shop has the id {id}"))?;
                Ok(shop)
            }
        }
    }

    /// The log of a shop, or every log, those too of shops that were erased: each with what it is called.
    pub async fn logs(&self, name: Option<&ShopName>) -> anyhow::Result<Vec<(ShopId, String)>> {
        match name {
            Some(ShopName::Domain(domain)) => Ok(vec![(self.shop(domain).await?.shop, domain.to_string())]),
            Some(name @ ShopName::Id(id)) => Ok(vec![(self.any_shop(name).await?, id.to_string())]),
            None => {
                let mut fleet = self.database.begin_fleet().await?;
                let shops = ingest::list_shops(&mut fleet).await?;
                let former = ingest::former_shops(&mut fleet).await?;
                fleet.commit().await?;
                let shops = shops.into_iter().map(|entry| (entry.shop, entry.domain.to_string()));
                Ok(shops.chain(former.into_iter().map(|shop| (shop, shop.to_string()))).collect())
            }
        }
    }

    /// The shop of a domain, or every shop.
    pub async fn shops(&self, domain: Option<&ShopDomain>) -> anyhow::Result<Vec<DirectoryEntry>> {
        match domain {
            Some(domain) => Ok(vec![self.shop(domain).await?]),
            None => {
                let mut fleet = self.database.begin_fleet().await?;
                let shops = ingest::list_shops(&mut fleet).await?;
                fleet.commit().await?;
                Ok(shops)
            }
        }
    }
}

fn told(erased: &FormerShop) -> String {
    let FormerShop { shop, erased_at } = erased;
    let erased_at = erased_at.to_rfc3339_opts(SecondsFormat::Secs, true);
    format!("it was erased at {erased_at}, and its receipts are listed by `ecomdash redact list --shop {shop}`")
}

/// How to open a pool of connections.
pub struct PoolOptions {
    url: String,
    connections: u32,
    ring: MasterRing,
}

impl PoolOptions {
    /// Opens it, in the runtime that calls.
    pub fn open(self) -> anyhow::Result<Database> {
        let Self { url, connections: max_connections, ring } = self;
        let options = DatabaseOptions { url, max_connections, application_name: "ecomdash" };
        Database::connect_lazy(&options, ring).context("DATABASE_URL cannot be used")
    }
}

/// A key that something stored needs is not in the ring.
#[derive(Debug, thiserror::Error)]
#[error("ENCRYPTION_KEYS (key ids {ids}) cannot open {of_key}: they need key {id}, which goes behind the newest one")]
struct RingLacks {
    ids: String,
    id: String,
    of_key: KeyUse,
}
