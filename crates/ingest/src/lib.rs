//! What comes in: deliveries made durable before anything is parsed, and turned into events afterwards.
//!
//! [`Receiver`] stores a signed delivery, sealed, and answers; [`ingest`] takes a shop's pending deliveries, translates
//! them and appends their news, all in one transaction. What cannot be read becomes a dead letter with its reason and
//! holds up nothing behind it.

mod directory;
mod document;
mod inbox;
mod keys;
mod metrics;
mod receive;
mod requests;
mod subjects;
mod translate;

pub use directory::{
    DirectoryEntry, FormerShop, Registration, find, find_by_id, former_shops, hand_over, list_shops, lock_entry,
    page_of_shops, predecessors, register, set_paused, strike_off,
};
pub use document::{DocumentsLeft, documents_by_outcome, documents_left, store_documents};
pub use inbox::{
    InboxCounts, InboxItem, InboxStatus, REQUEST_TOPICS, counts, dead_letters, list, purge_bodies, purge_unclaimed,
    retry, unclaimed,
};
pub use keys::{KeyUse, Rotated, key_uses, rotate_keys};
pub use metrics::{count_put_off, register_metrics};
pub use receive::{Accepted, Delivery, Receiver};
pub use requests::{REDACT, enqueue, knows_a_buyer, later_installation};
pub use subjects::{
    OpenedBody, bodies_of, find_bodies, let_go_of_bodies, name_bodies, names_of_bodies, open_bodies,
    orders_in_untold_bodies,
};
pub use translate::{BATCH, IngestError, Ingested, ingest, is_any_put_off, put_forward, put_off};

/// The kind of work that a stored delivery makes.
pub const INGEST: &str = "ingest";
