//! The scripts of `bin/`, as people run them.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).canonicalize().expect("the repository")
}

/// A script of `bin/` on a database.
pub fn script(name: &str, url: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(root().join("bin").join(name));
    command.args(arguments).env("DATABASE_URL", url).env_remove("DATABASE_DIRECT_URL");
    command
}

/// Runs it to its end: whether it succeeded, and what it said.
pub fn said(command: &mut Command) -> (bool, String) {
    let Output { status, stdout, stderr } = command.output().expect("it runs");
    (status.success(), String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr))
}
