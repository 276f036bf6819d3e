//! The rows of docs/reliability.md that are about processes: killed, frozen, replaced, with clocks that differ and jump.

use std::{
    collections::BTreeSet,
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use ecomdash_tests::{
    Cluster, Ecomdash, Shop, TestDatabase,
    bodies::placed,
    command_on, free_folder, number,
    random::{rng, seed},
    run,
    storm::{
        Effect, Moment, Proxy, Storm, Trap, check,
        clients::Clients,
        fleet::{Role, command_through},
        history::{Happened, History, Recorder},
        load::Load,
    },
    with_clock,
};
use event_store::{events, verify};
use futures::TryStreamExt;
use rand::RngExt;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::time::{sleep, timeout};

const DAY: &str = "2026-11-01";

/// What it is called, and where it is.
type Point = (&'static str, fn() -> Trap);

/// Steady load on two `serve` and two `work`, while the test does what it is about.
struct Steady {
    world: Storm,
    recorder: Arc<Recorder>,
    load: tokio::task::JoinHandle<Clients>,
    stop: tokio_util::sync::CancellationToken,
    folder: std::path::PathBuf,
}

impl Steady {
    async fn begin(seed: u64) -> Self {
        let world = Storm::new(2, None).await;
        let folder = free_folder();
        let recorder = Arc::new(Recorder::create(&folder.join("history.jsonl")));
        let domains: Vec<String> = world.shops.iter().map(|shop| shop.domain.clone()).collect();
        recorder.write(&Happened::Begun { seed, shops: domains.clone() });
        let clients = Clients::start(8, seed, &domains, &world.fleet.addresses, &recorder);
        let stop = tokio_util::sync::CancellationToken::new();
        let stopped = stop.clone();
        let load = tokio::spawn(async move {
            let mut load = Load::new(seed, domains.len());
            let mut every = tokio::time::interval(Duration::from_millis(20));
            while !stopped.is_cancelled() {
                every.tick().await;
                clients.send(load.draw()).await;
            }
            for delivered in load.take_late() {
                clients.send(delivered).await;
            }
            clients
        });
        Self { world, recorder, load, stop, folder }
    }

    /// Waits until so many deliveries more were made.
    async fn go_on(&self, deliveries: usize) {
        let count = || History::read(self.recorder.path()).unwrap().acknowledged.len();
        let (before, deadline) = (count(), Instant::now() + Duration::from_secs(60));
        while count() < before + deliveries {
            assert!(Instant::now() < deadline, "the load stands still");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Ends the load, and holds the world against its history.
    async fn end(mut self) -> History {
        self.stop.cancel();
        assert!(self.load.await.unwrap().finish(Duration::from_secs(60)).await, "not everything is acknowledged");
        let settled_in = self.world.settle(Duration::from_secs(30)).await;
        let summary = check(&mut self.world, self.recorder.path(), settled_in).await;
        assert!(summary.checked.breaches.is_empty(), "SEED={}: {:#?}", summary.seed, summary.checked.breaches);
        let history = History::read(self.recorder.path()).unwrap();
        eprintln!("{} deliveries, {} tries", summary.deliveries, summary.tries);
        std::fs::remove_dir_all(&self.folder).unwrap();
        history
    }
}

/// Fifty deliveries a second, a `serve` killed every second and a half.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_01_serve_killed_under_load() {
    let seed = seed();
    let mut steady = Steady::begin(seed).await;
    let mut rng = rng(seed);
    for _ in 0..6 {
        sleep(Duration::from_millis(rng.random_range(1000..1500))).await;
        let place = steady.world.fleet.places(Role::Serve)[rng.random_range(0..2_usize)];
        steady.world.fleet.kill(place);
        sleep(Duration::from_millis(rng.random_range(0..200))).await;
        steady.world.fleet.revive(place);
    }
    let history = steady.end().await;
    assert!(history.acknowledged.len() >= 250 && !history.failures_ms.is_empty(), "the kills hit nobody");
}

/// The new one serves before the old one is told to end: nobody is refused, and a busy worker's jobs are another's at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_04_a_deploy_under_load_fails_no_request() {
    let mut steady = Steady::begin(seed()).await;
    steady.go_on(30).await;
    for place in 0..4 {
        let name = steady.world.fleet.instances[place].name.clone();
        let (took, well) = steady.world.fleet.replace(place).await;
        assert!(well && took < Duration::from_secs(20), "{name} took {took:?}, well: {well}");
        steady.go_on(30).await;
    }
    let history = steady.end().await;
    assert!(history.failures_ms.is_empty(), "{} requests failed", history.failures_ms.len());
}

/// The server is stopped and started again, in good order and in bad: errors only in the gap.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_10_postgres_restarted_under_load() {
    let steady = Steady::begin(seed()).await;
    let mut windows = Vec::new();
    for signal in [Signal::INT, Signal::QUIT] {
        steady.go_on(60).await;
        let down = steady.recorder.now_ms();
        tokio::task::block_in_place(|| steady.world.cluster.restart(signal, &steady.world.data_directory));
        windows.push((down, steady.recorder.now_ms() + 5_000));
        sleep(Duration::from_secs(6)).await;
    }
    steady.go_on(60).await;
    let history = steady.end().await;
    let outside: Vec<_> =
        history.failures_ms.iter().filter(|at| !windows.iter().any(|(from, to)| (*from..=*to).contains(*at))).collect();
    eprintln!("{} failures, windows {windows:?}", history.failures_ms.len());
    assert!(outside.is_empty(), "failures at {outside:?} ms, outside of {windows:?}");
}

/// A worker and its link; another one can take its place.
struct Worked {
    database: TestDatabase,
    link: Proxy,
    work: Ecomdash,
    shop: Shop,
    _serve: Ecomdash,
}

impl Worked {
    async fn new(lease: Option<Duration>) -> Self {
        let database = TestDatabase::new().await;
        let serve = Ecomdash::start(&["serve", "--port", "0"], &database, &[]);
        let shop = Shop::register(&database.open_with(1), &serve.url, "UTC", "USD").await;
        let link = Proxy::before(Cluster::shared().socket_dir(), lease).await;
        let mut command = command_through(&database, &link);
        command.arg("work");
        Self { work: Ecomdash::work(command), database, link, shop, _serve: serve }
    }

    async fn sprung(&self, trap: Trap, id: u64) {
        let sprung = self.link.arm(trap);
        assert_eq!(self.shop.deliver("orders/create", &placed(id)).await, 200);
        timeout(Duration::from_secs(30), sprung).await.expect("the worker comes by").expect("the trap was sprung");
    }

    async fn is_whole(&self, orders: i64) {
        assert_eq!(self.shop.metrics(DAY, DAY).await.all(["orders", "gross_sales"]), [orders, 1000 * orders]);
        let (ok, text) = run(&self.database, &["rebuild", "--check"]);
        assert!(ok, "{text}");
        let mut superuser = self.database.superuser().await;
        let off = "SELECT count(*) FROM checkpoints c JOIN heads h USING (shop_id)
                   WHERE c.generation > 0 AND c.position <> h.position";
        assert_eq!(number(&mut superuser, off).await, 0);
        assert_eq!(number(&mut superuser, "SELECT count(*) FROM inbox WHERE status <> 'translated'").await, 0);
        assert_eq!(verify(&self.database.open_with(1), self.shop.id, |_| {}).await.unwrap().fault, None);
    }
}

/// The link holds the worker at the named point, where it is killed. The next one goes on within five seconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_02_a_worker_killed_at_named_points() {
    use Effect::Hold;
    use Moment::{Answered, Before};
    let points: [Point; 8] = [
        ("before it reads deliveries", || Trap::at_statement("FROM inbox", Before, Hold)),
        ("after it has appended", || Trap::at_statement("append_events", Answered, Hold)),
        ("before it commits what it appended", || Trap::at_commit_after("append_events", Before, Hold)),
        ("after it has committed that", || Trap::at_commit_after("append_events", Answered, Hold)),
        ("before it reads the log", || Trap::at_statement("AND position > $2", Before, Hold)),
        ("after it has applied", || Trap::at_statement("INSERT INTO sale_fact", Answered, Hold)),
        ("before the checkpoint", || Trap::at_statement("UPDATE checkpoints", Before, Hold)),
        ("after the checkpoint is committed", || Trap::at_commit_after("UPDATE checkpoints", Answered, Hold)),
    ];
    let mut worked = Worked::new(None).await;
    for (number, (when, trap)) in (1..).zip(points) {
        worked.sprung(trap(), number).await;
        worked.work.kill();
        let mut command = command_on(&worked.database);
        command.arg("work");
        let began = Instant::now();
        let mut next = Ecomdash::work(command);
        worked.is_whole(i64::try_from(number).unwrap()).await;
        assert!(began.elapsed() < Duration::from_secs(5), "{when}: whole again after {:?}", began.elapsed());
        next.terminate();
        let mut command = command_through(&worked.database, &worked.link);
        command.arg("work");
        worked.work = Ecomdash::work(command);
    }
}

/// Frozen in the midst of a batch for longer than its lease, while another one does the work; then it goes on where it
/// was, and its write is refused. The link shortens the lease of thirty seconds to three.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_03_a_frozen_worker_s_write_is_refused() {
    let lease = Duration::from_secs(3);
    let points: [Point; 2] = [
        ("ingestion", || Trap::at_commit_after("append_events", Moment::Before, Effect::Hold)),
        ("projection", || Trap::at_statement("UPDATE checkpoints", Moment::Before, Effect::Hold)),
    ];
    let worked = Worked::new(Some(lease)).await;
    for (number, (what, trap)) in (1..).zip(points) {
        worked.sprung(trap(), number).await;
        worked.work.signal(Signal::STOP);
        let frozen = Instant::now();
        let mut command = command_on(&worked.database);
        command.arg("work");
        let mut other = Ecomdash::work(command);
        worked.is_whole(i64::try_from(number).unwrap()).await;
        assert!(frozen.elapsed() >= lease - Duration::from_millis(500), "{what}: the claim was no obstacle");
        assert!(frozen.elapsed() < lease + Duration::from_secs(5), "{what}: taken over after {:?}", frozen.elapsed());
        let before = worked.work.log().len();
        worked.link.release();
        worked.work.signal(Signal::CONT);
        let deadline = Instant::now() + Duration::from_secs(20);
        while !["put off", "no work can be done"].iter().any(|told| worked.work.log()[before..].contains(told)) {
            assert!(Instant::now() < deadline, "{what}: nothing was refused: {}", worked.work.log());
            sleep(Duration::from_millis(20)).await;
        }
        worked.is_whole(i64::try_from(number).unwrap()).await;
        other.terminate();
    }
}

/// Instances an hour ahead and an hour behind: deliveries are settled at once, and the log's order is its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_40_instances_whose_clocks_differ_by_two_hours() {
    let database = TestDatabase::new().await;
    let at = |clock, arguments: &[&str]| with_clock(&database, &[("FAKETIME", clock)], arguments);
    let (Some(ahead), Some(behind)) = (at("+1h", &["serve", "--port", "0"]), at("-1h", &["serve", "--port", "0"]))
    else {
        return;
    };
    let serve = [ahead, behind].map(Ecomdash::spawn);
    let mut work = ["+1h", "-1h"].map(|clock| Ecomdash::work(at(clock, &["work"]).unwrap()));
    let store = database.open_with(1);
    let shop = Shop::register(&store, &serve[0].url, "UTC", "USD").await;
    let began = Instant::now();
    for id in 1..=40_u64 {
        let at = &serve[usize::try_from(id % 2).unwrap()].url;
        assert_eq!(shop.at(at).deliver("orders/create", &placed(id)).await, 200);
        if id % 10 == 0 {
            // The other worker's turn, now and then.
            work[usize::try_from(id / 10 % 2).unwrap()].signal(Signal::STOP);
            work[usize::try_from((id / 10 + 1) % 2).unwrap()].signal(Signal::CONT);
        }
    }
    work[0].signal(Signal::CONT);
    work[1].signal(Signal::CONT);
    assert_eq!(shop.metrics(DAY, DAY).await.get("orders"), Some(40));
    assert!(began.elapsed() < Duration::from_secs(20), "it took {:?}", began.elapsed());
    let mut superuser = database.superuser().await;
    let apart = "SELECT (extract(epoch FROM max(received_at) - min(received_at)) / 60)::bigint FROM inbox";
    assert!(number(&mut superuser, apart).await >= 119, "the clocks did differ");
    let log: Vec<_> = events(&store, shop.id, 0, i64::MAX).try_collect().await.unwrap();
    assert!(log.is_sorted_by(|one, next| one.recorded_at < next.recorded_at && one.position < next.position));
    let off = log.iter().map(|event| (event.recorded_at - chrono::Utc::now()).abs()).max().unwrap();
    assert!(off < chrono::TimeDelta::minutes(5), "the log goes by the database's clock: off by {off}");
    assert_eq!(verify(&store, shop.id, |_| {}).await.unwrap().fault, None);
    let distinct: BTreeSet<_> = log.iter().map(|event| &event.aggregate_id).collect();
    assert_eq!(distinct.len(), 41);
    work.iter_mut().for_each(|work| assert!(work.terminate().success()));
}

/// The clock jumps a day ahead and two days back while a worker waits for the database: it neither storms nor oversleeps.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_42_a_clock_that_jumps_while_a_worker_waits() {
    let database = TestDatabase::new().await;
    let serve = Ecomdash::start(&["serve", "--port", "0"], &database, &[]);
    let shop = Shop::register(&database.open_with(1), &serve.url, "UTC", "USD").await;
    let link = Proxy::before(Cluster::shared().socket_dir(), None).await;
    let folder = free_folder();
    let clock = folder.join("clock");
    std::fs::write(&clock, "+0").unwrap();
    let environment = [
        ("FAKETIME_TIMESTAMP_FILE", clock.to_str().unwrap()),
        ("FAKETIME_NO_CACHE", "1"),
        ("DATABASE_URL", &link.url(&database.url)),
    ];
    let Some(command) = with_clock(&database, &environment, &["work"]) else { return };
    let mut work = Ecomdash::work(command);
    assert_eq!(shop.deliver("orders/create", &placed(1)).await, 200);
    assert_eq!(shop.metrics(DAY, DAY).await.get("orders"), Some(1));
    for (id, jump) in [(2, "+1d"), (3, "-1d")] {
        link.refuse();
        assert_eq!(shop.deliver("orders/create", &placed(id)).await, 200);
        sleep(Duration::from_millis(700)).await;
        let before = link.attempts();
        std::fs::write(&clock, jump).unwrap();
        sleep(Duration::from_secs(2)).await;
        let attempts = link.attempts() - before;
        link.mend();
        let began = Instant::now();
        assert_eq!(shop.metrics(DAY, DAY).await.get("orders"), Some(i64::try_from(id).unwrap()));
        eprintln!("{jump}: {attempts} attempts in two seconds, well after {:?}", began.elapsed());
        assert!(began.elapsed() < Duration::from_secs(8), "{jump}: well after {:?}", began.elapsed());
        assert!(attempts < 500, "{jump}: {attempts} attempts in two seconds");
    }
    assert!(work.terminate().success());
    std::fs::remove_dir_all(folder).unwrap();
}

/// Whoever reads the log may go away: work goes on, and the end is in good order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_04_a_log_that_nobody_reads_any_more_holds_up_nothing() {
    use std::io::{BufRead, BufReader};
    let database = TestDatabase::new().await;
    let mut command = command_on(&database);
    command.args(["up", "--port", "0"]).env("LOG_LEVEL", "debug");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    drop(child.stderr.take());
    let url = line.trim().strip_prefix("listening on ").unwrap();
    let shop = Shop::register(&database.open_with(1), url, "UTC", "USD").await;
    for id in 1..=3 {
        assert_eq!(shop.deliver("orders/create", &Value::Null).await, 200);
        assert_eq!(shop.deliver("orders/create", &placed(id)).await, 200);
    }
    let counted = timeout(Duration::from_secs(20), shop.metrics(DAY, DAY)).await;
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let deadline = Instant::now() + Duration::from_secs(25);
    let ended = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status.success(),
            None if Instant::now() > deadline => {
                child.kill().unwrap();
                child.wait().unwrap();
                break false;
            }
            None => sleep(Duration::from_millis(20)).await,
        }
    };
    assert_eq!(counted.expect("the work goes on").get("orders"), Some(3));
    assert!(ended, "it did not end in good order");
}
