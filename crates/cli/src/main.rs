//! `ecomdash`: every role of EcomDash in one binary.

use std::process::ExitCode;

use clap::Parser;
use ecomdash_cli::{args::Args, run};

fn main() -> ExitCode {
    run(Args::parse())
}
