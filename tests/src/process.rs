//! The real binary, as a child process that ends with its handle.

use std::{
    ffi::OsStr,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, mpsc::Receiver},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use uuid::Uuid;

use crate::{SECRET, TestDatabase, canaries::Canaries};

/// The binary that was built with the tests.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("ECOMDASH_BINARY") {
        return path.into();
    }
    let exe = std::env::current_exe().expect("a test is a program");
    let folder = exe.ancestors().find(|folder| folder.join("ecomdash").is_file());
    folder.expect("the binary `ecomdash` is built with the workspace's tests").join("ecomdash")
}

/// A folder of a test's own, in a short path: sockets live in it.
pub fn free_folder() -> PathBuf {
    let folder = std::env::temp_dir().join(format!("ecd-{}", &Uuid::new_v4().simple().to_string()[..12]));
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}

/// A running `ecomdash`.
pub struct Ecomdash {
    child: Child,
    /// `http://127.0.0.1:PORT`, once it listens.
    pub url: String,
    output: Arc<Mutex<String>>,
    /// Of that its log, which it writes to standard error.
    logged: Arc<Mutex<String>>,
    /// On standard output, for whoever started it.
    prints_tokens: bool,
    readers: Vec<JoinHandle<()>>,
    secrets: Canaries,
}

impl Ecomdash {
    /// `up` on a database.
    pub fn up(database: &TestDatabase) -> Self {
        Self::start(&["up", "--port", "0"], database, &[])
    }

    /// Any command that listens.
    pub fn start(arguments: &[&str], database: &TestDatabase, environment: &[(&str, &str)]) -> Self {
        let mut command = command_on(database);
        command.args(arguments).envs(environment.iter().copied());
        Self::spawn(command)
    }

    /// A command that listens and was put together elsewhere.
    pub fn spawn(command: Command) -> Self {
        let (mut process, urls) = Self::launch(command);
        process.url = urls.recv_timeout(Duration::from_secs(60)).unwrap_or_else(|_| {
            let _ = process.child.kill();
            panic!("it does not listen: {}", process.log());
        });
        process
    }

    /// A command that does not listen: `work`.
    pub fn work(command: Command) -> Self {
        Self::launch(command).0
    }

    fn launch(mut command: Command) -> (Self, Receiver<String>) {
        // At the most talkative level, unless the test wants another: what is said there is said to someone, too.
        if !command.get_envs().any(|(name, value)| name == "LOG_LEVEL" && value.is_some()) {
            command.env("LOG_LEVEL", "trace");
        }
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
        let secrets = secrets_of(&command);
        let output = Arc::new(Mutex::new(String::new()));
        let logged = Arc::new(Mutex::new(String::new()));
        let (mut pipe, kept, of_log) = (child.stderr.take().expect("piped"), Arc::clone(&output), Arc::clone(&logged));
        let of_stderr = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count) = pipe.read(&mut buffer) {
                if count == 0 {
                    break;
                }
                let text = String::from_utf8_lossy(&buffer[..count]);
                kept.lock().unwrap().push_str(&text);
                of_log.lock().unwrap().push_str(&text);
            }
        });
        let (mut lines, kept) = (BufReader::new(child.stdout.take().expect("piped")).lines(), Arc::clone(&output));
        let (sender, receiver) = std::sync::mpsc::channel();
        let of_stdout = std::thread::spawn(move || {
            for line in lines.by_ref().map_while(Result::ok) {
                if let Some(url) = line.strip_prefix("listening on ") {
                    let _ = sender.send(url.to_owned());
                }
                kept.lock().unwrap().push_str(&format!("{line}\n"));
            }
        });
        let readers = vec![of_stderr, of_stdout];
        let prints_tokens = command.get_args().any(|argument| argument == "demo");
        (Self { child, url: String::new(), output, logged, prints_tokens, readers, secrets }, receiver)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it logged so far, and printed.
    pub fn log(&self) -> String {
        self.output.lock().unwrap().clone()
    }

    /// Waits until its output holds these words.
    pub fn until_it_says(&self, words: &str, patience: Duration) {
        let deadline = Instant::now() + patience;
        while !self.log().contains(words) {
            assert!(Instant::now() < deadline, "`{words}` is never said: {}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// `kill -9`, and waits for the end.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM, and waits for the end.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait(Duration::from_secs(40))
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a pid")).expect("not 0");
        kill_process(pid, signal).expect("the process is ours");
    }

    /// Waits for the end.
    pub fn wait(&mut self, patience: Duration) -> ExitStatus {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait().expect("the child is ours") {
                return status;
            }
            assert!(Instant::now() < deadline, "it does not end: {}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Whatever a test was about: at its end, nothing that its process said holds a secret.
impl Drop for Ecomdash {
    fn drop(&mut self) {
        self.kill();
        // A server that it started may have inherited its output, and go on.
        let deadline = Instant::now() + Duration::from_secs(1);
        while self.readers.iter().any(|reader| !reader.is_finished()) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
        if !std::thread::panicking() {
            assert_silent(&self.secrets, &self.log());
            let output = if self.prints_tokens { self.logged.lock().unwrap().clone() } else { self.log() };
            assert_no_token(&output);
        }
    }
}

/// The secrets that a command is given: those of every variable whose name says so, and the passwords in addresses.
fn secrets_of(command: &Command) -> Canaries {
    let text = |value: &OsStr| value.to_string_lossy().into_owned();
    let mut secrets = vec![SECRET.to_owned()];
    for (name, value) in command.get_envs().filter_map(|(name, value)| Some((text(name), text(value?)))) {
        if name.ends_with("_URL") {
            let login = value.split_once("://").and_then(|(_, rest)| rest.rsplit_once('@')).map(|(login, _)| login);
            secrets.extend(login.and_then(|login| login.split_once(':')).map(|(_, password)| password.to_owned()));
        } else if ["SECRET", "SECRETS", "KEY", "KEYS", "TOKEN", "DSN"].iter().any(|end| name.ends_with(end)) {
            secrets.extend(value.split(',').map(|secret| secret.trim().to_owned()));
        }
    }
    // Shorter ones are tests' own, of what is no secret.
    Canaries::of(secrets.iter().map(String::as_str).filter(|secret| secret.len() >= 12))
}

fn assert_silent(secrets: &Canaries, output: &str) {
    assert_eq!(secrets.found_in(output), [""; 0], "a secret is in a process's output");
}

fn assert_no_token(output: &str) {
    let tokens = output.split("ecd_").skip(1);
    let is_of_token = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let longest = tokens.map(|rest| rest.chars().take_while(|c| is_of_token(*c)).count()).max();
    assert!(longest.unwrap_or_default() < 20, "a token is in a process's output");
}

/// The binary with nothing of the caller's environment that would change what it does.
pub fn bare_command(data: &Path) -> Command {
    let mut command = Command::new(binary());
    for variable in [
        "DATABASE_URL",
        "DATABASE_DIRECT_URL",
        "PORT",
        "ENVIRONMENT",
        "LOG_LEVEL",
        "ENCRYPTION_KEYS",
        "SIGNING_KEYS",
        "REDACTION_HOLD_HOURS",
        "METRICS_TOKEN",
        "METRICS_PORT",
        "ALLOWED_ORIGINS",
        "REDIS_URL",
        "TRUSTED_PROXIES",
        "DATABASE_POOL_SIZE",
    ] {
        command.env_remove(variable);
    }
    // All of a test's clients have one address: limits are for the tests that ask for them.
    for limit in ["RATE_LIMIT_PER_CLIENT", "RATE_LIMIT_PER_SHOP", "RATE_LIMIT_FORGED"] {
        command.env(limit, "0");
    }
    command.env("ECOMDASH_DATA", data).env("SHOPIFY_API_SECRET", SECRET);
    command
}

/// The binary on a database.
pub fn command_on(database: &TestDatabase) -> Command {
    let mut command = bare_command(&std::env::temp_dir());
    command.env("DATABASE_URL", &database.url).env("ENCRYPTION_KEYS", &database.encryption_keys);
    command
}

/// A command of the binary with another clock: by faketime's library, as its wrapper would be a process of its own. Says
/// loudly when there is none.
pub fn with_clock(database: &TestDatabase, environment: &[(&str, &str)], arguments: &[&str]) -> Option<Command> {
    let library = std::fs::read_dir("/usr/lib")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("faketime/libfaketimeMT.so.1")))
        .find(|library| library.exists());
    let Some(library) = library else {
        crate::looked_at_nothing("faketime is not installed");
        return None;
    };
    let mut command = command_on(database);
    // Timers go by the clock that only rises, which nobody sets.
    command.args(arguments).env("LD_PRELOAD", library).env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    command.envs(environment.iter().copied());
    Some(command)
}

/// Runs a command of the binary on a database to its end: whether it succeeded, and what it printed.
pub fn run(database: &TestDatabase, arguments: &[&str]) -> (bool, String) {
    let mut command = command_on(database);
    let output = command.args(arguments).output().expect("the binary runs");
    // The answer to `token issue` is a token: that one is meant to be printed.
    assert_silent(&secrets_of(&command), &String::from_utf8_lossy(&output.stderr));
    assert_eq!(secrets_of(&command).found_in(&String::from_utf8_lossy(&output.stdout)), [""; 0]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), text)
}
