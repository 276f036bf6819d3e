//! What strikes during a storm. A deck holds every kind; it is shuffled by the seed and dealt until the time is over.

use std::{
    process::{Child, Stdio},
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use rand::{RngExt, rngs::StdRng, seq::SliceRandom};
use rustix::process::Signal;
use sqlx::{Connection, PgConnection};
use tokio::time::sleep;

use super::{
    Moment,
    fleet::{Fleet, Role},
    history::{Happened, Recorder},
};
use crate::{Cluster, TestDatabase, command_on};

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// `kill -9` of an instance with work in flight.
    Kill(Role),
    /// A worker is stopped for longer than its lease, and goes on.
    Freeze,
    /// A new instance serves, then the old one is told to end.
    Deploy(Role),
    /// Every connection of an instance is cut.
    Cut,
    /// An instance cannot connect for a while.
    Refuse,
    /// Each message takes longer for a while.
    Delay,
    /// Nothing is passed on for a while.
    Stall,
    /// A connection is cut around its commit.
    CutAtCommit(Moment),
    /// The database server is restarted: SIGINT hangs up, SIGQUIT crashes it.
    Restart(Signal),
    /// A rebuild of a shop's read models is begun; it may be killed.
    Rebuild,
    /// Deliveries come without pause.
    Burst,
}

/// One of each, and more of what matters most.
const DECK: [Fault; 18] = [
    Fault::Kill(Role::Serve),
    Fault::Kill(Role::Work),
    Fault::Kill(Role::Serve),
    Fault::Kill(Role::Work),
    Fault::Freeze,
    Fault::Deploy(Role::Serve),
    Fault::Deploy(Role::Work),
    Fault::Cut,
    Fault::Refuse,
    Fault::Delay,
    Fault::Stall,
    Fault::CutAtCommit(Moment::Before),
    Fault::CutAtCommit(Moment::Answered),
    Fault::CutAtCommit(Moment::Answered),
    Fault::Restart(Signal::INT),
    Fault::Restart(Signal::QUIT),
    Fault::Rebuild,
    Fault::Burst,
];

impl Fault {
    /// What the history calls it.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Kill(role) => format!("kill {}", role.name()),
            Self::Freeze => "freeze past the lease".into(),
            Self::Deploy(role) => format!("deploy {}", role.name()),
            Self::Cut => "cut".into(),
            Self::Refuse => "refuse".into(),
            Self::Delay => "delay".into(),
            Self::Stall => "stall".into(),
            Self::CutAtCommit(Moment::Before) => "cut before commit".into(),
            Self::CutAtCommit(Moment::Answered) => "cut after commit".into(),
            Self::Restart(Signal::QUIT) => "restart immediate".into(),
            Self::Restart(_) => "restart fast".into(),
            Self::Rebuild => "rebuild".into(),
            Self::Burst => "burst".into(),
        }
    }
}

/// Where faults strike.
pub struct Faults<'a> {
    /// The server.
    pub cluster: &'a Cluster,
    /// Where it keeps its data.
    pub data_directory: std::path::PathBuf,
    /// The database.
    pub database: &'a TestDatabase,
    /// The processes.
    pub fleet: &'a mut Fleet,
    /// Where it is written down.
    pub recorder: Arc<Recorder>,
    /// Domains of the shops.
    pub domains: &'a [String],
    /// Requests that are not answered yet.
    pub in_flight: Arc<AtomicI64>,
    /// Deliveries still to be made without pause.
    pub burst: Arc<AtomicU32>,
    /// How long a transaction may idle.
    pub lease: Duration,
    /// Rebuilds under way.
    pub rebuilds: Vec<Child>,
    /// What the seed draws from.
    pub rng: StdRng,
    /// What is left to be dealt.
    pub deck: Vec<Fault>,
}

impl Faults<'_> {
    /// The next fault strikes, and is over when this returns; but for rebuilds and bursts.
    pub async fn strike(&mut self) {
        if self.deck.is_empty() {
            self.deck = DECK.to_vec();
            self.deck.shuffle(&mut self.rng);
        }
        let fault = self.deck.pop().expect("a full deck");
        self.apply(fault).await;
        let pause_ms = self.rng.random_range(50..600);
        sleep(Duration::from_millis(pause_ms)).await;
        self.fleet.memory();
    }

    async fn apply(&mut self, fault: Fault) {
        let role = match fault {
            Fault::Kill(role) | Fault::Deploy(role) => role,
            Fault::Freeze => Role::Work,
            _ if self.rng.random_bool(0.5) => Role::Serve,
            _ => Role::Work,
        };
        let places = self.fleet.places(role);
        let place = places[self.rng.random_range(0..places.len())];
        let name = self.fleet.instances[place].name.clone();
        let ms = self.rng.random_range(100..900);
        let for_a_while = Duration::from_millis(ms);
        match fault {
            Fault::Kill(role) => {
                let in_flight = self.wait_for_work(role).await;
                self.fleet.kill(place);
                self.note(fault, &name, in_flight);
                sleep(for_a_while / 3).await;
                self.fleet.revive(place);
            }
            Fault::Freeze => {
                let in_flight = self.wait_for_work(Role::Work).await;
                self.note(fault, &name, in_flight);
                self.fleet.signal(place, Signal::STOP);
                sleep(self.lease + Duration::from_millis(500)).await;
                self.fleet.signal(place, Signal::CONT);
            }
            Fault::Deploy(_) => {
                self.note(fault, &name, 0);
                let (took, well) = self.fleet.replace(place).await;
                if !well || took > Duration::from_secs(25) {
                    self.breach(format!("{name} took {took:?} to end at SIGTERM, well: {well}"));
                }
            }
            Fault::Cut => {
                self.note(fault, &name, self.in_flight.load(Ordering::Relaxed));
                self.fleet.instances[place].proxy.cut();
            }
            Fault::Refuse | Fault::Stall | Fault::Delay => {
                self.note(fault, &name, self.in_flight.load(Ordering::Relaxed));
                let proxy = &self.fleet.instances[place].proxy;
                match fault {
                    Fault::Refuse => proxy.refuse(),
                    Fault::Stall => proxy.stall(),
                    _ => proxy.delay(for_a_while / 10, for_a_while / 10),
                }
                sleep(for_a_while * 2).await;
                self.fleet.instances[place].proxy.mend();
            }
            Fault::CutAtCommit(moment) => {
                let sprung = self.fleet.instances[place].proxy.cut_at_commit(moment);
                let sprung = tokio::time::timeout(Duration::from_secs(10), sprung).await.is_ok_and(|it| it.is_ok());
                self.fleet.instances[place].proxy.disarm();
                if sprung {
                    self.note(fault, &name, self.in_flight.load(Ordering::Relaxed));
                }
            }
            Fault::Restart(signal) => {
                self.note(fault, "postgres", self.in_flight.load(Ordering::Relaxed));
                tokio::task::block_in_place(|| self.cluster.restart(signal, &self.data_directory));
            }
            Fault::Rebuild => self.begin_rebuild(ms).await,
            Fault::Burst => {
                self.note(fault, "clients", self.in_flight.load(Ordering::Relaxed));
                self.burst.fetch_add(100, Ordering::Relaxed);
            }
        }
    }

    async fn begin_rebuild(&mut self, ms: u64) {
        let domain = &self.domains[self.rng.random_range(0..self.domains.len())];
        let mut command = command_on(self.database);
        command.args(["rebuild", "--shop", domain]).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().expect("the binary runs");
        self.note(Fault::Rebuild, domain, 0);
        if self.rng.random_bool(0.5) {
            sleep(Duration::from_millis(ms / 10)).await;
            if child.try_wait().expect("it is ours").is_none() {
                child.kill().expect("it is ours");
                child.wait().expect("it is ours");
                self.record("rebuild killed", domain, 0);
                return;
            }
        }
        self.rebuilds.push(child);
    }

    /// A kill that hits nothing proves nothing. What there was to hit.
    async fn wait_for_work(&mut self, role: Role) -> i64 {
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            let in_flight = match role {
                Role::Serve => self.in_flight.load(Ordering::Relaxed),
                Role::Work => number(self.database, "SELECT count(*) FROM inbox WHERE status = 'pending'").await,
            };
            if in_flight > 0 || Instant::now() > deadline {
                return in_flight;
            }
            sleep(Duration::from_millis(2)).await;
        }
    }

    fn note(&self, fault: Fault, target: &str, in_flight: i64) {
        self.record(&fault.name(), target, in_flight);
    }

    fn record(&self, kind: &str, target: &str, in_flight: i64) {
        self.recorder.write(&Happened::Fault { kind: kind.to_owned(), target: target.to_owned(), in_flight });
    }

    fn breach(&self, text: String) {
        self.recorder.write(&Happened::Breach { text });
    }
}

/// One number of a superuser's, on a connection of its own; 0 while the server is away.
pub async fn number(database: &TestDatabase, sql: &str) -> i64 {
    let Ok(mut connection) = PgConnection::connect(&database.superuser_url).await else { return 0 };
    sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap_or(0)
}
