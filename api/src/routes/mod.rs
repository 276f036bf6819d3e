//! One file for every endpoint.

pub mod docs;
pub mod exports;
pub mod health;
pub mod home;
pub mod orders;
pub mod redactions;
pub mod requests;
pub mod series;
pub mod shops;
pub mod stats;
