//! What is kept of a person, handed out: asked for, put together, fetched, gone. Each export is a history of its own in the
//! shop's log, so that who asked, who fetched it and when can be told without what it says, which stands elsewhere, sealed.

mod aggregate;
mod event;
#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;

pub use aggregate::{Export, ExportCommand, ExportError, ExportStatus};
pub use event::{Built, Chosen, ExportEvent, ExportRequest, Gone};
