//! The README's quick start works as it stands, in an empty folder.

use std::process::Command;

use ecomdash_tests::{bare_command, binary, free_folder};

#[test]
fn the_quick_start_can_be_pasted() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let readme = std::fs::read_to_string(format!("{root}/README.md")).unwrap();
    let blocks: Vec<&str> = readme
        .split("```sh quickstart\n")
        .skip(1)
        .map(|rest| rest.split("```").next().expect("a block ends"))
        .collect();
    assert!(blocks.len() >= 4, "the blocks of the quick start are there");
    let folder = free_folder();
    std::fs::create_dir_all(folder.join("docs")).unwrap();
    let copied = Command::new("cp").arg("-r").arg(format!("{root}/docs/examples")).arg(folder.join("docs")).status();
    assert!(copied.unwrap().success());

    let path = format!("{}:{}", binary().parent().unwrap().display(), std::env::var("PATH").unwrap());
    // Whatever fails, the server that was started ends with the shell.
    let script = format!("set -eu\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n{}", blocks.concat());
    let plain = bare_command(&folder);
    let removed = plain.get_envs().filter(|(_, value)| value.is_none()).map(|(name, _)| name.to_owned());
    let mut shell = Command::new("bash");
    for name in removed {
        shell.env_remove(name);
    }
    let output = shell
        .args(["-c", &script])
        .current_dir(&folder)
        .env("PATH", path)
        .env_remove("ECOMDASH_DATA")
        .env_remove("SHOPIFY_API_SECRET")
        .output()
        .unwrap();
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{text}\n{errors}");
    for expected in [
        "is registered as",
        "\"orders\":1",
        "\"gross_sales\":{\"amount\":",
        "translated",
        "unbroken",
        "the same figures",
    ] {
        assert!(text.contains(expected), "{expected} is missing:\n{text}\n{errors}");
    }
    assert!(!folder.join(".ecomdash/postgres/cluster/postmaster.pid").exists(), "the private Postgres is stopped");
    std::fs::remove_dir_all(folder).unwrap();
}
