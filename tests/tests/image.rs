//! The Dockerfile: its rules, and its build by hand, since not every machine has an engine.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::TcpListener,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use ecomdash_tests::{Ecomdash, Login, SECRET, TestDatabase, free_folder, repository::root, until};
use rustix::process::Signal;

/// An instruction and what it says, its continued lines as one.
type Instruction = (String, String);

/// A stage: what it is made from, and its instructions.
struct Stage {
    from: String,
    instructions: Vec<Instruction>,
}

fn stages() -> Vec<Stage> {
    let text = std::fs::read_to_string(root().join("Dockerfile")).unwrap();
    let text: String = text.lines().filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n")).collect();
    let mut stages: Vec<Stage> = Vec::new();
    for line in text.replace("\\\n", " ").lines().filter(|line| !line.trim().is_empty()) {
        let (instruction, rest) = line.split_once(' ').expect("an instruction and what it says");
        match (instruction, stages.last_mut()) {
            ("FROM", _) => stages.push(Stage { from: rest.to_owned(), instructions: Vec::new() }),
            (_, Some(stage)) => stage.instructions.push((instruction.to_owned(), rest.trim().to_owned())),
            (_, None) => panic!("{line} is in no stage"),
        }
    }
    stages
}

fn all<'a>(stage: &'a Stage, instruction: &str) -> Vec<&'a str> {
    stage.instructions.iter().filter(|(of, _)| of == instruction).map(|(_, rest)| rest.as_str()).collect()
}

#[test]
fn the_image_has_stages_no_root_no_shell_and_no_secret() {
    let stages = stages();
    assert!(stages.len() >= 3, "what builds is not in what runs");
    let mut names = Vec::new();
    for stage in &stages {
        let (image, name) = stage.from.split_once(" AS ").unwrap_or((&stage.from, ""));
        let tag = image.rsplit('/').next().unwrap().split_once(':').map(|(_, tag)| tag);
        assert!(names.contains(&image) || tag.is_some_and(|tag| tag != "latest"), "{image} may be another tomorrow");
        names.push(name);
        for (instruction, rest) in &stage.instructions {
            assert!(instruction != "ADD", "{rest}: it would fetch or unpack");
            let is_set = ["ARG", "ENV"].contains(&instruction.as_str());
            let is_secret =
                ["SECRET", "KEY", "TOKEN", "PASSWORD", "DATABASE_URL"].iter().any(|word| rest.contains(word));
            assert!(!(is_set && is_secret), "{rest} would be in the image");
        }
    }
    let last = stages.last().unwrap();
    assert!(last.from.contains("distroless") && last.from.ends_with(":nonroot"), "{}", last.from);
    assert_eq!(all(last, "RUN"), [""; 0], "there is no shell to run it");
    let [user] = all(last, "USER")[..] else { panic!("one user") };
    assert!(user.split(':').all(|id| id.parse::<u32>().is_ok_and(|id| id >= 1000)), "{user} by number, and not root");
    assert_eq!(all(last, "ENTRYPOINT"), ["[\"/ecomdash\"]"]);
    assert_eq!(all(last, "CMD"), ["[\"serve\"]"]);
    for copied in all(last, "COPY") {
        assert!(copied.starts_with("--from=builder "), "{copied}");
    }
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let rust = manifest.lines().find_map(|line| line.strip_prefix("rust-version = \"")).unwrap().trim_end_matches('"');
    assert!(
        stages[0].from.starts_with(&format!("rust:{rust}-")),
        "{} is not the version of Cargo.toml",
        stages[0].from
    );
}

/// Whether `.dockerignore`, a list of what is let in, lets a file in.
fn is_let_in(path: &str, rules: &[String]) -> bool {
    let mut is_in = true;
    for rule in rules {
        let (pattern, lets_in) = rule.strip_prefix('!').map_or((rule.as_str(), false), |pattern| (pattern, true));
        let parts: Vec<&str> = path.split('/').collect();
        let matches = match pattern.strip_prefix("**/") {
            Some(name) => parts.iter().any(|part| match name.split_once('*') {
                Some((begin, end)) => part.starts_with(begin) && part.ends_with(end),
                None => *part == name,
            }),
            None => pattern == "*" || path == pattern || path.starts_with(&format!("{pattern}/")),
        };
        if matches {
            is_in = lets_in;
        }
    }
    is_in
}

/// The context that an engine would send, in a folder of its own.
fn context(folder: &Path) -> usize {
    let rules = std::fs::read_to_string(root().join(".dockerignore")).unwrap();
    let rules: Vec<String> =
        rules.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).map(str::to_owned).collect();
    for (path, expected) in [
        ("Cargo.toml", true),
        (".sqlx/query-1.json", true),
        ("crates/cli/src/main.rs", true),
        (".env", false),
        ("api/.env.local", false),
        (".git/config", false),
        ("target/release/ecomdash", false),
        ("crates/cli/target/x", false),
        (".ecomdash/keys/encryption_keys", false),
        ("up.log", false),
    ] {
        assert_eq!(is_let_in(path, &rules), expected, "{path}");
    }
    // With what is new and not added yet.
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(listed.status.success());
    let mut count = 0;
    for path in String::from_utf8(listed.stdout).unwrap().lines().filter(|path| is_let_in(path, &rules)) {
        let (from, to) = (root().join(path), folder.join(path));
        if from.is_file() {
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            std::fs::copy(from, to).unwrap();
            count += 1;
        }
    }
    count
}

/// Where what was built stays for the next time.
fn kept() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let kept = target.join("image");
    std::fs::create_dir_all(kept.join("target")).unwrap();
    kept.canonicalize().unwrap()
}

/// With their times, as an engine does: what is newer is built again.
fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").args(["-R", "-p"]).args([from, to]).status().unwrap();
    assert!(copied.success(), "{} to {}", from.display(), to.display());
}

/// Of a build that a test can wait for.
const QUICK: &str = "dev";

fn profile() -> String {
    std::env::var("ECOMDASH_IMAGE_PROFILE").unwrap_or_else(|_| QUICK.to_owned())
}

fn run_by_hand(command: &str, source: &Path, kept: &Path, environment: &BTreeMap<String, String>) {
    let mut shell = Command::new("sh");
    // What cargo tells its tests is not meant for another build; how it links is.
    let mut flags = Vec::new();
    for (name, value) in std::env::vars().filter(|(name, _)| name.starts_with("CARGO") && name != "CARGO_HOME") {
        shell.env_remove(&name);
        flags.extend(name.ends_with("_RUSTFLAGS").then_some(value));
    }
    flags.extend(std::env::var("RUSTFLAGS").ok());
    if profile() == QUICK {
        // Dependencies are optimised in it, for what runs often: this runs once, and is built in less than half the time.
        flags.push("-C opt-level=0".to_owned());
    }
    let path = format!("{}:{}", kept.join("bin").display(), std::env::var("PATH").unwrap());
    shell.args(["-c", command]).current_dir(source).envs(environment);
    shell
        .env("PATH", path)
        .env("CARGO_INSTALL_ROOT", kept)
        .env("RUSTFLAGS", flags.join(" "))
        .env_remove("DATABASE_URL");
    let output = shell.output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Runs each stage's commands as an engine would, in the context and nothing else, quickly built. What comes of it is the
/// program as it is deployed: it needs no file beside it but the C library, speaks TLS to Postgres, and works.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_dockerfile_s_commands_build_a_program_that_runs_alone() {
    let (kept, folder) = (kept(), free_folder());
    let sent = folder.join("context");
    assert!(context(&sent) > 200);
    let program = folder.join("ecomdash");

    let mut environment: BTreeMap<String, String> = BTreeMap::new();
    let mut commands = 0;
    // The last one has no commands.
    for stage in &stages()[..stages().len() - 1] {
        let name = stage.from.split_once(" AS ").expect("a name").1;
        let source = folder.join(name);
        std::fs::create_dir(&source).unwrap();
        symlink(kept.join("target"), source.join("target")).unwrap();
        for (instruction, rest) in &stage.instructions {
            match instruction.as_str() {
                "ARG" | "ENV" => {
                    let (name, value) = rest.split_once('=').expect("a value");
                    environment.insert(name.to_owned(), value.to_owned());
                    if let Some(profile) = environment.get_mut("PROFILE") {
                        *profile = self::profile();
                    }
                }
                "COPY" if rest == ". ." => copy(&sent.join("."), &source),
                "COPY" => {
                    let [from, path, to] = rest.split(' ').collect::<Vec<_>>()[..] else { panic!("COPY {rest}") };
                    let from = folder.join(from.strip_prefix("--from=").expect("of another stage"));
                    copy(&from.join(path.strip_prefix("/src/").expect("in its folder")), &source.join(to));
                }
                "RUN" => {
                    // The root of a machine is not ours to write to.
                    let command = rest.replace(" /ecomdash", &format!(" {}", program.display()));
                    run_by_hand(&command, &source, &kept, &environment);
                    commands += 1;
                }
                _ => {}
            }
        }
    }
    assert_eq!(commands, 4);

    // What it is linked against is in the image that it runs in.
    if cfg!(target_os = "linux") {
        let linked = Command::new("ldd").arg(&program).output().unwrap();
        let linked = String::from_utf8(linked.stdout).unwrap();
        for line in linked.lines() {
            let name = line.split_whitespace().next().unwrap().rsplit('/').next().unwrap();
            let is_there = ["linux-vdso", "libc.so", "libm.so", "libgcc_s.so", "ld-linux", "libdl.so", "libpthread.so"]
                .iter()
                .any(|library| name.starts_with(library));
            assert!(is_there, "{name} is in no distroless image");
        }
    }

    // With an empty environment but what it is given, in an empty folder.
    let database = TestDatabase::empty(Login::Ordinary).await;
    let empty = folder.join("empty");
    std::fs::create_dir(&empty).unwrap();
    let command = |arguments: &[&str]| {
        let mut command = Command::new(&program);
        command.args(arguments).current_dir(&empty).env_clear();
        command.envs([("ENVIRONMENT", "production"), ("DATABASE_URL", &database.url), ("SHOPIFY_API_SECRET", SECRET)]);
        command.env("ENCRYPTION_KEYS", &database.encryption_keys);
        command
    };
    let migrated = command(&["migrate"]).output().unwrap();
    assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
    let mut server = Ecomdash::spawn(command(&["serve", "--host", "127.0.0.1", "--port", "0"]));
    until("it is ready", async || {
        ecomdash_tests::client()
            .get(format!("{}/health/ready", server.url))
            .send()
            .await
            .is_ok_and(|answer| answer.status() == 200)
    })
    .await;
    // As an orchestrator ends it: it is the first process, and no shell swallows the signal.
    server.signal(Signal::TERM);
    assert!(server.wait(std::time::Duration::from_secs(25)).success());
    assert_eq!(std::fs::read_dir(&empty).unwrap().count(), 0, "it wrote a file");

    // A server that offers TLS is greeted in TLS: the first byte of a handshake.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let greeted = std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut request = [0; 8];
        client.read_exact(&mut request).unwrap();
        client.write_all(b"S").unwrap();
        let mut hello = [0];
        client.read_exact(&mut hello).map(|()| hello[0])
    });
    let mut encrypted = command(&["migrate"]);
    encrypted.env("DATABASE_URL", format!("postgres://a:b@127.0.0.1:{port}/c?sslmode=require"));
    assert!(!encrypted.output().unwrap().status.success());
    assert_eq!(greeted.join().unwrap().ok(), Some(0x16));
    std::fs::remove_dir_all(folder).unwrap();
}
