//! The repository as it lies there: its files, and the scripts of `bin/` as people run them.

use std::{
    fs::Permissions,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).canonicalize().expect("the repository")
}

/// A file's text.
pub fn read(file: &str) -> String {
    std::fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Every file of a folder and of those in it, with that ending.
pub fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path.extension().is_some_and(|extension| extension == ending) {
            found.push(path);
        }
    }
    found
}

/// A program of a test's own: a shell script.
pub fn write_program(path: &Path, script: &str) {
    std::fs::write(path, format!("#!/bin/sh\n{script}\n")).expect("a folder");
    std::fs::set_permissions(path, Permissions::from_mode(0o755)).expect("it is ours");
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
