//! Databases to test on.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use cli::postgres::PrivatePostgres;
use event_store::{Database, DatabaseOptions, migrate};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use sqlx::{Connection, Executor, PgConnection};
use uuid::Uuid;
use vault::MasterRing;

/// The password of the ordinary login: the server listens on a socket that only we can reach. No process may say it.
const OWNER_PASSWORD: &str = "canary-of-the-login-5b21e9";

/// The server that all tests share. The first to come starts it; `bin/test` ends it.
pub struct Cluster {
    private: PrivatePostgres,
}

/// Who a test's database belongs to and is used by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Login {
    /// LOGIN and CREATEROLE, nothing else: as on a hosting platform.
    Ordinary,
    /// As in the private Postgres that `ecomdash up` starts.
    Superuser,
}

impl Cluster {
    /// The shared server.
    pub fn shared() -> &'static Self {
        static CLUSTER: OnceLock<Cluster> = OnceLock::new();
        CLUSTER.get_or_init(|| {
            let folder = std::env::var_os("ECOMDASH_TEST_DATA").map_or_else(
                || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/test-data")),
                PathBuf::from,
            );
            Self { private: PrivatePostgres::open(&folder).expect("a private Postgres for the tests") }
        })
    }

    /// A server of a test's own, which it may restart; it ends with this.
    pub fn own(folder: &Path) -> Self {
        Self { private: PrivatePostgres::open(folder).expect("a private Postgres of the test's own") }
    }

    /// Stops the server and starts it again: with SIGINT it hangs up on everybody, with SIGQUIT it crashes and recovers.
    pub fn restart(&self, signal: Signal, data_directory: &Path) {
        let file = data_directory.join("postmaster.pid");
        let pid = || std::fs::read_to_string(&file).ok()?.lines().next()?.parse().ok().and_then(Pid::from_raw);
        let before = pid().expect("it runs");
        kill_process(before, signal).expect("it is ours");
        let deadline = Instant::now() + Duration::from_secs(30);
        while test_kill_process(before).is_ok() && pid() == Some(before) {
            assert!(Instant::now() < deadline, "the server does not stop");
            std::thread::sleep(Duration::from_millis(5));
        }
        self.private.ensure_running().expect("it starts again");
    }

    /// A superuser's URL of a database.
    pub fn superuser_url(&self, database: &str) -> String {
        self.private.url().replacen("/ecomdash?", &format!("/{database}?"), 1)
    }

    /// One of PostgreSQL's programs, of the server's version.
    pub fn program(&self, name: &str) -> PathBuf {
        self.private.program(name)
    }

    /// Where its socket is.
    pub fn socket_dir(&self) -> &Path {
        self.private.socket_dir()
    }
}

/// A database of a test's own, empty or migrated.
pub struct TestDatabase {
    /// Its name.
    pub name: String,
    /// As its login.
    pub url: String,
    /// As a superuser: for what only an intruder or an administrator could do.
    pub superuser_url: String,
    /// The master key that goes with it.
    pub encryption_keys: String,
}

impl TestDatabase {
    /// A migrated database of the ordinary login.
    pub async fn new() -> Self {
        Self::on(Cluster::shared()).await
    }

    /// The same on a server of the test's own.
    pub async fn on(cluster: &Cluster) -> Self {
        let database = Self::empty_on(cluster, Login::Ordinary).await;
        migrate(&database.url).await.expect("the schema");
        database
    }

    /// An empty one of the ordinary login on a server of the test's own.
    pub async fn empty_at(cluster: &Cluster) -> Self {
        Self::empty_on(cluster, Login::Ordinary).await
    }

    /// An empty database.
    pub async fn empty(login: Login) -> Self {
        Self::empty_on(Cluster::shared(), login).await
    }

    async fn empty_on(cluster: &Cluster, login: Login) -> Self {
        let name = format!("t{}", Uuid::new_v4().simple());
        let mut admin = PgConnection::connect(&cluster.superuser_url("postgres")).await.expect("the server");
        // Tests start at the same moment: the role is made by whoever is first.
        let role = format!(
            "DO $$ BEGIN
                 PERFORM pg_advisory_xact_lock(1);
                 IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'ecomdash_owner') THEN
                     CREATE ROLE ecomdash_owner LOGIN CREATEROLE NOSUPERUSER NOBYPASSRLS PASSWORD '{OWNER_PASSWORD}';
                 ELSE
                     ALTER ROLE ecomdash_owner PASSWORD '{OWNER_PASSWORD}'; -- an older checkout's server
                 END IF;
             END $$"
        );
        admin.execute(role.as_str()).await.expect("the ordinary login");
        let owner = match login {
            Login::Ordinary => "ecomdash_owner",
            Login::Superuser => "ecomdash",
        };
        admin.execute(format!("CREATE DATABASE {name} OWNER {owner}").as_str()).await.expect("a database");
        let superuser_url = cluster.superuser_url(&name);
        let url = match login {
            Login::Superuser => superuser_url.clone(),
            Login::Ordinary => {
                let (_, rest) = superuser_url.split_once('@').expect("a URL with a login");
                format!("postgres://ecomdash_owner:{OWNER_PASSWORD}@{rest}")
            }
        };
        Self { name, url, superuser_url, encryption_keys: MasterRing::generate_key().expect("randomness") }
    }

    /// As the program uses it.
    pub fn open(&self) -> Database {
        self.open_with(4)
    }

    /// As the program uses it, with so many connections.
    pub fn open_with(&self, max_connections: u32) -> Database {
        let options = DatabaseOptions { url: self.url.clone(), max_connections, application_name: "ecomdash-tests" };
        Database::connect_lazy(&options, MasterRing::parse(&self.encryption_keys).expect("a key")).expect("a URL")
    }

    /// As SQL, with nothing left out.
    pub fn dump(&self) -> String {
        let done = Command::new(Cluster::shared().program("pg_dump"))
            .args(["--inserts", "--dbname", &self.superuser_url])
            .output();
        let done = done.expect("pg_dump is installed with the server");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).expect("text")
    }

    /// Another on a server, made of such a dump of this one.
    pub async fn from_dump(&self, cluster: &Cluster, dump: &str) -> Self {
        let restored = Self { encryption_keys: self.encryption_keys.clone(), ..Self::empty_at(cluster).await };
        let mut psql = Command::new(Cluster::shared().program("psql"));
        psql.args(["-Xq", "-v", "ON_ERROR_STOP=1", "--dbname", &restored.superuser_url]);
        let mut psql = psql.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("psql is installed");
        psql.stdin.take().expect("piped").write_all(dump.as_bytes()).expect("it reads");
        assert!(psql.wait().expect("it ends").success(), "the dump is restored");
        restored
    }

    /// A superuser's connection.
    pub async fn superuser(&self) -> PgConnection {
        PgConnection::connect(&self.superuser_url).await.expect("the database")
    }

    /// A connection of the login, outside of the program's own transactions.
    pub async fn login(&self) -> PgConnection {
        PgConnection::connect(&self.url).await.expect("the database")
    }
}
