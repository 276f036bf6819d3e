//! What the documents tell people to type works as it stands.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use ecomdash_tests::{
    Cluster, Ecomdash, SECRET, TestDatabase, bare_command, binary, free_folder,
    repository::{files, root, write_program},
};
use rustix::process::Signal;

/// Who runs a block of commands, by the word that stands behind its language.
const RUN_BY: [(&str, &str); 4] = [
    ("build", "the_quick_start_can_be_pasted"),
    ("quickstart", "the_quick_start_can_be_pasted"),
    ("demo", "the_demo_starts_as_the_readme_says"),
    ("drill", "the_runbook_s_commands_work"),
];

/// A fenced block: its language and mark, and its lines without the indentation of a list.
struct Block {
    info: String,
    text: String,
}

fn blocks(document: &Path) -> Vec<Block> {
    let text = std::fs::read_to_string(document).unwrap();
    let mut blocks: Vec<Block> = Vec::new();
    let (mut is_open, mut indent) = (false, 0);
    for line in text.lines() {
        if let Some(info) = line.trim_start().strip_prefix("```") {
            if !is_open {
                indent = line.len() - line.trim_start().len();
                blocks.push(Block { info: info.to_owned(), text: String::new() });
            }
            is_open = !is_open;
        } else if is_open {
            let block = blocks.last_mut().expect("one was opened");
            block.text += line.get(indent..).unwrap_or_default();
            block.text.push('\n');
        }
    }
    assert!(!is_open, "{}: a block has no end", document.display());
    blocks
}

fn marked(document: &str, mark: &str) -> String {
    let all = blocks(&root().join(document)).into_iter().filter(|block| block.info == format!("sh {mark}"));
    let text: String = all.map(|block| block.text).collect();
    assert!(!text.is_empty(), "{document} has no block for {mark}");
    text
}

/// Where people look for commands.
fn documents() -> Vec<PathBuf> {
    let mut documents = files(&root().join("docs"), "md");
    documents.push(root().join("README.md"));
    documents
}

#[test]
fn every_block_of_commands_is_run_by_a_test() {
    let source = std::fs::read_to_string(root().join("tests/tests/docs.rs")).unwrap();
    for (mark, test) in RUN_BY {
        assert!(source.contains(&format!("fn {test}(")) && source.contains(&format!("\"{mark}\")")), "{mark}");
    }
    let mut count = 0;
    for document in documents() {
        for block in blocks(&document) {
            let mark = block.info.strip_prefix("sh ");
            let is_run = mark.is_some_and(|mark| RUN_BY.iter().any(|(known, _)| *known == mark));
            assert!(is_run, "{}: nothing runs ```{}\n{}", document.display(), block.info, block.text);
            count += 1;
        }
    }
    assert!(count >= 15, "{count}");
}

/// What stands between backticks and begins with the program's name: its subcommands and options are there.
#[test]
fn every_command_that_is_named_exists() {
    let mut named: Vec<String> = Vec::new();
    for document in documents().into_iter().chain([root().join("ARCHITECTURE.md")]) {
        let text = std::fs::read_to_string(document).unwrap().replace('\n', " ");
        named
            .extend(text.split('`').skip(1).step_by(2).filter(|span| span.starts_with("ecomdash ")).map(str::to_owned));
    }
    assert!(named.len() >= 30, "{}", named.len());
    named.sort_unstable();
    named.dedup();
    for span in named {
        let words: Vec<&str> = span.split(' ').skip(1).collect();
        let names: Vec<&str> =
            words.iter().copied().take_while(|word| word.bytes().all(|byte| byte.is_ascii_lowercase())).collect();
        let output = Command::new(binary()).args(&names).arg("--help").output().unwrap();
        let help = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "`{span}` is no command");
        for option in words.iter().filter_map(|word| word.trim_start_matches('[').strip_prefix("--")) {
            let option = option.split(|c: char| !(c.is_ascii_lowercase() || c == '-')).next().unwrap();
            assert!(help.contains(&format!("--{option}")), "`{span}`: there is no --{option}");
        }
    }
}

/// A folder that looks like a checkout to whoever follows the documents.
fn checkout() -> PathBuf {
    let folder = free_folder();
    for name in ["bin", "docs", "Cargo.toml"] {
        std::os::unix::fs::symlink(root().join(name), folder.join(name)).unwrap();
    }
    folder
}

/// A `cargo` that has built what the tests were built with, and writes down what it was asked for.
fn with_cargo(command: &mut Command, folder: &Path) {
    let tools = folder.join("tools");
    std::fs::create_dir_all(&tools).unwrap();
    let script = format!(
        "echo \"$@\" >>'{0}/cargo.asked'
for profile in release demo; do
  mkdir -p \"$CARGO_TARGET_DIR/$profile\"
  ln -sf '{1}' \"$CARGO_TARGET_DIR/$profile/ecomdash\"
done",
        folder.display(),
        binary().display()
    );
    write_program(&tools.join("cargo"), &script);
    command.env("PATH", format!("{}:{}", tools.display(), std::env::var("PATH").unwrap()));
    command.env("CARGO_TARGET_DIR", folder.join("target"));
}

/// A shell in a checkout, with nothing of the caller's environment that would change what it does.
fn shell(folder: &Path, script: &str) -> Command {
    let plain = bare_command(folder);
    let mut shell = Command::new("bash");
    for (name, _) in plain.get_envs().filter(|(_, value)| value.is_none()) {
        shell.env_remove(name);
    }
    // Whatever fails, the server that was started ends with the shell.
    let script = format!("set -eu\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n{script}");
    shell.args(["-c", &script]).current_dir(folder).env_remove("ECOMDASH_DATA").env_remove("SHOPIFY_API_SECRET");
    shell
}

fn ran(shell: &mut Command) -> String {
    let Output { status, stdout, stderr } = shell.output().unwrap();
    let text = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{text}");
    text
}

#[test]
fn the_quick_start_can_be_pasted() {
    let folder = checkout();
    let script = marked("README.md", "build") + &marked("README.md", "quickstart");
    let mut shell = shell(&folder, &script);
    with_cargo(&mut shell, &folder);
    let text = ran(&mut shell);
    for expected in [
        "is registered as",
        "\"orders\":1",
        "\"gross_sales\":{\"amount\":",
        "translated",
        "unbroken",
        "the same figures",
        "1 translated",
    ] {
        assert!(text.contains(expected), "{expected} is missing:\n{text}");
    }
    assert_eq!(std::fs::read_to_string(folder.join("cargo.asked")).unwrap(), "build --release\n");
    assert!(!folder.join(".ecomdash/postgres/cluster/postmaster.pid").exists(), "the private Postgres is stopped");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn the_demo_starts_as_the_readme_says() {
    let folder = checkout();
    let asked = marked("README.md", "demo");
    let data = folder.join("data");
    // As it stands, but small, and where nobody else listens.
    let quick = asked.replace("bin/demo", "exec bin/demo --port 0 --shops 1 --days 1");
    let mut shell = shell(&folder, &quick);
    with_cargo(&mut shell, &folder);
    shell.env("ECOMDASH_DATA", &data);
    shell.env("LOG_LEVEL", "warn").arg("demo"); // its name, by which what it prints may hold tokens
    let mut demo = Ecomdash::spawn(shell);
    demo.until_it_says("selling: ", Duration::from_secs(30));
    for expected in ["listening on http://127.0.0.1:", "merchant ", "  curl -s 'http", "/#token=ecd_"] {
        assert!(demo.log().contains(expected), "{expected} is missing: {}", demo.log());
    }
    // Ctrl-C.
    demo.signal(Signal::INT);
    demo.wait(Duration::from_secs(30));
    assert!(!data.join("demo/postgres/cluster/postmaster.pid").exists(), "the private Postgres is stopped");
    let built = std::fs::read_to_string(folder.join("cargo.asked")).unwrap();
    assert_eq!(built, "build --profile demo --locked --quiet -p ecomdash\n");
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_runbook_s_commands_work() {
    let folder = checkout();
    let database = TestDatabase::new().await;
    let server = Ecomdash::up(&database);
    let cluster = Cluster::own(&folder.join("elsewhere"));
    let restored = TestDatabase::empty_at(&cluster).await;
    let script = marked("docs/runbook.md", "drill");
    let mut shell = shell(&folder, &script);
    let path = format!("{}:{}", binary().parent().unwrap().display(), std::env::var("PATH").unwrap());
    shell.env("PATH", path).env("URL", &server.url);
    shell.env("DATABASE_URL", &database.url).env("RESTORED_URL", &restored.url);
    shell.env("ENCRYPTION_KEYS", &database.encryption_keys).env("SHOPIFY_API_SECRET", SECRET);
    let text = tokio::task::block_in_place(|| ran(&mut shell));
    for expected in [
        "is ready, version",
        "is registered as",
        "\"role\":\"operator\"",
        "\"metrics\":{",
        "ecomdash.dump: ",
        "restored. Now:",
        "every chain unbroken",
        "they are the same",
        "unbroken, hash",
        "was compared only",
        "nothing needs an older key",
        "needed for nothing: it may be dropped",
    ] {
        assert!(text.contains(expected), "{expected} is missing:\n{text}");
    }
    drop((server, cluster));
    std::fs::remove_dir_all(folder).unwrap();
}
