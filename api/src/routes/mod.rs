//! One file for every endpoint.

pub mod audit;
pub mod audit_verify;
pub mod docs;
pub mod grants;
pub mod health;
pub mod home;
pub mod orders;
pub mod redactions;
pub mod series;
pub mod shops;
pub mod stats;
