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
pub mod observed;
mod process;
pub mod proxy;
pub mod random;
pub mod raw_http;
mod redis;
pub mod repository;
mod shop;
pub mod storm;
pub mod surface;

pub use ask::{number, until};
pub use database::{Cluster, Login, TestDatabase};
pub use process::{Ecomdash, bare_command, binary, command_on, free_folder, run};
pub use redis::Redis;
pub use shop::{Metrics, SECRET, Shop};

use std::path::PathBuf;

/// Shopify's real bodies, where this checkout has them beside it. Says loudly when it has not.
pub fn fixtures() -> Option<PathBuf> {
    let beside = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/shopify/fixtures"));
    let folder = std::env::var_os("ECOMDASH_FIXTURES").map_or(beside, PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("WARNING: the folder of real Shopify bodies is absent: this test looked at NOTHING");
    None
}
