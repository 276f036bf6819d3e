//! What the tests and the benchmarks of the whole share: a real Postgres, databases of their own in it, the real binary.
//!
//! Databases belong to an ordinary login with CREATEROLE, as on a hosting platform: a superuser is above row-level
//! security, and tests that run as one would pass for nothing.

mod ask;
pub mod bodies;
pub mod canaries;
pub mod catalogue;
mod database;
pub mod documents;
pub mod everywhere;
pub mod figures;
pub mod observed;
pub mod planted;
mod process;
pub mod proxy;
pub mod random;
pub mod raw_http;
mod redis;
pub mod repository;
pub mod search;
mod shop;
pub mod storm;
pub mod surface;
pub mod system;
pub mod tampering;

pub use ask::{number, until};
pub use database::{Cluster, Login, TestDatabase};
pub use process::{Ecomdash, bare_command, binary, command_on, free_folder, run, with_clock};
pub use redis::Redis;
pub use shop::{Metrics, SECRET, Shop, issue_token, key_of, new_shop, said, share_key, why};

use std::{io::Write, path::PathBuf};

/// For whatever is asked over HTTP.
///
/// # Panics
/// Where none can be made.
#[must_use]
pub fn client() -> reqwest::Client {
    cli::http_client().tls_certs_only([]).build().expect("an HTTP client")
}

/// Shopify's real bodies, where this checkout has them beside it. Says loudly when it has not.
pub fn fixtures() -> Option<PathBuf> {
    let beside = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/shopify/fixtures"));
    let folder = std::env::var_os("ECOMDASH_FIXTURES").map_or(beside, PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    looked_at_nothing("the folder of real Shopify bodies is absent");
    None
}

/// A test that cannot look at what it is for says so, to whoever reads its output and to `bin/test`, which tells of all of
/// them at its end.
pub fn looked_at_nothing(why: &str) {
    eprintln!("WARNING: {why}: this test looked at NOTHING");
    if let Some(folder) = std::env::var_os("ECOMDASH_TEST_DATA") {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(PathBuf::from(folder).join("skipped"));
        let name = std::env::var("NEXTEST_TEST_NAME").unwrap_or_else(|_| "a test".to_owned());
        let _ = file.and_then(|mut file| file.write_all(format!("{name}: {why}\n").as_bytes()));
    }
}
