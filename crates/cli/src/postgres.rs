//! A private PostgreSQL from the programs that this machine has installed, for whoever gave no `DATABASE_URL`.
//!
//! The cluster belongs to a data folder. Any number of processes may use it at once: each holds a shared lock on
//! `postgres.users`, and whoever starts the server or thinks of stopping it holds `postgres.start`. The last one out
//! stops it. The kernel frees the locks of a crashed user, and the server it left behind is joined by the next one.
//!
//! - Reached through a Unix socket only. Its folder is under `/tmp`, because a socket's path has to be short.
//! - PostgreSQL refuses to run as root, so root's server runs as `postgres` or `nobody`, in a home which that user
//!   owns and can reach. Everything inside the home is done as that user: root must not follow its links.
//! - Programs run in the home and get relative names: `pg_ctl` hands its paths to a shell, quotes and `$` included.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, lchown};
use std::os::unix::{net::UnixStream, process::CommandExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{cmp::Reverse, env, ffi::OsString, thread::sleep};

use rustix::process::{Pid, geteuid, test_kill_process};

/// Name of the superuser and of the database.
const NAME: &str = "ecomdash";
const PROGRAMS: [&str; 3] = ["initdb", "postgres", "pg_ctl"];
const OLDEST: u32 = 15;
const SOCKET: &str = ".s.PGSQL.5432";
/// Where packages put every version's folder, and how its name begins.
const INSTALLED: [(&str, &str); 3] =
    [("/usr/lib/postgresql", ""), ("/opt/homebrew/opt", "postgresql@"), ("/usr/local/opt", "postgresql@")];
/// Longest wait for another process that makes or starts the cluster.
const LOCK_WAIT: Duration = Duration::from_secs(120);
/// Longest wait for it on the way out; after that the server is left to the next one.
const LEAVE_WAIT: Duration = Duration::from_secs(15);
/// Longest wait for a server that another process started, and for the backends of a killed one.
const SERVER_WAIT: Duration = Duration::from_secs(60);
/// Holds the homes of root's servers whose data folder others cannot reach.
const SYSTEM_HOME: &str = "/var/lib/ecomdash";
const PAUSE: Duration = Duration::from_millis(20);

/// Makes `$2`, with the password from stdin. The rename to `cluster` is ours: a half-made one is never taken for whole.
const MAKE: &str = r#"
umask 077
rm -rf cluster.new.*
cat >"$2.password" || exit
for locale in C.UTF-8 C; do
  "$1" -D "$2" -U ecomdash --pwfile="$2.password" -A scram-sha-256 -E UTF8 --locale=$locale -k && made=yes && break
  rm -rf "$2"
done
rm -f "$2.password"
[ "$made" ] && printf 'max_connections = 50\nshared_buffers = 128MB\n' >>"$2/postgresql.conf"
"#;
/// The process id of a killed server may be a zombie's or by now another's, and then keeps a new server from starting.
/// Only the id goes: by the rest of the file the server makes sure that no backend of the old one is still writing.
const FORGET: &str = r#"
rm -f "$1" "$1.lock"
if [ -e postmaster.pid ]; then
  sed '1s/.*/999999999/' postmaster.pid >postmaster.new && mv postmaster.new postmaster.pid
fi
"#;
const CREATE_DATABASE: &str = "SELECT 'CREATE DATABASE ecomdash' \
    WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'ecomdash')\\gexec\n";

/// Why there is no private PostgreSQL. Never holds the password.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// No folder has all the programs in a version that is new enough.
    #[error(
        "PostgreSQL {OLDEST} or newer is not installed; on Debian or Ubuntu: apt-get install -y postgresql; \
         on macOS: brew install postgresql@17; or set DATABASE_URL"
    )]
    NotInstalled,
    /// A file or folder is not as it must be.
    #[error("{path}: {1}", path = .0.display())]
    Unusable(PathBuf, String),
    /// A program failed or took too long: what it was to do, its last words and those of the server's log.
    #[error("could not {0}: {1}")]
    Failed(&'static str, String),
}

type Result<T, E = PostgresError> = std::result::Result<T, E>;

/// A running private server; kept running for as long as this lives.
pub struct PrivatePostgres {
    /// The application's folder: locks, password, pointer.
    data: PathBuf,
    /// The server's folder: `cluster` and `postgres.log`.
    home: PathBuf,
    programs: PathBuf,
    account: Option<Account>,
    socket_dir: PathBuf,
    password: String,
    url: String,
    users: File,
}

impl PrivatePostgres {
    /// Joins the cluster of `data`, or makes and starts it.
    pub fn open(data: &Path) -> Result<Self> {
        fs::create_dir_all(data.parent().unwrap_or(data)).map_err(at(data))?;
        make_private(data)?;
        let data = &fs::canonicalize(data).map_err(at(data))?;
        let start = lock(data, LOCK_WAIT)?;
        let (home, account) = place(data)?;
        let cluster = home.join("cluster");
        let programs = find_programs(&cluster, account)?;
        let password = password(data, cluster.exists())?;
        let found = Server::of(&cluster).map(|server| server.socket_dir);
        let socket_dir = found.filter(|dir| dir.is_absolute());
        let usual = || format!("/tmp/ecomdash-{:016x}", hash(data)).into();
        let socket_dir = socket_dir.unwrap_or_else(usual);
        let host = socket_dir.display().to_string().replace('/', "%2F");
        let url = format!("postgres://{NAME}:{password}@localhost/{NAME}?host={host}&port=5432");
        let users = open_lock(&data.join("postgres.users"))?;
        let alone = users.try_lock().is_ok();
        let _ = users.unlock();
        users.lock_shared().map_err(at(data))?;

        let postgres = Self { data: data.clone(), home, programs, account, socket_dir, password, url, users };
        let ready = postgres.make_and_start(alone);
        drop(start); // before `postgres`, which wants this lock if it has to leave
        ready.map(|()| postgres)
    }

    /// `postgres://` URL of a superuser over the socket, to the database `ecomdash`. Holds the password.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// One of PostgreSQL's programs, of the server's version where that was installed with it.
    pub fn program(&self, name: &str) -> PathBuf {
        program(&self.programs, name)
    }

    /// Folder of the socket.
    pub fn socket_dir(&self) -> &Path {
        &self.socket_dir
    }

    /// Starts the server again if it died. True if it had.
    pub fn ensure_running(&self) -> Result<bool> {
        if Server::of(&self.home.join("cluster")).is_some_and(|server| server.answers()) {
            return Ok(false);
        }
        let _start = lock(&self.data, LOCK_WAIT)?;
        self.start()
    }

    /// Under the start lock. `alone`: no one else is here, who would have created the database.
    fn make_and_start(&self, alone: bool) -> Result<()> {
        let cluster = self.home.join("cluster");
        if !cluster.exists() {
            let new = format!("cluster.new.{}", std::process::id());
            let initdb = self.programs.join("initdb");
            let mut make = self.command("sh");
            make.args(["-c", MAKE, "sh"]).arg(initdb).arg(&new);
            self.run("make a PostgreSQL cluster", make, &self.password)?;
            fs::rename(self.home.join(new), &cluster).map_err(at(&cluster))?;
            tracing::info!(home = %self.home.display(), "made a private PostgreSQL cluster");
        }
        if self.start()? || alone {
            self.sql("create the database", CREATE_DATABASE)?;
        }
        Ok(())
    }

    /// Throws away all that the database holds. Fails while anybody else uses it.
    pub fn empty(&self) -> Result<()> {
        self.sql("empty the database", "DROP DATABASE IF EXISTS ecomdash;\nCREATE DATABASE ecomdash;\n")
    }

    fn sql(&self, what: &'static str, statements: &str) -> Result<()> {
        let mut psql = self.command("psql");
        psql.args("-XAtqw -v ON_ERROR_STOP=1 -p 5432 -U ecomdash -d postgres -h".split(' '));
        psql.arg(&self.socket_dir).env("PGPASSWORD", &self.password);
        psql.env("PGCONNECT_TIMEOUT", "10");
        self.run(what, psql, statements)
    }

    /// Under the start lock: joins a live server, or starts one. True: started.
    fn start(&self) -> Result<bool> {
        let cluster = self.home.join("cluster");
        let deadline = Instant::now() + SERVER_WAIT;
        while let Some(server) = Server::of(&cluster) {
            if server.answers() {
                return Ok(false);
            } else if Instant::now() > deadline {
                return Err(self.failed("join the running PostgreSQL", "it does not get ready"));
            } else if server.ready && !server.socket().exists() {
                self.stop("fast", "20")?; // someone swept /tmp: no one can reach it any more
            }
            sleep(PAUSE);
        }
        self.make_socket_dir()?;
        let socket = self.socket_dir.join(SOCKET);
        let traces = socket.exists() || cluster.join("postmaster.pid").exists();
        if traces && UnixStream::connect(&socket).is_err() {
            let mut forget = self.command("sh");
            forget.current_dir(&cluster).args(["-c", FORGET, "sh"]).arg(&socket);
            self.run("clear the traces of a killed PostgreSQL", forget, "")?;
        }
        loop {
            let mut start = self.command("pg_ctl");
            start.args("start -s -w -t 60 -D cluster -l postgres.log -o".split(' '));
            start.arg(format!("-c listen_addresses='' -p 5432 -k {}", self.socket_dir.display()));
            match self.run("start PostgreSQL", start, "") {
                Ok(()) => break,
                // Backends of a killed server end by themselves, as soon as they notice.
                Err(e) if e.to_string().contains("is still in use") && Instant::now() < deadline => {}
                Err(e) => return Err(e),
            }
            sleep(PAUSE);
        }
        tracing::info!(home = %self.home.display(), "started the private PostgreSQL");
        Ok(true)
    }

    fn stop(&self, mode: &str, seconds: &str) -> Result<()> {
        let mut stop = self.command("pg_ctl");
        stop.args("stop -s -w -D cluster".split(' ')).args(["-m", mode, "-t", seconds]);
        self.run("stop PostgreSQL", stop, "")
    }

    /// Its name can be guessed and `/tmp` is everyone's: what another user put there is refused.
    fn make_socket_dir(&self) -> Result<()> {
        let dir = &self.socket_dir;
        if dir.symlink_metadata().is_err() {
            let mut mkdir = self.command("mkdir");
            mkdir.args(["-m", "0700"]).arg(dir);
            self.run("make the socket's folder", mkdir, "")?;
        }
        let there = dir.symlink_metadata().map_err(at(dir))?;
        let owner = self.account.map_or(geteuid().as_raw(), |(user, _)| user);
        if there.is_dir() && there.uid() == owner && there.mode() & 0o77 == 0 {
            return Ok(());
        }
        Err(unusable(dir, "is not a private folder of the server's user; remove it"))
    }

    fn command(&self, program: &str) -> Command {
        command(&self.programs, program, &self.home, self.account)
    }

    fn run(&self, what: &'static str, mut command: Command, input: &str) -> Result<()> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = command.spawn().and_then(|mut child| {
            let stdin = child.stdin.take();
            let _ = stdin.map(|mut stdin| stdin.write_all(input.as_bytes()));
            child.wait_with_output()
        });
        let output = output.map_err(|error| {
            let program = Path::new(command.get_program()).display();
            unusable(&self.home, format!("could not run {program} there: {error}"))
        })?;
        if output.status.success() {
            return Ok(());
        }
        let said = [output.stdout, output.stderr].concat();
        Err(self.failed(what, &String::from_utf8_lossy(&said)))
    }

    fn failed(&self, what: &'static str, said: &str) -> PostgresError {
        let log = fs::read(self.home.join("postgres.log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log[log.len().saturating_sub(4096)..]).into_owned();
        let last = |text: &str, lines: usize| {
            let skipped = text.lines().count().saturating_sub(lines);
            text.lines().skip(skipped).collect::<Vec<_>>().join("\n")
        };
        let mut detail = last(said, 12);
        if !log.is_empty() {
            detail += &format!("\nlog of PostgreSQL:\n{}", last(&log, 8));
        }
        PostgresError::Failed(what, detail.replace(&self.password, "***"))
    }
}

impl Drop for PrivatePostgres {
    fn drop(&mut self) {
        let Ok(_start) = lock(&self.data, LEAVE_WAIT) else {
            return;
        };
        let _ = self.users.unlock();
        if self.users.try_lock().is_ok() {
            if Server::of(&self.home.join("cluster")).is_some() {
                let stopped = self.stop("fast", "20");
                if let Err(error) = stopped.or_else(|_| self.stop("immediate", "5")) {
                    tracing::warn!(%error, "the private PostgreSQL keeps running");
                }
            }
            let _ = fs::remove_dir(&self.socket_dir); // empty, unless it keeps running
        }
        let _ = self.users.unlock();
    }
}

/// User and group that the server runs as, when it cannot be ours.
type Account = (u32, u32);

fn account(name: &str) -> Option<Account> {
    let id = |flag| {
        let output = Command::new("id").args([flag, name]).output().ok()?;
        String::from_utf8(output.stdout).ok()?.trim().parse().ok()
    };
    Some((id("-u")?, id("-g")?))
}

/// What `postmaster.pid` tells of a live server.
struct Server {
    socket_dir: PathBuf,
    ready: bool,
}

impl Server {
    fn of(cluster: &Path) -> Option<Self> {
        let file = fs::read(cluster.join("postmaster.pid")).ok()?;
        let file = String::from_utf8_lossy(&file);
        let line = |number| file.lines().nth(number).unwrap_or_default().trim();
        let (socket_dir, ready) = (line(4).into(), line(7) == "ready");
        let live = serves(line(0).parse().ok()?, cluster);
        live.then_some(Self { socket_dir, ready })
    }

    fn socket(&self) -> PathBuf {
        self.socket_dir.join(SOCKET)
    }

    fn answers(&self) -> bool {
        self.ready && UnixStream::connect(self.socket()).is_ok()
    }
}

/// Is this process the server of this cluster? Process ids come round again: after a restart of a container at once.
fn serves(id: i32, cluster: &Path) -> bool {
    let process = Pid::from_raw(id.max(0));
    if process.is_none_or(|process| test_kill_process(process).is_err()) {
        return false;
    } else if !Path::new("/proc/self/cwd").exists() {
        return may_be_postgres(id);
    }
    let cwd = fs::metadata(format!("/proc/{id}/cwd"));
    match (cwd, fs::metadata(cluster)) {
        (Ok(cwd), Ok(cluster)) => (cwd.dev(), cwd.ino()) == (cluster.dev(), cluster.ino()),
        (Err(e), _) if e.kind() == ErrorKind::NotFound => false, // a zombie
        // Root without the right to trace has to go by the name.
        _ => fs::read_to_string(format!("/proc/{id}/comm")).is_ok_and(|name| name.trim() == "postgres"),
    }
}

/// Not on Linux, where more is known. What nobody can tell is believed of the file that names it.
fn may_be_postgres(id: i32) -> bool {
    let output = Command::new("ps").args(["-o", "stat=", "-o", "ucomm=", "-p", &id.to_string()]).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    match text.split_whitespace().collect::<Vec<_>>()[..] {
        [state, name] => name == "postgres" && !state.starts_with('Z'),
        _ => true,
    }
}

/// Where the server lives, and as whom.
fn place(data: &Path) -> Result<(PathBuf, Option<Account>)> {
    let pointer = data.join("postgres.path");
    let usual = data.join("postgres");
    let me = geteuid();
    let home = match fs::read(&pointer) {
        Ok(path) => OsString::from_vec(path.trim_ascii_end().to_vec()).into(),
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(at(&pointer)(e)),
        Err(_) if me.is_root() && !usual.exists() && !data.ancestors().skip(1).all(is_searchable) => {
            let home = PathBuf::from(format!("{SYSTEM_HOME}/{:016x}", hash(data)));
            write_private(&pointer, home.as_os_str().as_bytes())?;
            home
        }
        Err(_) => usual,
    };
    let above = home.parent().unwrap_or(&home);
    if me.is_root() && (above == data || above == Path::new(SYSTEM_HOME)) {
        fs::create_dir_all(above).map_err(at(above))?;
        let mode = above.metadata().map_err(at(above))?.mode() & 0o7777 | 1;
        fs::set_permissions(above, Permissions::from_mode(mode)).map_err(at(above))?;
    }
    make_private(&home)?;
    let owner = home.symlink_metadata().map_err(at(&home))?;
    let account = match owner.uid() {
        user if !owner.is_dir() || !(me.is_root() || user == me.as_raw()) => {
            return Err(unusable(&home, format!("is not our folder but that of user {user}")));
        }
        _ if !me.is_root() => return Ok((home, None)),
        0 => account("postgres").or_else(|| account("nobody")),
        user => Some((user, owner.gid())),
    };
    let Some((user, group)) = account else {
        return Err(unusable(&home, "needs a user `postgres` or `nobody` to own it"));
    };
    lchown(&home, Some(user), Some(group)).map_err(at(&home))?;
    Ok((home, account))
}

fn is_searchable(folder: &Path) -> bool {
    folder.metadata().is_ok_and(|folder| folder.mode() & 1 == 1)
}

/// The folder with programs of the cluster's version, or of the first that will do.
fn find_programs(cluster: &Path, account: Option<Account>) -> Result<PathBuf> {
    let made_by = fs::read_to_string(cluster.join("PG_VERSION")).unwrap_or_default();
    let made_by = made_by.trim().parse::<u32>().ok();
    if cluster.exists() && made_by.is_none() {
        return Err(unusable(cluster, "has no PG_VERSION: not a PostgreSQL cluster"));
    }
    let fits = |folder: &PathBuf| {
        let output = command(folder, "postgres", Path::new("/"), account).arg("--version").output();
        let text = output.map(|output| output.stdout).unwrap_or_default();
        let text = String::from_utf8_lossy(&text); // postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)
        let version = text.split([' ', '.']).find_map(|part| part.parse::<u32>().ok());
        version.is_some_and(|it| it >= OLDEST && made_by.is_none_or(|made_by| it == made_by))
    };
    let mut folders = folders();
    folders.retain(|folder| PROGRAMS.iter().all(|program| folder.join(program).is_file()));
    folders.into_iter().find(fits).ok_or_else(|| match made_by {
        Some(it) => unusable(cluster, format!("needs PostgreSQL {it}, which is not installed")),
        None => PostgresError::NotInstalled,
    })
}

fn folders() -> Vec<PathBuf> {
    let mut installed = Vec::new();
    for (above, prefix) in INSTALLED {
        for entry in fs::read_dir(above).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let version = name.to_str().and_then(|name| name.strip_prefix(prefix)?.parse::<u32>().ok());
            installed.extend(version.map(|version| (Reverse(version), entry.path().join("bin"))));
        }
    }
    installed.sort();
    let mut folders: Vec<PathBuf> = env::var_os("ECOMDASH_PG_BIN").map(PathBuf::from).into_iter().collect();
    for folder in env::split_paths(&env::var_os("PATH").unwrap_or_default()) {
        // `initdb` may be a link without the rest beside it: its true folder comes first.
        let initdb = fs::canonicalize(folder.join("initdb")).unwrap_or_default();
        folders.extend(initdb.parent().map(Path::to_path_buf));
        folders.push(folder);
    }
    folders.extend(installed.into_iter().map(|(_, folder)| folder));
    folders
}

/// From the folder if it is there, else from the PATH.
fn program(folder: &Path, name: &str) -> PathBuf {
    Some(folder.join(name)).filter(|path| path.is_file()).unwrap_or_else(|| name.into())
}

/// Without our environment: it may hold secrets, or PG settings.
fn command(folder: &Path, name: &str, home: &Path, account: Option<Account>) -> Command {
    let mut command = Command::new(program(folder, name));
    command.env_clear().env("LC_ALL", "C").env("TZ", "UTC");
    for name in ["PATH", "LD_LIBRARY_PATH"] {
        command.envs(env::var_os(name).map(|value| (name, value)));
    }
    if let Some((user, group)) = account {
        command.uid(user).gid(group); // std clears the other groups
    }
    // In a group of its own: the terminal's Ctrl-C is for us alone.
    command.current_dir(home).process_group(0);
    command
}

fn password(data: &Path, cluster_exists: bool) -> Result<String> {
    let path = data.join("postgres.password");
    match fs::read_to_string(&path) {
        Err(e) if e.kind() == ErrorKind::NotFound && !cluster_exists => {
            let mut random = [0; 32];
            let source = File::open("/dev/urandom");
            source.and_then(|mut file| file.read_exact(&mut random)).map_err(at(&path))?;
            let password: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
            write_private(&path, password.as_bytes())?;
            Ok(password)
        }
        read => Ok(read.map_err(at(&path))?.trim().to_owned()),
    }
}

/// Whole or not at all, and for no one else's eyes.
fn write_private(path: &Path, content: &[u8]) -> Result<()> {
    let new = path.with_extension("new");
    let _ = fs::remove_file(&new);
    let written = create(OpenOptions::new().create_new(true), &new).and_then(|mut file| {
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&new, path)
    });
    written.map_err(at(path))
}

fn create(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    options.read(true).write(true).mode(0o600).open(path)
}

fn make_private(folder: &Path) -> Result<()> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(e) if e.kind() != ErrorKind::AlreadyExists => Err(at(folder)(e)),
        _ => Ok(()),
    }
}

fn open_lock(path: &Path) -> Result<File> {
    create(OpenOptions::new().create(true).truncate(false), path).map_err(at(path))
}

/// The start lock.
fn lock(data: &Path, wait: Duration) -> Result<File> {
    let path = data.join("postgres.start");
    let file = open_lock(&path)?;
    let deadline = Instant::now() + wait;
    while file.try_lock().is_err() {
        if Instant::now() > deadline {
            return Err(unusable(&path, "held by another process for too long"));
        }
        sleep(PAUSE);
    }
    Ok(file)
}

/// FNV-1a: the same in every build, unlike the standard library's.
fn hash(path: &Path) -> u64 {
    let bytes = path.as_os_str().as_bytes().iter();
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> PostgresError {
    |error| unusable(path, error.to_string())
}

fn unusable(path: &Path, problem: impl Into<String>) -> PostgresError {
    PostgresError::Unusable(path.into(), problem.into())
}
