//! What `bin/setup.sh` makes of a machine that has Homebrew and no apt-get, as macOS: on one without the programs in question.

use std::{
    collections::BTreeSet,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use ecomdash_tests::{
    free_folder,
    repository::{root, said, write_program},
};

/// A folder of all programs but these.
fn programs_without(folder: &Path, missing: &[&str]) -> PathBuf {
    let tools = folder.join("tools");
    std::fs::create_dir(&tools).unwrap();
    let path = std::env::var_os("PATH").unwrap();
    let mut named: BTreeSet<_> = missing.iter().map(Into::into).collect();
    for entry in
        std::env::split_paths(&path).flat_map(|folder| std::fs::read_dir(folder).into_iter().flatten().flatten())
    {
        if named.insert(entry.file_name()) {
            // Names that differ in their case may be one.
            let _ = symlink(entry.path(), tools.join(entry.file_name()));
        }
    }
    tools
}

/// What a script says that goes by `bin/setup.sh`, on such a machine.
fn set_up(folder: &Path, tools: &Path, script: &str) -> (bool, String) {
    let mut shell = Command::new("bash");
    shell.args(["-c", &format!(". '{}/bin/setup.sh'; {script}", root().display())]);
    shell.env("PATH", tools).env("CARGO_TARGET_DIR", folder.join("target"));
    said(&mut shell)
}

#[test]
fn brew_is_asked_for_what_is_missing_and_asks_nothing_itself() {
    let folder = free_folder();
    let tools = programs_without(&folder, &["apt-get", "brew", "redis-server", "promtool"]);
    let log = folder.join("brew.log");
    let brew = format!(
        "echo \"$HOMEBREW_NO_ASK $*\" >>'{log}'\nread -r answer && echo answered >>'{log}'\nexit 0",
        log = log.display()
    );
    write_program(&tools.join("brew"), &brew);
    let (ok, text) = set_up(&folder, &tools, "need_test_tools; echo went on");
    assert!(ok && text.starts_with("went on\n"), "{text}");
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "1 install redis\n1 install prometheus\n");

    // Where it cannot install them, their tests say so, and the others run.
    std::fs::remove_file(&log).unwrap();
    write_program(&tools.join("brew"), "echo 'no bottle available!' >&2; exit 1");
    let (ok, text) = set_up(&folder, &tools, "need_test_tools; echo went on");
    assert!(ok && text.matches("no bottle available!").count() == 2 && text.starts_with("went on\n"), "{text}");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_mac_without_the_developers_tools_is_told_of_them() {
    let folder = free_folder();
    let tools = programs_without(&folder, &["apt-get", "brew", "uname", "xcode-select"]);
    write_program(&tools.join("uname"), "echo Darwin");
    write_program(&tools.join("xcode-select"), "exit 2");
    let (ok, text) = set_up(&folder, &tools, "need_tools");
    assert!(
        !ok && text.starts_with("please install: a C compiler") && text.contains("xcode-select --install"),
        "{text}"
    );
    write_program(&tools.join("xcode-select"), "echo /Library/Developer/CommandLineTools");
    let (ok, text) = set_up(&folder, &tools, "need_tools; echo all is there");
    assert!(ok && text == "all is there\n", "{text}");
    std::fs::remove_dir_all(folder).unwrap();
}
