//! One file for every command.

mod demo;
mod doctor;
mod grant;
mod inbox;
mod ingest;
mod keys;
mod output;
mod rebuild;
mod redact;
mod replay;
mod serve;
mod shop;
mod token;
mod verify;

pub use serve::{SERVE_CONNECTIONS, WORK_CONNECTIONS};

use std::process::ExitCode;

use crate::{
    args::{Args, Command},
    logging,
    session::{Schema, Session},
};

/// Connections of a command that does one thing at a time.
const FEW: u32 = 2;

/// Does what was asked for. Faults go to standard error.
#[must_use]
pub fn run(args: Args) -> ExitCode {
    // Of a demo, somebody reads the rest.
    let usual = if matches!(args.command, Command::Demo(_)) { "warn" } else { "info" };
    let level = args.environment.log_level.as_deref().unwrap_or(usual);
    logging::start(level, args.environment.is_production());
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into()),
    };
    match runtime.block_on(dispatch(args)) {
        Ok(code) => code,
        Err(error) => fail(&error),
    }
}

#[allow(clippy::print_stderr, reason = "the command line's answer to whoever typed it")]
fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {error:#}");
    ExitCode::FAILURE
}

async fn dispatch(args: Args) -> anyhow::Result<ExitCode> {
    let environment = &args.environment;
    match args.command {
        Command::Up(up) => serve::up(environment, &up).await,
        Command::Demo(demo) => demo::run(environment, &demo).await,
        Command::Serve(serve) => serve::serve(environment, &serve).await,
        Command::Work(work) => serve::work(environment, &work).await,
        Command::Migrate => {
            let session = Session::open(environment, FEW, Schema::Migrate).await?;
            output::line(format!("the schema is up to date: {}", session.schema_place(environment)));
            Ok(ExitCode::SUCCESS)
        }
        Command::Shop(command) => shop::run(environment, command).await,
        Command::Token(command) => token::run(environment, command).await,
        Command::Redact(command) => redact::run(environment, command).await,
        Command::Grant(command) => grant::run(environment, command).await,
        Command::Inbox(command) => inbox::run(environment, command).await,
        Command::Ingest(args) => ingest::run(environment, &args).await,
        Command::Keys(command) => keys::run(environment, command).await,
        Command::Rebuild(rebuild) => rebuild::run(environment, &rebuild).await,
        Command::Replay(replay) => replay::run(environment, replay).await,
        Command::Verify(verify) => verify::run(environment, &verify).await,
        Command::Doctor(doctor) => doctor::run(environment, &doctor).await,
    }
}
