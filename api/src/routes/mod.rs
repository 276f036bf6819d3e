//! One file for every endpoint.

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
pub mod redactions;
pub mod requests;
pub mod restatements;
pub mod series;
pub mod shops;
pub mod stats;
