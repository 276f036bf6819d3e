//! The rows of docs/reliability.md that are about the database: a link that is cut, slow or away, locks that cross, and
//! migrations that die.

use std::time::{Duration, Instant};

use domain::{Command, ShopId, ids::OrderId, order::OrderCommand};
use ecomdash_tests::{
    Cluster, Ecomdash, Login, Shop, TestDatabase,
    bodies::placed,
    number, run,
    storm::{Effect, Moment, Proxy, Trap, fleet::command_through},
    until,
};
use event_store::{Database, DatabaseOptions, Envelope, Metadata, StoreError, create_shop, migrate, verify};
use tokio::time::timeout;
use uuid::Uuid;
use vault::MasterRing;

const DAY: &str = "2026-11-01";

/// What it is called, and where it is.
type Point = (&'static str, fn() -> Trap);
const BOTH: [Moment; 2] = [Moment::Before, Moment::Answered];

/// A database whose `serve` and `work` each have a link that the test has in its hands.
struct World {
    shop: Shop,
    serve_link: Proxy,
    work_link: Proxy,
    work: Ecomdash,
    serve: Ecomdash,
    database: TestDatabase,
}

impl World {
    async fn new() -> Self {
        let database = TestDatabase::new().await;
        let socket = Cluster::shared().socket_dir();
        let (serve_link, work_link) = (Proxy::before(socket, None).await, Proxy::before(socket, None).await);
        let mut command = command_through(&database, &serve_link);
        command.args(["serve", "--port", "0"]);
        let serve = Ecomdash::spawn(command);
        let mut command = command_through(&database, &work_link);
        command.arg("work");
        let work = Ecomdash::work(command);
        let store = database.open_with(1);
        let shop = Shop::register(&store, &serve.url, "UTC", "USD").await;
        store.close().await;
        Self { shop, serve_link, work_link, work, serve, database }
    }

    async fn deliver(&self, id: u64) -> u16 {
        let answer = self.shop.try_deliver("orders/create", &placed(id).to_string(), &id.to_string(), None).await;
        answer.expect("an answer").status().as_u16()
    }

    async fn orders(&self) -> i64 {
        self.shop.metrics(DAY, DAY).await.get("orders").unwrap()
    }
}

/// Whether it was made durable is open when the link is cut around its commit: the delivery's key, the head's hash and the
/// checkpoint's position settle it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_11_a_link_cut_around_the_commit() {
    let world = World::new().await;
    let mut superuser = world.database.superuser().await;
    assert_eq!(world.deliver(1).await, 200);
    assert_eq!(world.orders().await, 1);
    let mut id = 1;
    // The inbox: whether it was stored or not, it is stored again over another connection, and is there once.
    for moment in BOTH {
        id += 1;
        let sprung = world.serve_link.arm(Trap::at_commit_after("store_delivery", moment, Effect::Cut));
        assert_eq!(world.deliver(id).await, 200, "{moment:?}");
        sprung.await.expect("the trap was sprung");
        for _ in 0..2 {
            let stored = number(&mut superuser, &format!("SELECT count(*) FROM inbox WHERE webhook_id = '{id}'")).await;
            assert_eq!(stored, 1, "{moment:?}");
            assert_eq!(world.deliver(id).await, 200);
        }
    }
    // Ingestion and projection.
    for (words, what) in [("append_events", "ingestion"), ("UPDATE checkpoints", "projection")] {
        for moment in BOTH {
            id += 1;
            let sprung = world.work_link.arm(Trap::at_commit_after(words, moment, Effect::Cut));
            assert_eq!(world.deliver(id).await, 200);
            timeout(Duration::from_secs(20), sprung).await.expect(what).expect("the trap was sprung");
            assert_eq!(world.orders().await, i64::try_from(id).unwrap(), "{what} {moment:?}");
        }
    }
    assert_eq!(number(&mut superuser, "SELECT count(*) FROM inbox").await, i64::try_from(id).unwrap());
    let placed = "SELECT count(*) FROM events WHERE event_type = 'OrderPlaced'";
    assert_eq!(number(&mut superuser, placed).await, i64::try_from(id).unwrap());
    assert_eq!(verify(&world.database.open_with(1), world.shop.id, |_| {}).await.unwrap().fault, None);
}

/// A single command commits by itself: a caller who is told that its outcome is open may give it again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_11_a_link_cut_around_a_single_command() {
    let database = TestDatabase::new().await;
    let link = Proxy::before(Cluster::shared().socket_dir(), None).await;
    let options =
        DatabaseOptions { url: link.url(&database.url), max_connections: 2, application_name: "ecomdash-tests" };
    let store = Database::connect_lazy(&options, MasterRing::parse(&database.encryption_keys).unwrap()).unwrap();
    let shop = ShopId(Uuid::now_v7());
    let mut tx = store.begin(shop).await.unwrap();
    create_shop(&mut tx).await.unwrap();
    tx.commit().await.unwrap();
    let tell = async |id| {
        let deleted = Command::Order(OrderId(id), OrderCommand::ObserveDeletion { at: None });
        store.execute(shop, deleted, Metadata::default()).await
    };
    assert_eq!(tell(1).await.unwrap().events, 1);
    for (id, moment) in [(2, Moment::Before), (3, Moment::Answered)] {
        let sprung = link.cut_at_commit(moment);
        let open = tell(id).await;
        assert!(matches!(open, Err(StoreError::Unavailable(_))), "{moment:?}: {open:?}");
        sprung.await.expect("the trap was sprung");
        let again = tell(id).await.unwrap();
        assert_eq!(again.events, usize::from(moment == Moment::Before), "{moment:?}");
    }
    let mut superuser = database.superuser().await;
    assert_eq!(number(&mut superuser, "SELECT count(*) FROM events").await, 3);
    assert_eq!(verify(&store, shop, |_| {}).await.unwrap().fault, None);
}

/// Half a second more on each round trip, then a link that passes nothing: answers come in time all the same, 200 only for
/// what is stored, and as soon as the link is well so is everything else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_12_a_slow_and_a_stalled_database() {
    let world = World::new().await;
    let store = world.database.open_with(1);
    let other = Shop::register(&store, &world.serve.url, "UTC", "USD").await;
    let mut superuser = world.database.superuser().await;
    let mut id = 0;
    for stalled in [false, true] {
        if stalled {
            world.serve_link.stall();
        } else {
            world.serve_link.delay(Duration::from_millis(250), Duration::from_millis(250));
        }
        let mut requests = tokio::task::JoinSet::new();
        for _ in 0..40 {
            id += 1;
            let shop = (if id % 4 == 0 { &other } else { &world.shop }).at(&world.serve.url);
            requests.spawn(async move {
                let began = Instant::now();
                let answer = shop.try_deliver("orders/create", &placed(id).to_string(), &id.to_string(), None).await;
                (id, answer.expect("an answer").status().as_u16(), began.elapsed())
            });
        }
        for (id, status, took) in requests.join_all().await {
            assert!(took < Duration::from_secs(5), "{id} was answered {status} after {took:?}");
            assert!(status == 503 || (status == 200 && !stalled), "{id}: {status}");
            let sql = format!("SELECT count(*) FROM inbox WHERE webhook_id = '{id}'");
            assert!(status == 503 || number(&mut superuser, &sql).await == 1, "{id} was answered 200 and is not there");
        }
        world.serve_link.mend();
        let began = Instant::now();
        until("it is well again", async || world.deliver(1_000 + id).await == 200).await;
        assert!(began.elapsed() < Duration::from_secs(5), "well after {:?}", began.elapsed());
        until("the other shop, too", async || other.deliver("orders/create", &placed(2_000 + id)).await == 200).await;
        until("its connections are five at most", async || world.serve_link.connections() <= 5).await;
    }
    let ids: Vec<u64> = (1..=id).collect();
    for id in ids {
        let shop = if id % 4 == 0 { &other } else { &world.shop };
        let answer = shop.try_deliver("orders/create", &placed(id).to_string(), &id.to_string(), None).await.unwrap();
        assert_eq!(answer.status(), 200);
    }
    let (ours, theirs) = (world.orders().await, other.metrics(DAY, DAY).await.get("orders").unwrap());
    // One of each after each time.
    assert_eq!((ours, theirs), (60 + 2, 20 + 2));
}

/// Connections that hear nothing any more, and are not told so: they are given up, and new ones used.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_12_connections_that_are_left_stranded() {
    let world = World::new().await;
    assert_eq!(world.deliver(1).await, 200);
    assert_eq!(world.orders().await, 1);
    // As many as the pool has.
    let mut requests = tokio::task::JoinSet::new();
    for id in 100..140 {
        let shop = world.shop.at(&world.serve.url);
        requests.spawn(async move { shop.deliver("orders/create", &placed(id)).await });
    }
    assert!(requests.join_all().await.iter().all(|status| *status == 200));
    assert_eq!(world.orders().await, 41);
    assert!(world.serve_link.attempts() <= 5 + 2, "{} connections for 41 deliveries", world.serve_link.attempts());
    world.serve_link.strand();
    world.work_link.strand();
    let began = Instant::now();
    until("it delivers again", async || world.deliver(2).await == 200).await;
    eprintln!("delivered after {:?}", began.elapsed());
    assert_eq!(world.orders().await, 42);
    eprintln!("counted after {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(60), "well after {:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_54_no_200_while_the_database_is_away() {
    let world = World::new().await;
    let mut superuser = world.database.superuser().await;
    assert_eq!(world.deliver(1).await, 200);
    world.serve_link.refuse();
    for id in 2..=4 {
        let body = placed(id).to_string();
        let answer = world.shop.try_deliver("orders/create", &body, &id.to_string(), None).await.unwrap();
        assert_eq!(answer.status(), 503);
        assert!(answer.headers().contains_key("retry-after"));
    }
    assert_eq!(number(&mut superuser, "SELECT count(*) FROM inbox").await, 1, "never a 200 without a row, nor a row");
    world.serve_link.mend();
    for id in 2..=4 {
        assert_eq!(world.deliver(id).await, 200);
    }
    assert_eq!(world.orders().await, 4);
}

/// A writer that has its place in the log and does not commit holds up its shop, which skips nothing, and no other shop.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_16_a_stalled_writer_holds_up_its_shop_and_nothing_is_skipped() {
    let world = World::new().await;
    let store = world.database.open_with(2);
    let other = Shop::register(&store, &world.serve.url, "UTC", "USD").await;
    let mut superuser = world.database.superuser().await;
    assert_eq!(world.deliver(1).await, 200);
    assert_eq!(world.orders().await, 1);

    let mut stalled = store.begin(world.shop.id).await.unwrap();
    let deleted = Command::Order(OrderId(99), OrderCommand::ObserveDeletion { at: None });
    stalled.execute(vec![Envelope::new(deleted, Metadata::default())]).await.unwrap();
    for id in 2..=5 {
        assert_eq!(world.deliver(id).await, 200);
        assert_eq!(other.deliver("orders/create", &placed(id)).await, 200);
    }
    let waiting =
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'ecomdash' AND wait_event_type = 'Lock'
                   AND datname = current_database()";
    until("the shop's ingestion waits", async || number(&mut superuser, waiting).await > 0).await;
    let began = Instant::now();
    assert_eq!(other.metrics(DAY, DAY).await.get("orders"), Some(4));
    assert!(began.elapsed() < Duration::from_secs(5), "the other shop waited for {:?}", began.elapsed());
    const AHEAD: &str = "SELECT count(*) FROM checkpoints c JOIN heads h USING (shop_id) WHERE c.position > h.position";
    assert_eq!(number(&mut superuser, AHEAD).await, 0);
    stalled.commit().await.unwrap();
    assert_eq!(world.orders().await, 5, "and all of it comes");
    let log: Vec<i64> = sqlx::query_scalar("SELECT position FROM events WHERE shop_id = $1 ORDER BY 1")
        .bind(world.shop.id.0)
        .fetch_all(&mut superuser)
        .await
        .unwrap();
    assert_eq!(log, (1..=7).collect::<Vec<i64>>(), "the registration, the stalled one, five orders");
}

/// Two who take their locks in opposite orders: the database ends one of them, which is tried again and loses nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_17_a_deadlock_is_tried_again_and_loses_nothing() {
    let world = World::new().await;
    let mut superuser = world.database.superuser().await;
    let shop = world.shop.id;
    for id in 1..=3 {
        let mut crossing = world.database.superuser().await;
        let heads = format!("BEGIN; SELECT FROM heads WHERE shop_id = '{shop}' FOR UPDATE");
        sqlx::raw_sql(&heads).execute(&mut crossing).await.unwrap();
        assert_eq!(world.deliver(id).await, 200);
        let waiting = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'ecomdash' AND wait_event_type = 'Lock'
             AND datname = '{}'",
            world.database.name
        );
        until("ingestion waits for the head", async || number(&mut superuser, &waiting).await > 0).await;
        // It holds its own lock and waits for ours; now we wait for its.
        let lock = format!("SELECT FROM checkpoints WHERE shop_id = '{shop}' AND projection = 'ingest' FOR UPDATE");
        let crossed = sqlx::raw_sql(&lock).execute(&mut crossing).await;
        eprintln!("round {id}: the crossing one {}", if crossed.is_ok() { "went on" } else { "was ended" });
        sqlx::raw_sql("ROLLBACK").execute(&mut crossing).await.unwrap();
        assert_eq!(world.orders().await, i64::try_from(id).unwrap());
    }
    let log = world.work.log();
    assert!(log.contains("another command changed the same history first"), "the worker was ended once: {log}");
    assert_eq!(number(&mut superuser, "SELECT count(*) FROM inbox WHERE attempts > 0 OR status = 'dead'").await, 0);
    assert_eq!(number(&mut superuser, "SELECT count(*) FROM events WHERE event_type = 'OrderPlaced'").await, 3);
}

/// A migrator that dies in the midst of a migration, before and after any commit: the next one completes it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_19_a_migration_that_dies_half_way_is_completed_by_the_next() {
    let traps: [Point; 4] = [
        ("within the first", || Trap::at_statement("CREATE TABLE events", Moment::Answered, Effect::Hold)),
        ("within a later one", || Trap::at_statement("CREATE TABLE inbox", Moment::Answered, Effect::Hold)),
        ("before its commit", || Trap::at_commit_after("CREATE TABLE inbox", Moment::Before, Effect::Hold)),
        ("after its commit", || Trap::at_commit_after("CREATE TABLE inbox", Moment::Answered, Effect::Hold)),
    ];
    for (when, trap) in traps {
        let database = TestDatabase::empty(Login::Ordinary).await;
        let link = Proxy::before(Cluster::shared().socket_dir(), None).await;
        let sprung = link.arm(trap());
        let mut command = command_through(&database, &link);
        command.arg("migrate");
        let mut migrating = Ecomdash::work(command);
        timeout(Duration::from_secs(20), sprung).await.expect(when).expect("the trap was sprung");
        migrating.kill();
        let mut login = database.login().await;
        assert!(!event_store::schema_is_current(&mut login).await.unwrap(), "{when}");
        let (ok, text) = run(&database, &["migrate"]);
        assert!(ok, "{when}: {text}");
        assert!(event_store::schema_is_current(&mut login).await.unwrap(), "{when}");
        assert!(migrate(&database.url).await.is_ok(), "{when}: and once more");
        let mut server = Ecomdash::up(&database);
        let shop = Shop::register(&database.open_with(1), &server.url, "UTC", "USD").await;
        assert_eq!(shop.deliver("orders/create", &placed(1)).await, 200);
        assert_eq!(shop.metrics(DAY, DAY).await.get("orders"), Some(1), "{when}");
        assert!(server.terminate().success());
    }
}
