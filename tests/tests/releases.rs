//! An old and a new release side by side: on one schema, and on the smallest server.

use std::{
    borrow::Cow,
    collections::BTreeSet,
    time::{Duration, Instant},
};

use ecomdash_tests::{
    Cluster, Ecomdash, Login, Shop, TestDatabase, bodies::placed, command_on, free_folder, number, run, until,
};
use event_store::{MIGRATIONS, migrate};
use futures::future::join_all;
use rustix::process::Signal;
use serde_json::Value;
use sqlx::{Connection, Executor, PgConnection, migrate::Migrator};

const DAY: &str = "2026-11-01";

/// The least that `max_connections` is anywhere.
const SMALLEST: &str = "25";

/// Two APIs and two workers, as while a deploy runs, all of them as busy as they can be, and commands beside them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_13_two_releases_at_once_fit_the_smallest_server() {
    let folder = free_folder();
    let cluster = Cluster::own(&folder);
    let database = TestDatabase::on(&cluster).await;
    let mut superuser = database.superuser().await;
    superuser.execute(format!("ALTER SYSTEM SET max_connections = {SMALLEST}").as_str()).await.unwrap();
    let directory: String = sqlx::query_scalar("SHOW data_directory").fetch_one(&mut superuser).await.unwrap();
    drop(superuser);
    cluster.restart(Signal::INT, directory.as_ref());
    let mut superuser = database.superuser().await;
    let set: String = sqlx::query_scalar("SHOW max_connections").fetch_one(&mut superuser).await.unwrap();
    assert_eq!(set, SMALLEST);

    let serve = [(); 2].map(|()| Ecomdash::start(&["serve", "--port", "0"], &database, &[("METRICS_TOKEN", "m")]));
    let work = [(); 2].map(|()| {
        let mut command = command_on(&database);
        command.arg("work").env("METRICS_TOKEN", "m");
        Ecomdash::work(command)
    });
    let store = database.open_with(1);
    let shops = join_all((0..4).map(|_| Shop::register(&store, &serve[0].url, "UTC", "USD"))).await;
    store.close().await;

    let (mut most, mut id) = (0, 0);
    for round in 0..12 {
        let mut deliveries = Vec::new();
        for _ in 0..60 {
            id += 1;
            let shop = shops[id % shops.len()].at(&serve[id % 2].url);
            deliveries.push(async move {
                let delivered = shop.deliver("orders/create", &placed(id as u64)).await;
                let (asked, _) = shop.get(&format!("/api/dashboard/stats?from={DAY}&to={DAY}")).await;
                (delivered.as_u16(), asked.as_u16())
            });
        }
        let load = tokio::spawn(join_all(deliveries));
        if round % 4 == 1 {
            // Each has two connections.
            for command in [&["migrate"][..], &["shop", "list"], &["doctor"]] {
                let (ok, text) = tokio::task::block_in_place(|| run(&database, command));
                assert!(ok, "{command:?}: {text}");
            }
        }
        let of_login = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'ecomdash_owner'";
        while !load.is_finished() {
            most = most.max(number(&mut superuser, of_login).await);
        }
        let answers: BTreeSet<(u16, u16)> = load.await.unwrap().into_iter().collect();
        assert_eq!(answers, BTreeSet::from([(200, 200)]), "round {round}");
    }
    assert!(
        (16..=22).contains(&most),
        "{most} connections at most: the load was too small, or the pools are too large"
    );
    let mut counted = 0;
    for shop in &shops {
        counted += shop.metrics(DAY, DAY).await.get("orders").unwrap();
    }
    assert_eq!(counted, i64::try_from(id).unwrap());
    for mut process in serve.into_iter().chain(work) {
        assert!(process.terminate().success());
        for words in ["too many clients", "connection slots"] {
            assert!(!process.log().contains(words), "{}", process.log());
        }
    }
    drop(superuser);
    drop(cluster);
    std::fs::remove_dir_all(folder).unwrap();
}

/// As a later release may add to the schema: what an older one does not know of, in every form that is allowed.
const NEXT_SCHEMA: &str = "
    CREATE TABLE of_the_next_release (shop_id uuid NOT NULL PRIMARY KEY, note text);
    ALTER TABLE of_the_next_release ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
    CREATE POLICY tenant ON of_the_next_release USING (shop_id = NULLIF(current_setting('app.current_shop_id', true), '')::uuid);
    GRANT SELECT, INSERT ON of_the_next_release TO ecomdash_app;
    ALTER TABLE heads ADD COLUMN next_note text;
    ALTER TABLE events ADD COLUMN next_note text;
    ALTER TABLE inbox ADD COLUMN next_note text NOT NULL DEFAULT 'none';
    ALTER TABLE checkpoints ADD COLUMN next_note text;
    ALTER TABLE sale_fact ADD COLUMN next_minor bigint NOT NULL DEFAULT 0;
    ALTER TABLE daily_sales ADD COLUMN next_minor bigint NOT NULL DEFAULT 0;
    ALTER TABLE order_list ADD COLUMN next_note text;
    ALTER TABLE work_queue ADD COLUMN next_note text;
    CREATE INDEX of_the_next_release_by_note ON inbox (shop_id, next_note);
    INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
    VALUES (9001, 'of the next release', true, '\\x00', 1)";

/// A rollback: the older build finds the newer one's schema, also when it migrates at its start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_20_this_build_works_on_the_next_release_s_schema() {
    let database = TestDatabase::new().await;
    let mut login = database.login().await;
    login.execute(NEXT_SCHEMA).await.unwrap();
    let (ok, text) = run(&database, &["migrate"]);
    assert!(ok, "{text}");
    let server = Ecomdash::up(&database);
    let shop = Shop::register(&database.open(), &server.url, "UTC", "USD").await;
    for id in 1..=20 {
        assert_eq!(shop.deliver("orders/create", &placed(id)).await, 200);
    }
    assert_eq!(shop.metrics(DAY, DAY).await.get("orders"), Some(20));
    assert_eq!(shop.get("/api/orders").await.0, 200);
    for command in [&["verify"][..], &["rebuild"], &["doctor"]] {
        let (ok, text) = run(&database, command);
        assert!(ok, "{command:?}: {text}");
        assert!(command != ["doctor"] || text.contains("a newer build has been here"), "{text}");
    }
}

/// A new release whose migration has not run yet: it lives, says what it waits for, and needs no restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_20_a_new_build_waits_for_its_schema() {
    // Makes the cluster's role.
    drop(TestDatabase::new().await);
    let database = TestDatabase::empty(Login::Ordinary).await;
    let mut login = database.login().await;
    let older = Migrator {
        migrations: Cow::Owned(MIGRATIONS.migrations.iter().take(MIGRATIONS.migrations.len() - 1).cloned().collect()),
        ..Migrator::DEFAULT
    };
    older.run(&mut login).await.unwrap();
    let serve = Ecomdash::start(&["serve", "--port", "0"], &database, &[]);
    let mut command = command_on(&database);
    command.arg("work");
    let mut work = Ecomdash::work(command);
    let ask = async |path: &str| {
        let answer = ecomdash_tests::client().get(format!("{}{path}", serve.url)).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    assert_eq!(ask("/health").await.0, 200, "it is not to be restarted for it");
    let (status, text) = ask("/health/ready").await;
    assert_eq!(status, 503, "{text}");
    until("both say what they wait for", async || {
        [&serve, &work].iter().all(|process| process.log().contains("waiting for `ecomdash migrate`"))
    })
    .await;
    let (ok, text) = run(&database, &["doctor"]);
    assert!(!ok && text.contains("it is behind this build") && text.contains("→ ecomdash migrate"), "{text}");

    migrate(&database.url).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while ask("/health/ready").await.0 != 200 {
        assert!(Instant::now() < deadline, "it does not get ready");
    }
    let shop = Shop::register(&database.open(), &serve.url, "UTC", "USD").await;
    assert_eq!(shop.deliver("orders/create", &placed(1)).await, 200);
    assert_eq!(shop.metrics(DAY, DAY).await.get("orders"), Some(1));
    assert!(work.terminate().success());
}

/// Where what the last release asks of the database is kept.
const STATEMENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/last_release.json");

/// What this build asks, as the compiler has prepared it.
fn statements() -> Vec<String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../.sqlx");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap());
    let query = |text: String| serde_json::from_str::<Value>(&text).unwrap()["query"].as_str().unwrap().to_owned();
    let mut statements: Vec<String> = files.map(query).collect();
    statements.sort_unstable();
    statements
}

/// While a deploy runs, the old release works on the new schema: a column, table or function that it names is still there.
/// `WRITE_RELEASE=1` keeps what this build asks as the last release's, when it is released.
#[tokio::test]
async fn r_20_what_the_last_release_asks_can_be_asked_of_this_schema() {
    if std::env::var_os("WRITE_RELEASE").is_some() {
        std::fs::write(STATEMENTS, serde_json::to_string_pretty(&statements()).unwrap() + "\n").unwrap();
    }
    let last: Vec<String> = serde_json::from_str(&std::fs::read_to_string(STATEMENTS).unwrap()).unwrap();
    assert!(last.len() > 50);
    let database = TestDatabase::new().await;
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    for statement in &last {
        let prepared = connection.prepare(statement).await;
        assert!(prepared.is_ok(), "{statement}: {}", prepared.err().unwrap());
    }
    // A statement of a column that goes is seen.
    connection.execute("ALTER TABLE inbox RENAME COLUMN reason TO why").await.unwrap();
    let mut fresh = PgConnection::connect(&database.url).await.unwrap();
    let mut refused = 0;
    for statement in &last {
        refused += i32::from(fresh.prepare(statement).await.is_err());
    }
    assert!(refused > 0);
}
