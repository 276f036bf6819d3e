//! One file for every endpoint, and what they share.

pub mod audit;
pub mod audit_verify;
pub mod breakdown;
pub mod docs;
pub mod explain;
pub mod exports;
pub mod grants;
pub mod health;
pub mod home;
pub mod orders;
mod page;
pub mod redactions;
pub mod requests;
pub mod restatements;
mod said;
pub mod series;
pub mod shops;
pub mod stats;
