//! The command line: the only place that reads the environment, and what the one binary can do.

pub mod args;
mod commands;
mod config;
mod logging;
mod observe;
pub mod postgres;
mod process;
mod session;

pub use commands::run;
