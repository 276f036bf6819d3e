//! A backup, and what is restored from it: the same figures, the same chain.

use std::{
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::Path,
    process::Command,
    time::Duration,
};

use api::Role;
use ecomdash_tests::{
    Cluster, Ecomdash, Shop, TestDatabase,
    bodies::{line, order, refund},
    command_on, free_folder, number,
    planted::{Handler, World, bodies},
    repository::{said, script, write_program},
    run, until,
};
use rustix::process::{Pid, Signal, kill_process_group};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sqlx::PgConnection;

const PERIOD: (&str, &str) = ("2026-11-01", "2026-11-30");

fn placed(id: u64) -> Value {
    order(id, "2026-11-01T12:00:00Z", vec![line(id, "10.00", 2)]).0
}

/// Tenant tables that the owner passes.
async fn lifted(superuser: &mut PgConnection) -> i64 {
    let sql = "SELECT count(*) FROM pg_class
               WHERE relnamespace = 'public'::regnamespace AND relrowsecurity AND NOT relforcerowsecurity";
    number(superuser, sql).await
}

/// Every answer that shows a figure or an order, without what tells when it was asked.
async fn figures(shop: &Shop) -> Vec<Value> {
    let mut answers = vec![shop.stats(PERIOD.0, PERIOD.1).await];
    for path in [
        format!("/api/dashboard/series?metric=total_sales&granularity=day&from={}&to={}", PERIOD.0, PERIOD.1),
        "/api/orders?limit=250".to_owned(),
    ] {
        let (status, answer) = shop.get(&path).await;
        assert_eq!(status, 200, "{answer}");
        answers.push(answer);
    }
    answers
}

fn hashes(database: &TestDatabase) -> Vec<Value> {
    let (ok, text) = run(database, &["verify", "--json"]);
    assert!(ok, "{text}");
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn doctor(database: &TestDatabase) -> (bool, String) {
    run(database, &["doctor", "--after-restore"])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_21_what_is_restored_into_an_empty_cluster_has_the_same_figures_and_the_same_chain() {
    let folder = free_folder();
    let dump = folder.join("ecomdash.dump");
    let dump = dump.to_str().unwrap();
    let database = TestDatabase::new().await;
    let mut superuser = database.superuser().await;
    let server = Ecomdash::up(&database);
    let store = database.open();
    let shops = [
        Shop::register(&store, &server.url, "America/New_York", "USD").await,
        Shop::register(&store, &server.url, "Asia/Tokyo", "USD").await,
    ];
    for shop in &shops {
        for id in 1..=40 {
            assert_eq!(shop.deliver("orders/create", &placed(id)).await, 200);
        }
        for id in 1..=5 {
            let body = refund(900 + id, id, "2026-11-10T12:00:00Z").line(id, 1, "10.00", "0.00", "return").0;
            assert_eq!(shop.deliver("refunds/create", &body).await, 200);
        }
        assert_eq!(shop.deliver("orders/create", &Value::String("no order".into())).await, 200);
    }
    let mut before = Vec::new();
    for shop in &shops {
        before.push(figures(shop).await);
    }
    let chain = hashes(&database);
    assert_eq!(chain.len(), 2);

    let (ok, text) = tokio::task::block_in_place(|| said(&mut script("backup", &database.url, &[dump])));
    assert!(ok, "{text}");
    assert_eq!(lifted(&mut superuser).await, 0, "row-level security holds again");
    assert_eq!(std::fs::metadata(dump).unwrap().permissions().mode() & 0o77, 0, "only its owner reads it");
    let (ok, text) = said(&mut script("backup", &database.url, &[dump]));
    assert!(!ok && text.contains("is there already"), "{text}");
    // What the old one is told after the backup is not in it.
    assert_eq!(shops[0].deliver("orders/create", &placed(41)).await, 200);
    shops[0].stats(PERIOD.0, PERIOD.1).await;

    // Another server: it has not even the role.
    let cluster = Cluster::own(&folder.join("elsewhere"));
    let mut restored = TestDatabase::empty_at(&cluster).await;
    restored.encryption_keys.clone_from(&database.encryption_keys);
    let mut elsewhere = restored.superuser().await;
    let (ok, text) = run(&restored, &["doctor"]);
    assert!(!ok && text.contains("there is no role ecomdash_app"), "{text}");
    let (ok, text) = tokio::task::block_in_place(|| said(&mut script("restore", &restored.url, &[dump])));
    assert!(ok, "{text}");
    let (ok, text) = said(&mut script("restore", &restored.url, &[dump]));
    assert!(!ok && text.contains("is not empty"), "{text}");
    let wrong = restored.url.replace("canary-of-the-login", "some-other-login");
    let (ok, text) = said(&mut script("restore", &wrong, &[dump]));
    assert!(!ok && text.contains("password authentication failed") && !text.contains("not empty"), "{text}");

    // As the dump was taken: lifted. The doctor sees it, and `migrate` mends it.
    assert!(lifted(&mut elsewhere).await > 0);
    let (ok, text) = doctor(&restored);
    assert!(!ok && text.contains("row-level security is lifted on"), "{text}");
    let (ok, text) = run(&restored, &["migrate"]);
    assert!(ok, "{text}");
    assert_eq!(lifted(&mut elsewhere).await, 0);
    let (ok, text) = doctor(&restored);
    assert!(ok, "{text}");
    for words in ["every chain unbroken", "made anew from the logs, they are the same", "tokens", "since then"] {
        assert!(text.contains(words), "{words} is missing: {text}");
    }

    assert_eq!(hashes(&restored), chain);
    let second = Ecomdash::up(&restored);
    for (shop, before) in shops.iter().zip(&before) {
        assert_eq!(figures(&shop.at(&second.url)).await, *before);
    }
    let (ok, text) = run(&restored, &["rebuild"]);
    assert!(ok && text.matches("the same figures").count() == 4, "{text}");
    for (shop, before) in shops.iter().zip(&before) {
        assert_eq!(figures(&shop.at(&second.url)).await, *before);
    }
    // It goes on: what is told again is known, what is new counts.
    let shop = shops[0].at(&second.url);
    for id in 40..=42 {
        assert_eq!(shop.deliver("orders/create", &placed(id)).await, 200);
    }
    assert_eq!(shop.metrics(PERIOD.0, PERIOD.1).await.get("orders"), Some(42));

    // Damage is seen: an event that a restore left out, and keys that are others.
    let (ok, text) =
        doctor(&TestDatabase { encryption_keys: TestDatabase::new().await.encryption_keys, ..clone(&restored) });
    assert!(!ok && text.contains("ENCRYPTION_KEYS cannot open"), "{text}");
    sqlx::raw_sql(
        "ALTER TABLE events DISABLE TRIGGER USER; DELETE FROM events WHERE position = 20;
         ALTER TABLE events ENABLE TRIGGER USER",
    )
    .execute(&mut elsewhere)
    .await
    .unwrap();
    let (ok, text) = doctor(&restored);
    assert!(!ok && text.contains("position 20"), "{text}");
    drop((second, elsewhere, cluster));
    std::fs::remove_dir_all(folder).unwrap();
}

fn clone(database: &TestDatabase) -> TestDatabase {
    TestDatabase {
        name: database.name.clone(),
        url: database.url.clone(),
        superuser_url: database.superuser_url.clone(),
        encryption_keys: database.encryption_keys.clone(),
    }
}

/// A `pg_dump` on the path that does something else.
fn with_pg_dump(command: &mut Command, folder: &Path, version: &str, does: &str) {
    let version = format!("[ \"$1\" != --version ] || {{ echo 'pg_dump (PostgreSQL) {version}'; exit; }}");
    write_program(&folder.join("pg_dump"), &format!("{version}\n{does}"));
    command.env("ECOMDASH_PG_BIN", folder);
}

/// Whatever ends a backup, nothing is taken for one, and row-level security holds again: at once, or after `migrate`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_fails_leaves_no_file_and_lifts_nothing_for_long() {
    let folder = free_folder();
    let dump = folder.join("ecomdash.dump");
    let database = TestDatabase::new().await;
    let mut superuser = database.superuser().await;

    let mut failing = script("backup", &database.url, &[dump.to_str().unwrap()]);
    with_pg_dump(&mut failing, &folder, "99.1", "exit 3");
    let (ok, text) = said(&mut failing);
    assert!(!ok && !dump.exists(), "{text}");
    assert_eq!(lifted(&mut superuser).await, 0);

    let mut older = script("backup", &database.url, &[dump.to_str().unwrap()]);
    with_pg_dump(&mut older, &folder, "9.6.24", "exit 3");
    let (ok, text) = said(&mut older);
    assert!(!ok && text.contains("which pg_dump of 9 cannot read"), "{text}");

    // Where nobody has chosen, the server's own are taken, if they are where packages put them.
    let mut found = script("backup", &database.url, &[dump.to_str().unwrap()]);
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let (ok, text) = said(found.env_remove("ECOMDASH_PG_BIN").env("PATH", path));
    let server = number(&mut superuser, "SELECT current_setting('server_version_num')::bigint / 10000").await;
    let folders = ["/usr/lib/postgresql/", "/opt/homebrew/opt/postgresql@", "/usr/local/opt/postgresql@"];
    if folders.iter().any(|folder| Path::new(&format!("{folder}{server}/bin/pg_dump")).exists()) {
        assert!(ok, "{text}");
        std::fs::remove_file(&dump).unwrap();
    } else {
        assert!(!ok && text.contains("which pg_dump of 9 cannot read"), "{text}");
    }

    let mut hanging = script("backup", &database.url, &[dump.to_str().unwrap()]);
    with_pg_dump(&mut hanging, &folder, "99.1", "exec sleep 600");
    let mut child = hanging.process_group(0).spawn().unwrap();
    until("it is lifted", async || lifted(&mut superuser).await > 0).await;
    // While it is, those who serve are held by it all the same.
    let mut login = database.login().await;
    sqlx::raw_sql("SET ROLE ecomdash_app").execute(&mut login).await.unwrap();
    assert_eq!(number(&mut login, "SELECT count(*) FROM heads").await, 0);
    tokio::time::sleep(Duration::from_millis(200)).await;
    kill_process_group(Pid::from_child(&child), Signal::KILL).unwrap(); // and what hangs
    child.wait().unwrap();
    let (ok, text) = run(&database, &["doctor"]);
    assert!(!ok && text.contains("then ecomdash migrate"), "{text}");
    let (ok, text) = run(&database, &["migrate"]);
    assert!(ok, "{text}");
    assert_eq!(lifted(&mut superuser).await, 0);
    assert!(!dump.exists());
    let partial = folder.join("ecomdash.dump.partial");
    let (ok, text) = said(&mut script("backup", &database.url, &[dump.to_str().unwrap()]));
    assert!(!ok && text.contains("or one was killed"), "{text}");
    std::fs::remove_file(partial).unwrap();

    let wrong = database.url.replace("canary-of-the-login", "some-other-login");
    let (ok, text) = said(&mut script("backup", &wrong, &[dump.to_str().unwrap()]));
    assert!(!ok && text.contains("password authentication failed") && !text.contains("some-other"), "{text}");
    std::fs::remove_dir_all(folder).unwrap();
}

/// What has nothing to do with us is left alone, and nobody waits for what a dump holds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backups_and_migrations_touch_only_what_is_ours_and_wait_for_no_dump() {
    let folder = free_folder();
    let dump = folder.join("ecomdash.dump");
    let dump = dump.to_str().unwrap();
    let database = TestDatabase::new().await;
    let mut superuser = database.superuser().await;
    let foreign = "CREATE TABLE theirs (shop_id text); ALTER TABLE theirs ENABLE ROW LEVEL SECURITY;
                   CREATE POLICY own ON theirs; ALTER TABLE theirs OWNER TO ecomdash_owner";
    sqlx::raw_sql(foreign).execute(&mut superuser).await.unwrap();
    let role = format!("reader_{}", database.name);
    sqlx::raw_sql(&format!("CREATE ROLE {role}; GRANT SELECT ON daily_sales TO {role}"))
        .execute(&mut superuser)
        .await
        .unwrap();

    // A file of another backup, or of one that was killed.
    std::fs::create_dir(format!("{dump}.partial")).unwrap();
    let (ok, text) = said(&mut script("backup", &database.url, &[dump]));
    assert!(!ok && text.contains("another backup"), "{text}");
    assert_eq!(lifted(&mut superuser).await, 1);
    std::fs::remove_dir(format!("{dump}.partial")).unwrap();
    let (ok, text) = said(&mut script("backup", &database.url, &["-x.dump"]));
    assert!(!ok && text.contains("usage"), "{text}");
    let in_the_query = format!("{}&password=canary-27c1", database.url);
    let (ok, text) = said(&mut script("backup", &in_the_query, &[dump]));
    assert!(!ok && text.contains("is of the form") && !text.contains("canary"), "{text}");

    let (ok, text) = tokio::task::block_in_place(|| said(&mut script("backup", &database.url, &[dump])));
    assert!(ok && text.contains(&database.name), "{text}");
    assert_eq!(lifted(&mut superuser).await, 1, "theirs");

    // A dump holds a table whose row-level security is lifted: `migrate` leaves it and ends, and readers do not wait.
    let mut dumping = database.superuser().await;
    for sql in ["ALTER TABLE events NO FORCE ROW LEVEL SECURITY", "BEGIN; LOCK TABLE events IN ACCESS SHARE MODE"] {
        sqlx::raw_sql(sql).execute(&mut dumping).await.unwrap();
    }
    let (ok, text) = tokio::task::block_in_place(|| run(&database, &["migrate"]));
    assert!(
        ok && text.contains("stays so for now") && text.contains("events") && text.contains(&database.name),
        "{text}"
    );
    assert_eq!(lifted(&mut superuser).await, 2);
    sqlx::raw_sql("COMMIT").execute(&mut dumping).await.unwrap();
    let (ok, text) = run(&database, &["migrate"]);
    assert!(ok && text.contains("holds again"), "{text}");
    assert_eq!(lifted(&mut superuser).await, 1);

    // A server without a role that the dump grants something to.
    sqlx::raw_sql(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).execute(&mut superuser).await.unwrap();
    let empty = TestDatabase::empty(ecomdash_tests::Login::Ordinary).await;
    let (ok, text) = said(&mut script("restore", &empty.url, &[dump]));
    assert!(!ok && text.contains(&format!("CREATE ROLE {role} NOLOGIN")), "{text}");
    std::fs::remove_dir_all(folder).unwrap();
}

/// A restore brings back whoever was erased since the backup. What was kept of it elsewhere erases them again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whom_a_restore_brings_back_is_erased_again_by_the_receipts() {
    let folder = free_folder();
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let (dump, receipts) = (path("ecomdash.dump"), path("receipts.jsonl"));
    let world = World::on(TestDatabase::new().await, &[("RECEIPTS_FILE", &receipts)]).await;
    world.deliver_all(&bodies("2026-11-01T12:00:00Z")).await;
    let other = Shop::register(&world.store, &world.server.url, "UTC", "USD").await;
    assert_eq!(other.deliver("orders/create", &placed(1)).await, 200);
    other.stats(PERIOD.0, PERIOD.1).await;
    // Some of what is about them waits when the backup is made: an order that nobody has told of, and what hangs on it.
    let domain = &world.shop.domain;
    assert!(run(&world.database, &["shop", "pause", domain]).0);
    let mut waiting = bodies("2026-11-02T12:00:00Z");
    let new_order = order(6, "2026-11-01T12:00:00Z", vec![line(6, "10.00", 1)])
        .with("customer", json!({ "id": 42, "first_name": "Zebedee" }))
        .with("note", json!("please ring twice"));
    let of_it = refund(6, 6, "2026-11-02T12:00:00Z").with("note", json!("arrived in tatters"));
    waiting.extend([("refunds/create", of_it.0), ("orders/create", new_order.0)]);
    for (topic, body) in &waiting {
        assert_eq!(world.shop.deliver(topic, body).await, 200, "{topic}");
    }
    let (ok, text) = tokio::task::block_in_place(|| said(&mut script("backup", &world.database.url, &[&dump])));
    assert!(ok, "{text}");
    assert!(run(&world.database, &["shop", "pause", domain, "--resume"]).0);
    world.shop.stats(PERIOD.0, PERIOD.1).await;

    let erase = async |shop: &Shop, body: Value| {
        let mut handlers = Vec::new();
        for _ in 0..2 {
            let token = ecomdash_tests::issue_token(&world.store, Some(shop.id), Role::Compliance, None).await.unwrap();
            handlers.push(Handler { token: token.secret.expose_secret().to_owned(), url: &world.server.url });
        }
        let (_, asked) = handlers[0].ask(&body).await;
        let path = format!("/api/compliance/redactions/{}", asked["id"].as_str().unwrap());
        assert_eq!(handlers[1].post(&format!("{path}/confirm"), &ecomdash_tests::why()).await.0, 200);
        until("it is certified", async || handlers[0].get(&path).await.1["status"] == "certified").await;
    };
    // That they are meant is known by news that the backup lacks.
    let merged = ecomdash_tests::bodies::merge(43, 42);
    world.deliver_all(&[("customers/merge", merged)]).await;
    erase(&world.shop, json!({ "kind": "customer", "customer_id": "43", "reason": "case 40" })).await;
    erase(&other, json!({ "kind": "shop", "reason": "case 41" })).await;
    let lines = || std::fs::read_to_string(&receipts).unwrap().lines().filter(|line| !line.is_empty()).count();
    until("both receipts are kept", async || lines() == 2).await;
    let (ok, printed) = run(&world.database, &["redact", "receipts"]);
    assert!(ok && printed.lines().filter(|line| line.starts_with('{')).count() == 2, "{printed}");
    assert_eq!(World::found_in(&std::fs::read_to_string(&receipts).unwrap()), [""; 0]);

    let cluster = Cluster::own(&folder.join("elsewhere"));
    let mut restored = TestDatabase::empty_at(&cluster).await;
    restored.encryption_keys.clone_from(&world.database.encryption_keys);
    let (ok, text) = tokio::task::block_in_place(|| said(&mut script("restore", &restored.url, &[&dump])));
    assert!(ok, "{text}");
    assert!(run(&restored, &["migrate"]).0);
    let redo = |file: &str| {
        let mut command = command_on(&restored);
        command.args(["doctor", "--after-restore", "--receipts", file]).env("SIGNING_KEYS", &world.seed);
        said(&mut command)
    };
    let (ok, text) = run(&restored, &["doctor", "--after-restore"]);
    assert!(ok && text.contains("whoever was erased after the backup is back"), "{text}");
    // One that somebody changed is not followed.
    let changed = std::fs::read_to_string(&receipts).unwrap().replacen("customer:42", "customer:44", 2);
    std::fs::write(path("changed"), changed + "half a li").unwrap();
    let (ok, text) = redo(&path("changed"));
    assert!(
        !ok && text.contains("1 are done again, 0 were not undone; 1 receipts are of no key of SIGNING_KEYS, 1 lines"),
        "{text}"
    );
    let (ok, text) = redo(&receipts);
    assert!(ok && text.contains("1 were undone and are done again, 1 were not undone"), "{text}");
    let (ok, text) = redo(&receipts);
    assert!(ok && text.contains("0 were undone and are done again, 2 were not undone"), "{text}");
    assert_eq!(number(&mut restored.superuser().await, "SELECT count(*) FROM directory").await, 1);
    let pending = "SELECT count(*) FROM inbox WHERE status = 'pending'";
    let again = world.as_in(restored, &[]);
    assert_eq!(World::found_in(&again.readable().await), [""; 0]);
    assert!(run(&again.database, &["shop", "pause", domain, "--resume"]).0);
    let mut superuser = again.database.superuser().await;
    until("nothing waits", async || number(&mut superuser, pending).await == 0).await;
    assert_eq!(World::found_in(&again.readable().await), [""; 0], "nor in what had waited");
    assert_eq!(again.shop.stats(PERIOD.0, PERIOD.1).await["metrics"]["orders"], 2, "no sale is lost");
}
