//! One storm from its seed: a world, load, faults, calm, and the checker's word.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use rand::RngExt;
use tokio_util::sync::CancellationToken;

use super::{
    check::{Checked, Checker},
    clients::Clients,
    fault::{Faults, number},
    fleet::Fleet,
    history::{Happened, History, Recorder},
    load::Load,
};
use crate::{Cluster, Shop, TestDatabase, free_folder, random::rng};

/// How a storm is.
#[derive(Debug, Clone)]
pub struct Options {
    /// Draws everything.
    pub seed: u64,
    /// How long faults strike.
    pub length: Duration,
    /// Shops.
    pub shops: usize,
    /// Clients.
    pub clients: u64,
    /// Deliveries a second, but for bursts.
    pub per_second: u64,
    /// Whether faults strike at all.
    pub faults: bool,
    /// How long a transaction may idle: less than the program's own thirty seconds, so that a freeze need not last longer.
    pub lease: Duration,
}

impl Options {
    /// As `bin/test` has time for.
    #[must_use]
    pub fn short(seed: u64) -> Self {
        Self {
            seed,
            length: Duration::from_secs(20),
            shops: 3,
            clients: 8,
            per_second: 60,
            faults: true,
            lease: Duration::from_secs(2),
        }
    }

    /// One of many in a row.
    #[must_use]
    pub fn long(seed: u64) -> Self {
        let length = Duration::from_secs(60);
        Self { length, shops: 5, clients: 12, lease: Duration::from_secs(4), ..Self::short(seed) }
    }
}

/// What is left of a storm.
#[derive(Debug)]
pub struct Summary {
    /// Its seed.
    pub seed: u64,
    /// Deliveries that were acknowledged.
    pub deliveries: usize,
    /// Tries of them.
    pub tries: u32,
    /// Orders that they were about.
    pub orders: usize,
    /// Faults by kind.
    pub faults: BTreeMap<String, u32>,
    /// What was in flight at each kill.
    pub kills: Vec<i64>,
    /// What the checker looked at, and what it found wrong.
    pub checked: Checked,
    /// How long it took after the last acknowledgement until nothing was left to do.
    pub settled_in: Duration,
    /// The history, which is kept when something is wrong.
    pub history: PathBuf,
}

/// The world of a storm: a server of its own, processes, shops. What is dropped first stands first.
pub struct Storm {
    /// The processes.
    pub fleet: Fleet,
    /// The shops.
    pub shops: Vec<Shop>,
    /// The database.
    pub database: TestDatabase,
    /// The server.
    pub cluster: Cluster,
    /// Where it keeps its data.
    pub data_directory: PathBuf,
    _folder: Folder,
}

/// A folder that goes with this.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // Where others cannot reach the folder, the server's data is elsewhere.
        if let Ok(elsewhere) = std::fs::read_to_string(self.0.join("postgres.path")) {
            let _ = std::fs::remove_dir_all(elsewhere.trim());
        }
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Storm {
    /// A new world.
    pub async fn new(shops: usize, lease: Option<Duration>) -> Self {
        let folder = free_folder();
        let cluster = tokio::task::block_in_place(|| Cluster::own(&folder));
        let database = TestDatabase::on(&cluster).await;
        let mut superuser = database.superuser().await;
        let data_directory: String =
            sqlx::query_scalar("SHOW data_directory").fetch_one(&mut superuser).await.expect("it answers");
        let fleet = Fleet::start(&cluster, &database, lease).await;
        let store = database.open_with(1);
        let url = fleet.addresses.read().unwrap()[0].1.clone();
        let mut registered = Vec::new();
        for _ in 0..shops {
            registered.push(Shop::register(&store, &url, "America/New_York", "USD").await);
        }
        store.close().await;
        Self {
            fleet,
            shops: registered,
            database,
            cluster,
            data_directory: data_directory.into(),
            _folder: Folder(folder),
        }
    }

    /// Waits until nothing is left to do; `None` if that takes too long.
    pub async fn settle(&self, patience: Duration) -> Option<Duration> {
        const LEFT: &str = "SELECT (SELECT count(*) FROM inbox WHERE status = 'pending')
            + (SELECT count(*) FROM work_queue)
            + (SELECT count(*) FROM live_generations l JOIN checkpoints c USING (shop_id, projection, generation)
               JOIN heads h USING (shop_id) WHERE c.position <> h.position)";
        let began = Instant::now();
        while number(&self.database, LEFT).await != 0 {
            if began.elapsed() > patience {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Some(began.elapsed())
    }
}

/// Runs a storm, and says what survived.
pub async fn run(options: &Options, history: &Path) -> Summary {
    let (mut world, settled_in) = rage(options, history).await;
    check(&mut world, history, settled_in).await
}

/// The storm itself, until the calm after it: the world as it is then, and how long it took to come to rest.
pub async fn rage(options: &Options, history: &Path) -> (Storm, Option<Duration>) {
    let mut world = Storm::new(options.shops, Some(options.lease)).await;
    let recorder = Arc::new(Recorder::create(history));
    let domains: Vec<String> = world.shops.iter().map(|shop| shop.domain.clone()).collect();
    recorder.write(&Happened::Begun { seed: options.seed, shops: domains.clone() });
    let clients = Clients::start(options.clients, options.seed, &domains, &world.fleet.addresses, &recorder);
    let (stop, burst) = (CancellationToken::new(), Arc::new(AtomicU32::new(0)));
    let in_flight = Arc::clone(&clients.in_flight);
    let producing = tokio::spawn(produce(clients, options.clone(), Arc::clone(&burst), stop.clone()));
    let url = world.database.superuser_url.clone();
    let watching = tokio::spawn(watch(url, Arc::clone(&recorder), stop.clone()));

    let end = Instant::now() + options.length;
    let mut seeds = rng(options.seed);
    let mut faults = Faults {
        cluster: &world.cluster,
        data_directory: world.data_directory.clone(),
        database: &world.database,
        fleet: &mut world.fleet,
        recorder: Arc::clone(&recorder),
        domains: &domains,
        in_flight,
        burst,
        lease: options.lease,
        rebuilds: Vec::new(),
        rng: rng(seeds.random()),
        deck: Vec::new(),
    };
    while Instant::now() < end {
        if options.faults {
            faults.strike().await;
        } else {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    let rebuilds = std::mem::take(&mut faults.rebuilds);
    drop(faults);

    // Calm: everything works, and what was held back comes at last.
    world.fleet.mend_links();
    stop.cancel();
    let (clients, late) = producing.await.expect("the load goes on");
    for delivered in late {
        clients.send(delivered).await;
    }
    if !clients.finish(Duration::from_secs(60)).await {
        recorder.write(&Happened::Breach { text: "deliveries are not acknowledged a minute after the storm".into() });
    }
    watching.await.expect("the watch goes on");
    for mut child in rebuilds {
        tokio::task::block_in_place(|| child.wait()).expect("it is ours");
    }
    let settled_in = world.settle(Duration::from_secs(30)).await;
    (world, settled_in)
}

/// What the history and the database say of a world that has come to rest. It is ended by this.
pub async fn check(world: &mut Storm, history: &Path, settled_in: Option<Duration>) -> Summary {
    let (path, history) = (history.to_owned(), History::read(history).expect("the history can be read"));
    let (checked, orders) = Checker::new(world, &history).run(settled_in).await;
    Summary {
        seed: history.seed,
        deliveries: history.acknowledged.len(),
        tries: history.tries.values().sum(),
        orders,
        faults: history.faults.clone(),
        kills: history.kills.clone(),
        checked,
        settled_in: settled_in.unwrap_or(Duration::MAX),
        history: path,
    }
}

async fn produce(
    clients: Clients,
    options: Options,
    burst: Arc<AtomicU32>,
    stop: CancellationToken,
) -> (Clients, Vec<super::history::Delivered>) {
    let mut load = Load::new(options.seed, options.shops);
    let pause = Duration::from_micros(1_000_000 / options.per_second);
    let began = Instant::now();
    while !stop.is_cancelled() {
        let passed = began.elapsed().as_millis() * options.shops as u128 / options.length.as_millis();
        load.leave(usize::try_from(passed).expect("a few"));
        clients.send(load.draw()).await;
        let bursting = burst.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if bursting.is_err() {
            tokio::time::sleep(pause).await;
        }
    }
    let late = load.take_late();
    (clients, late)
}

/// I-6 while it storms: no checkpoint is ahead of its shop's head.
async fn watch(url: String, recorder: Arc<Recorder>, stop: CancellationToken) {
    use sqlx::Connection;
    const AHEAD: &str = "SELECT count(*) FROM checkpoints c JOIN heads h USING (shop_id) WHERE c.position > h.position";
    while !stop.is_cancelled() {
        if let Ok(mut connection) = sqlx::PgConnection::connect(&url).await {
            while !stop.is_cancelled() {
                match sqlx::query_scalar::<_, i64>(AHEAD).fetch_one(&mut connection).await {
                    Ok(0) => {}
                    Ok(ahead) => {
                        recorder.write(&Happened::Breach { text: format!("I-6: {ahead} checkpoints are ahead") })
                    }
                    Err(_) => break, // the server is away
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
