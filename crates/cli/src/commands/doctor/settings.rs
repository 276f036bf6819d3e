//! The environment: every fault of it, where a start names the first.

use std::time::Duration;

use api::Origins;

use super::Report;
use crate::config::Environment;

/// Whether there is a database to look at. What development makes when it is first needed is not to be made by a look.
pub fn names_a_database(environment: &Environment, report: &mut Report) -> bool {
    let has_own = !environment.is_production() && environment.data.join("postgres.users").exists();
    if environment.database_url.is_some() || has_own {
        return true;
    }
    report.trouble(
        "database",
        &format!("DATABASE_URL is not set, and no private database is in {}", environment.data.display()),
        "set DATABASE_URL to postgres://USER:PASSWORD@HOST:PORT/DATABASE; for a try on this machine, `ecomdash up` makes one",
    );
    false
}

/// Whether the keys are there, or production is to be told that they are not. Likewise.
pub fn names_keys(environment: &Environment, report: &mut Report) -> bool {
    let keys = environment.data.join("keys");
    let lacks = |given: bool, file: &str| !given && !environment.is_production() && !keys.join(file).exists();
    let missing: Vec<&str> = [
        ("ENCRYPTION_KEYS", lacks(environment.encryption_keys.is_some(), "encryption_keys")),
        ("SHOPIFY_API_SECRET", lacks(environment.shopify_api_secret.is_some(), "shopify_api_secret")),
    ]
    .into_iter()
    .filter_map(|(variable, lacks)| lacks.then_some(variable))
    .collect();
    if !missing.is_empty() {
        report.trouble(
            "settings",
            &format!("{} is not set, and none was made in {} yet", missing.join(" and "), keys.display()),
            "set it; for a try on this machine, `ecomdash up` makes one",
        );
    }
    missing.is_empty()
}

pub fn examine(environment: &Environment, report: &mut Report) {
    let before = report.troubles + report.warnings;
    if !["development", "production"].contains(&environment.environment.as_str()) {
        report.warning(
            "settings",
            &format!("ENVIRONMENT is `{}`: everything is as in development", environment.environment),
            "set ENVIRONMENT to production or development",
        );
    }
    if let Err(error) = environment.master_ring() {
        report.trouble(
            "settings",
            &format!("{error:#}"),
            "ENCRYPTION_KEYS are 32 bytes each in base64 or hex, newest first; `openssl rand -base64 32` makes one. What \
             older keys have sealed opens with them only",
        );
    }
    if let Err(error) = environment.shopify_secrets() {
        report.trouble(
            "settings",
            &format!("{error:#}"),
            "copy the client secret of the app from its page in Shopify's dashboard",
        );
    }
    if let Err(error) = environment.metrics_token() {
        report.trouble("settings", &format!("{error:#}"), "`openssl rand -hex 32` makes one");
    }
    match Origins::parse(&environment.allowed_origins) {
        Err(fault) => report.trouble(
            "settings",
            &format!("ALLOWED_ORIGINS: {fault}"),
            "an origin is what the browser's address begins with: https://app.example.com, separated by commas",
        ),
        Ok(_) if environment.is_production() && environment.allowed_origins.contains("://localhost") => {
            report.warning(
                "settings",
                "ALLOWED_ORIGINS lets pages of anyone's own machine read figures with a token",
                "leave localhost out of it in production",
            );
        }
        Ok(_) => {}
    }
    let is_limited = environment.trusted_proxies == 0 && environment.rate_limit_per_client > 0;
    if environment.is_production() && is_limited {
        report.warning(
            "settings",
            "TRUSTED_PROXIES is 0: behind a proxy, all clients share one limit",
            "set TRUSTED_PROXIES to the number of proxies in front, or RATE_LIMIT_PER_CLIENT to 0",
        );
    }
    if environment.receipts_file.is_none() {
        report.good(
            "receipts",
            "RECEIPTS_FILE is not set: keep what `ecomdash redact receipts` prints elsewhere than the database, or a restore \
             brings back whom nobody knows to have been erased",
        );
    }
    if report.troubles + report.warnings == before {
        report.good("settings", &format!("{}; every one of them can be used", environment.environment));
    }
}

pub async fn examine_redis(environment: &Environment, report: &mut Report) {
    /// It connects in the background.
    const PATIENCE: Duration = Duration::from_millis(1_500);
    if environment.redis_url.is_none() {
        report.good("redis", "REDIS_URL is not set: each process counts limits for itself");
        return;
    }
    // What else may be wrong with it has been told.
    let Ok(edge) = environment.edge() else {
        report.trouble("redis", "REDIS_URL cannot be used", "it is of the form redis://[:password@]host[:port]");
        return;
    };
    tokio::time::sleep(PATIENCE).await;
    if edge.limits.is_degraded() {
        report.warning(
            "redis",
            "it does not answer: each process counts limits for itself meanwhile, and nobody is refused for it",
            "see that it runs, and that REDIS_URL names it as this process can reach it",
        );
    } else {
        report.good("redis", "it answers");
    }
}
