//! The real binary, as a child process that ends with its handle.

use std::{
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, mpsc::Receiver},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use uuid::Uuid;

use crate::{SECRET, TestDatabase};

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
    stderr: Arc<Mutex<String>>,
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
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
        let stderr = Arc::new(Mutex::new(String::new()));
        let mut pipe = child.stderr.take().expect("piped");
        let kept = Arc::clone(&stderr);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count) = pipe.read(&mut buffer) {
                if count == 0 {
                    break;
                }
                kept.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..count]));
            }
        });
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in lines.by_ref().map_while(Result::ok) {
                if let Some(url) = line.strip_prefix("listening on ") {
                    let _ = sender.send(url.to_owned());
                }
            }
        });
        (Self { child, url: String::new(), stderr }, receiver)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        self.stderr.lock().unwrap().clone()
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

impl Drop for Ecomdash {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The binary with nothing of the caller's environment that would change what it does.
pub fn bare_command(data: &Path) -> Command {
    let mut command = Command::new(binary());
    for variable in ["DATABASE_URL", "DATABASE_DIRECT_URL", "PORT", "ENVIRONMENT", "LOG_LEVEL", "ENCRYPTION_KEYS"] {
        command.env_remove(variable);
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

/// Runs a command of the binary on a database to its end: whether it succeeded, and what it printed.
pub fn run(database: &TestDatabase, arguments: &[&str]) -> (bool, String) {
    let output = command_on(database).args(arguments).output().expect("the binary runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), text)
}
