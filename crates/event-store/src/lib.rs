//! The event log of every shop: ordered, gap-free, hash-chained, append-only.
//!
//! A [`Database`] opens transactions for one shop ([`ShopTx`]), in which row-level security applies. A batch of
//! commands is one call, [`ShopTx::execute`]: lock the shop's head, load what the commands name, seal, decide, append
//! in one statement, move the head. So order is total per shop, readers never meet a hole, and nobody loses a race.
//! A single command in a transaction of its own, [`Database::execute`], does without the lock where it can. Of a long
//! history only the part behind its newest snapshot is loaded.
//!
//! This crate alone writes events. It knows order, bytes and hashes, not what an order is.

mod append;
mod bundle;
mod chain;
mod checker;
mod checkpoint;
mod command;
mod connections;
mod error;
mod history;
pub mod inspect;
mod metadata;
mod metrics;
mod migrate;
mod page;
mod read;
mod recent;
mod repository;
mod shop;
mod snapshot;
mod subjects;
mod tenancy;
mod verify;

pub use append::{Appended, PROJECT};
pub use bundle::{BundleError, Checked, ExportError, check_bundle, export};
pub use chain::{GENESIS, Link};
pub use checker::{AnchorError, Fault, FaultKind, Trust, Verified};
pub use checkpoint::{Checkpoint, sign, sign_if_due};
pub use command::{Envelope, StreamId};
pub use connections::{Lent, Transaction};
pub use error::{StoreError, is_unavailable};
pub use history::{Selected, Selection, StateAt};
pub use metadata::Metadata;
pub use metrics::{SealedThing, opened, register_metrics};
pub use migrate::{MIGRATIONS, MigrateError, migrate, schema_is_current};
pub use page::Page;
pub use read::{Decode, EventHeading, StoredEvent, decode, events};
pub use repository::ShopEvents;
pub use shop::{create_shop, rewrap_shop_key, shop_key, unwrap_shop_key, wrapped_shop_key};
pub use subjects::{SealedValue, Streams, as_sealed, name_subjects_by_and_by, open_sealed};
pub use tenancy::{Database, DatabaseOptions, ShopTx};
pub use verify::{Verification, verify, verify_with};
