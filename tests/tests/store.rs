//! The log under concurrency and under both kinds of login, and the schema under many migrators.

use chrono::Utc;
use cqrs_es::persist::PersistedEventRepository;
use domain::{
    Command, Personal, ShopId, Subject,
    ids::OrderId,
    order::{Order, OrderCommand},
    shop::{Shop, ShopCommand},
};
use ecomdash_tests::{
    Login, TestDatabase, bare_command,
    bodies::{edit, line, order, refund},
    new_shop, number,
};
use event_store::{Database, Envelope, Metadata, ShopEvents, ShopTx, StoreError, StoredEvent, events, migrate, verify};
use futures::TryStreamExt;
use postgres_es::PostgresEventRepository;
use serde_json::{Value, json};
use shopify::{Context, Translation, translate};
use sqlx::{PgPool, postgres::PgConnectOptions};
use uuid::Uuid;

fn seen(id: u64, note: &str) -> Command {
    seen_at("2026-11-01T12:00:00Z", id, note)
}

fn seen_at(updated_at: &str, id: u64, note: &str) -> Command {
    let body =
        order(id, "2026-11-01T12:00:00Z", vec![line(id, "10.00", 1)]).updated(updated_at).with("note", json!(note));
    told("orders/create", &body.0)
}

fn told(topic: &str, body: &Value) -> Command {
    let body = body.to_string();
    let domain = "x.myshopify.com".parse().unwrap();
    let context = Context {
        topic,
        triggered_at: None,
        digest: shopify::body_digest(body.as_bytes()),
        received_at: Utc::now(),
        domain: &domain,
        shopify_id: None,
        currency: "USD".parse().unwrap(),
    };
    match translate(&context, body.as_bytes()).unwrap() {
        Translation::Commands(mut commands) => commands.remove(0),
        Translation::Ignored(why) => panic!("{why}"),
    }
}

fn observe(id: u64, note: &str) -> Envelope {
    Envelope::new(seen(id, note), Metadata::from_source("sync"))
}

async fn append(store: &Database, shop: ShopId, commands: Vec<Envelope>) -> Result<usize, StoreError> {
    let mut tx = store.begin(shop).await?;
    let appended = tx.execute(commands).await?;
    tx.commit().await?;
    Ok(appended.iter().map(|appended| appended.events).sum())
}

/// The same under a superuser's login, which row-level security would not hold, and under an ordinary one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_writers_leave_one_unbroken_log_per_shop_under_either_login() {
    for login in [Login::Ordinary, Login::Superuser] {
        let database = TestDatabase::empty(login).await;
        migrate(&database.url).await.unwrap();
        // Two processes: what one of them knows of a log, the other makes out of date.
        let (store, other) = (database.open_with(4), database.open_with(4));
        let (ours, theirs) = (new_shop(&store).await, new_shop(&store).await);
        let mut writers = tokio::task::JoinSet::new();
        for writer in 0..8_u64 {
            let store = if writer % 4 < 2 { store.clone() } else { other.clone() };
            let shop = if writer % 2 == 0 { ours } else { theirs };
            writers.spawn(async move {
                for number in 0..20_u64 {
                    // Every writer tells of the same orders, too: only the first one's is news.
                    let commands = [(number, "same"), (1000 * (writer + 1) + number, "own")];
                    if writer < 4 {
                        append(&store, shop, commands.map(|(id, note)| observe(id, note)).into()).await.unwrap();
                    } else {
                        for (id, note) in commands {
                            store.execute(shop, seen(id, note), Metadata::default()).await.unwrap();
                        }
                    }
                }
            });
        }
        writers.join_all().await;
        for shop in [ours, theirs] {
            let verified = verify(&store, shop, |_| {}).await.unwrap();
            assert_eq!((verified.events, verified.fault), (20 + 4 * 20, None), "{login:?}");
            let log: Vec<_> = events(&store, shop, 0, i64::MAX).try_collect().await.unwrap();
            assert!(log.windows(2).all(|pair| pair[0].recorded_at < pair[1].recorded_at), "an instant is one position");
            let some: Vec<_> = events(&store, shop, 10, 15).try_collect().await.unwrap();
            assert_eq!(some.iter().map(|event| event.position).collect::<Vec<_>>(), [11, 12, 13, 14, 15]);
        }
        // Another shop's rows are out of reach, whoever is logged in.
        let mut tx = store.begin(ours).await.unwrap();
        let foreign: i64 = sqlx::query_scalar("SELECT count(*) FROM events WHERE shop_id = $1")
            .bind(theirs.0)
            .fetch_one(&mut *tx)
            .await
            .unwrap();
        assert_eq!(foreign, 0, "{login:?}");
    }
}

#[tokio::test]
async fn a_batch_decides_each_command_on_what_the_ones_before_it_made() {
    let database = TestDatabase::new().await;
    let store = database.open();
    let shop = new_shop(&store).await;
    let delete =
        || Envelope::new(Command::Order(OrderId(1), OrderCommand::ObserveDeletion { at: None }), Metadata::default());
    let events =
        append(&store, shop, vec![observe(1, "a"), observe(1, "a"), delete(), delete(), observe(2, "b")]).await;
    assert_eq!(events.unwrap(), 3);
    assert_eq!(append(&store, shop, vec![observe(1, "a"), delete()]).await.unwrap(), 0, "no difference, no event");
    let mut tx = store.begin(shop).await.unwrap();
    assert!(tx.load::<Order>("1").await.unwrap().deleted);
    assert_eq!(tx.head().await.unwrap().0, 3);

    let nobody = ShopId(Uuid::now_v7());
    assert!(matches!(append(&store, nobody, vec![observe(1, "a")]).await, Err(StoreError::NoSuchShop(_))));
}

/// A key is made where a value is sealed, also if nothing turns out to be new; what comes far behind in the batch may be sealed under it.
#[tokio::test]
async fn a_key_that_was_made_for_nothing_new_is_kept_with_what_is_sealed_under_it_later() {
    let database = TestDatabase::new().await;
    let (store, mut superuser) = (database.open(), database.superuser().await);
    let shop = new_shop(&store).await;
    let envelope = |topic: &str, body: &Value| Envelope::new(told(topic, body), Metadata::default());
    let refund = refund(70, 7, "2026-11-02T12:00:00Z").with("note", json!("arrived in tatters"));
    let order = order(7, "2026-11-01T12:00:00Z", vec![line(1, "10.00", 2)]).with("customer", json!({ "id": 42 }));
    let order = order.updated("2026-11-03T12:00:00Z").refunded(&refund).0;
    assert!(append(&store, shop, vec![envelope("orders/updated", &order)]).await.unwrap() > 0);
    let keys = "SELECT count(*) FROM subject_keys WHERE subject = 'order:7'";
    assert_eq!(number(&mut superuser, keys).await, 0, "all of it is the customer's");
    // What is known already, more of it than is decided at once, and then a note of the order's own.
    let mut batch = vec![envelope("refunds/create", &refund.0)];
    batch.extend((0..500).map(|_| envelope("orders/updated", &order)));
    let mut edited = edit(9, 7, "2026-11-04T12:00:00Z", &[], &[]);
    edited["order_edit"]["staff_note"] = json!("wrapped in gold");
    batch.push(envelope("orders/edited", &edited));
    assert_eq!(append(&store, shop, batch).await.unwrap(), 1);

    let mut tx = store.begin(shop).await.unwrap();
    let key = event_store::shop_key(&mut tx).await.unwrap();
    let subjects = [Subject::Order(OrderId(7))].into();
    let keys = tx.subject_keys(&key, &subjects).await.unwrap();
    let log: Vec<StoredEvent> = events(&store, shop, 0, i64::MAX).try_collect().await.unwrap();
    let values = ShopTx::values_of(&log, &subjects);
    assert_eq!(values.len(), 1);
    assert_eq!(values[0].open(&keys[&Subject::Order(OrderId(7))]).unwrap(), br#""wrapped in gold""#);
}

/// What a process knows from a moment ago never decides alone: neither what was there, nor what was not, nor a key.
#[tokio::test]
async fn a_single_command_is_decided_on_the_log_as_it_is() {
    let database = TestDatabase::new().await;
    let (ours, other) = (database.open(), database.open());
    let shop = new_shop(&ours).await;
    let told = async |id: u64, note: &str| {
        let appended = ours.execute(shop, seen(id, note), Metadata::default()).await.unwrap();
        (appended.events, appended.position)
    };
    assert_eq!(told(1, "a").await, (1, 1));
    assert_eq!(told(2, "a").await, (1, 2), "on a shop that is known, an order that is not");
    assert_eq!(told(1, "a").await, (0, 2), "nothing new");
    // Another process moves the head.
    append(&other, shop, vec![observe(3, "a"), observe(4, "a")]).await.unwrap();
    assert_eq!(told(3, "a").await, (0, 4), "what the other one told is no news");
    // The other one's order is taken for new by a process that knows the shop at its newest head.
    assert_eq!(told(5, "a").await, (1, 5));
    assert_eq!(told(4, "a").await, (0, 5));

    // A key is destroyed in a transaction that moves the head, as every transaction does that destroys one.
    assert_eq!(told(6, "before").await, (1, 6));
    let mut tx = other.begin(shop).await.unwrap();
    sqlx::query("UPDATE subject_keys SET wrapped = NULL, destroyed_at = now() WHERE subject = 'customer:5000006'")
        .execute(&mut *tx)
        .await
        .unwrap();
    tx.execute(vec![observe(7, "a")]).await.unwrap();
    tx.commit().await.unwrap();
    let after = seen_at("2026-11-02T12:00:00Z", 6, "after");
    assert_eq!(ours.execute(shop, after, Metadata::default()).await.unwrap().events, 1);
    let mut history = Vec::new();
    let mut log = events(&ours, shop, 0, i64::MAX);
    while let Some(event) = log.try_next().await.unwrap() {
        history.extend((event.aggregate_id == "6").then_some(event.payload));
    }
    assert!(!history[0].contains("[redacted]"), "{}", history[0]);
    assert!(history[1].contains("[redacted]"), "{}", history[1]);
    assert_eq!(verify(&ours, shop, |_| {}).await.unwrap().fault, None);

    let nobody = ShopId(Uuid::now_v7());
    let refused = ours.execute(nobody, seen(1, "a"), Metadata::default()).await;
    assert!(matches!(refused, Err(StoreError::NoSuchShop(_))), "{refused:?}");
}

/// A transaction whose beginning nobody waits for any more is not left open on a connection that others then use.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_beginning_that_is_given_up_leaves_nothing_open() {
    let database = TestDatabase::new().await;
    let store = database.open_with(2);
    let shop = new_shop(&store).await;
    for polls in (1..20).cycle().take(400) {
        let mut beginning = Box::pin(store.begin(shop));
        for _ in 0..polls {
            if futures::FutureExt::now_or_never(&mut beginning).is_some() {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    for _ in 0..4 {
        let mut held = Vec::new();
        for _ in 0..2 {
            let mut connection = store.acquire().await.unwrap();
            let role: String =
                sqlx::query_scalar("SELECT current_user::text").fetch_one(&mut *connection).await.unwrap();
            assert_eq!(role, "ecomdash_owner", "a transaction with its role was left open");
            held.push(connection);
        }
    }
}

/// Somebody who waits for a connection gets the one that a single command has done with.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_a_connection_comes_before_the_next_single_command() {
    let database = TestDatabase::new().await;
    let store = database.open_with(2);
    let mut shops = Vec::new();
    for _ in 0..4 {
        shops.push(new_shop(&store).await);
    }
    let stop = tokio_util::sync::CancellationToken::new();
    let mut writers = Vec::new();
    for shop in shops.clone() {
        let (store, stop) = (store.clone(), stop.clone());
        writers.push(tokio::spawn(async move {
            let mut id = 0;
            while !stop.is_cancelled() {
                id += 1;
                store.execute(shop, seen(id, "a"), Metadata::default()).await.unwrap();
            }
            id
        }));
    }
    for _ in 0..50 {
        // Would time out after three seconds if the writers handed their connections to each other.
        store.begin(shops[0]).await.expect("a connection").commit().await.unwrap();
    }
    stop.cancel();
    for writer in writers {
        assert!(writer.await.unwrap() > 0);
    }
}

/// A stand-by that takes over may lack the newest events, and hold others at their positions a moment later.
#[tokio::test]
async fn a_single_command_is_not_decided_on_events_that_a_failover_lost() {
    let database = TestDatabase::new().await;
    let (ours, other) = (database.open(), database.open());
    let shop = new_shop(&ours).await;
    ours.execute(shop, seen(1, "a"), Metadata::default()).await.unwrap();
    ours.execute(shop, seen(2, "lost"), Metadata::default()).await.unwrap();
    let mut superuser = database.superuser().await;
    let lost = "ALTER TABLE events DISABLE TRIGGER USER;
                DELETE FROM events WHERE position = 2;
                UPDATE heads h SET position = 1, hash = e.hash FROM events e WHERE e.position = 1;
                ALTER TABLE events ENABLE TRIGGER USER";
    sqlx::raw_sql(lost).execute(&mut superuser).await.unwrap();
    append(&other, shop, vec![observe(3, "a")]).await.unwrap();
    // The head stands where this process left it, and is another.
    let news = ours.execute(shop, seen(9, "a"), Metadata::default()).await.unwrap();
    assert_eq!((news.events, news.position), (1, 3));
    let again = ours.execute(shop, seen(2, "lost"), Metadata::default()).await.unwrap();
    assert_eq!((again.events, again.position), (1, 4), "what was lost is told again");
    assert_eq!(verify(&ours, shop, |_| {}).await.unwrap().fault, None);
}

/// Its buyer's key is another's, so that only the order's own says that nothing of it is kept.
#[tokio::test]
async fn a_single_command_keeps_nothing_of_an_order_that_was_erased_before_it_was_known() {
    let database = TestDatabase::new().await;
    let store = database.open();
    let shop = new_shop(&store).await;
    let mut superuser = database.superuser().await;
    let destroyed = "INSERT INTO subject_keys (shop_id, subject, destroyed_at) VALUES ($1, 'order:7', now())";
    sqlx::query(destroyed).bind(shop.0).execute(&mut superuser).await.unwrap();
    for id in [1, 7, 8] {
        // The log's head and keys are known by the second, which looks up no more than it must.
        store.execute(shop, seen(id, "ring twice"), Metadata::default()).await.unwrap();
    }
    let kept: Vec<String> = sqlx::query_scalar(
        r#"SELECT aggregate_id FROM events WHERE payload::text LIKE '%"by":"customer:%' ORDER BY position"#,
    )
    .fetch_all(&mut superuser)
    .await
    .unwrap();
    assert_eq!(kept, ["1", "8"]);
}

/// Connections that single commands keep to themselves are there for whoever needs one.
#[tokio::test]
async fn kept_connections_starve_nobody() {
    let database = TestDatabase::new().await;
    let store = database.open_with(2);
    let shop = new_shop(&store).await;
    for id in 0..20 {
        store.execute(shop, seen(id, "a"), Metadata::default()).await.unwrap();
        let (one, two) = (store.begin(shop).await.unwrap(), store.begin(shop).await.unwrap());
        drop((one, two));
    }
    store.execute(shop, seen(21, "a"), Metadata::default()).await.unwrap();
    store.close().await;
    assert!(store.execute(shop, seen(22, "a"), Metadata::default()).await.is_err());
}

/// What is looked up for a command is found by its key, also by plans that were made while there was nothing.
#[tokio::test]
async fn single_commands_read_what_they_name() {
    const COMMANDS: u64 = 400;
    let database = TestDatabase::new().await;
    let store = database.open();
    let shop = new_shop(&store).await;
    for id in 1..=COMMANDS {
        store.execute(shop, seen(id, "a"), Metadata::default()).await.unwrap();
    }
    store.close().await;
    let mut superuser = database.superuser().await;
    let mut read = (0, 0);
    // Backends report what they read when they end.
    for _ in 0..50 {
        read = sqlx::query_as(
            "SELECT max(n_tup_ins), max(COALESCE(seq_tup_read, 0) + COALESCE(idx_tup_fetch, 0))
             FROM pg_stat_user_tables WHERE relname IN ('events', 'subject_keys')",
        )
        .fetch_one(&mut superuser)
        .await
        .unwrap();
        if read.0 >= COMMANDS.cast_signed() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert!(read.0 >= COMMANDS.cast_signed(), "{read:?}");
    assert!(read.1 < 10 * COMMANDS.cast_signed(), "{} rows were read for {COMMANDS} commands", read.1);
}

#[tokio::test]
async fn what_a_newer_build_wrote_is_told_apart_from_what_is_broken() {
    let database = TestDatabase::new().await;
    let store = database.open();
    let shop = new_shop(&store).await;
    append(&store, shop, vec![observe(1, "a"), observe(2, "b")]).await.unwrap();
    let mut superuser = database.superuser().await;
    sqlx::raw_sql(
        "ALTER TABLE events DISABLE TRIGGER ALL;
         UPDATE events SET event_version = '99' WHERE aggregate_id = '1';
         UPDATE events SET payload = '{\"OrderPlaced\": {}}' WHERE aggregate_id = '2'",
    )
    .execute(&mut superuser)
    .await
    .unwrap();
    let mut tx = store.begin(shop).await.unwrap();
    assert!(matches!(tx.load::<Order>("1").await, Err(StoreError::Newer { .. })));
    assert!(matches!(tx.load::<Order>("2").await, Err(StoreError::Unreadable { .. })));
}

#[tokio::test]
async fn cqrs_es_reads_one_aggregate_s_history_and_may_not_write() {
    let database = TestDatabase::new().await;
    let store = database.open();
    let shop = new_shop(&store).await;
    let register = ShopCommand::Register {
        domain: Personal::Clear("x.myshopify.com".into()),
        shopify_id: None,
        timezone: "UTC".parse().unwrap(),
        currency: "USD".parse().unwrap(),
        at: Utc::now(),
    };
    append(&store, shop, vec![Envelope::new(Command::Shop(register), Metadata::default()), observe(1, "a")])
        .await
        .unwrap();
    let repository = ShopEvents::new(store.begin(shop).await.unwrap());
    let history = repository.get_events::<Shop>(Shop::ID).await.unwrap();
    assert_eq!((history.len(), history[0].sequence, &*history[0].event_type), (1, 1, "ShopRegistered"));
    assert!(repository.get_last_events::<Order>("1", 1).await.unwrap().is_empty());
    assert!(repository.persist::<Shop>(&history, None).await.is_err());
    assert!(repository.into_tx().is_some());
}

/// What cqrs-es may expect of whoever reads histories. Order 1 has two events, order 2 has one, order 3 has none.
async fn reads_histories(repository: &impl PersistedEventRepository, log: &[StoredEvent]) {
    for id in ["1", "2", "3"] {
        let expected: Vec<_> = log.iter().filter(|event| event.aggregate_id == id).collect();
        let history = repository.get_events::<Order>(id).await.unwrap();
        assert_eq!(history.len(), expected.len(), "order {id}");
        for (event, stored) in history.iter().zip(&expected) {
            let read = (event.sequence as i64, &event.aggregate_type, &event.aggregate_id, &event.event_type);
            assert_eq!(read, (stored.sequence, &stored.aggregate_type, &stored.aggregate_id, &stored.event_type));
            assert_eq!(event.event_version, stored.event_version);
            assert_eq!(event.payload, serde_json::from_str::<serde_json::Value>(&stored.payload).unwrap());
            assert_eq!(event.metadata, serde_json::from_str::<serde_json::Value>(&stored.metadata).unwrap());
        }
        let later = repository.get_last_events::<Order>(id, 1).await.unwrap();
        assert_eq!(later.len(), expected.len().saturating_sub(1), "order {id}, after the first");
        let mut stream = repository.stream_events::<Order>(id).await.unwrap();
        let mut streamed = 0;
        while let Some(event) = stream.next::<Order>(&[]).await {
            assert_eq!(event.unwrap().sequence, history[streamed].sequence);
            streamed += 1;
        }
        assert_eq!(streamed, expected.len(), "order {id}, as a stream");
        assert!(repository.get_events::<Shop>(id).await.unwrap().is_empty(), "another type with the same id");
    }
}

/// Our repository and postgres-es's own, over the same table and under the same policies.
#[tokio::test]
async fn postgres_es_reads_a_shop_s_log_as_ours_does_and_no_other_shop_s() {
    let database = TestDatabase::new().await;
    let store = database.open();
    let (ours, theirs) = (new_shop(&store).await, new_shop(&store).await);
    let deleted = Command::Order(OrderId(1), OrderCommand::ObserveDeletion { at: None });
    let commands = vec![observe(1, "a"), observe(2, "b"), Envelope::new(deleted, Metadata::from_source("sync"))];
    append(&store, ours, commands).await.unwrap();
    append(&store, theirs, vec![observe(1, "theirs")]).await.unwrap();
    let log: Vec<_> = events(&store, ours, 0, i64::MAX).try_collect().await.unwrap();
    assert_eq!(log.len(), 3);
    reads_histories(&ShopEvents::new(store.begin(ours).await.unwrap()), &log).await;

    let connect: PgConnectOptions = database.url.parse().unwrap();
    let of_shop = |shop: &str| connect.clone().options([("role", "ecomdash_app"), ("app.current_shop_id", shop)]);
    let pool = PgPool::connect_with(of_shop(&ours.to_string())).await.unwrap();
    reads_histories(&PostgresEventRepository::new(pool), &log).await;
    let nobody = PgPool::connect_with(of_shop("")).await.unwrap();
    assert!(PostgresEventRepository::new(nobody).get_events::<Order>("1").await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_processes_that_migrate_at_once_make_one_schema() {
    let database = TestDatabase::empty(Login::Ordinary).await;
    let mut processes: Vec<_> = (0..10)
        .map(|_| {
            let mut command = bare_command(&std::env::temp_dir());
            command.env("DATABASE_URL", &database.url).env("ENCRYPTION_KEYS", &database.encryption_keys);
            command.arg("migrate").stdout(std::process::Stdio::null()).spawn().unwrap()
        })
        .collect();
    for process in &mut processes {
        assert!(process.wait().unwrap().success());
    }
    let mut login = database.login().await;
    assert!(event_store::schema_is_current(&mut login).await.unwrap());
    assert!(migrate(&database.url).await.is_ok(), "and once more");
}

#[tokio::test]
async fn a_key_ring_that_cannot_open_what_is_stored_is_refused_at_the_start() {
    let database = TestDatabase::new().await;
    let (ok, text) = ecomdash_tests::run(
        &database,
        &["shop", "register", "a.myshopify.com", "--timezone", "UTC", "--currency", "USD"],
    );
    assert!(ok, "{text}");
    let other = vault::MasterRing::generate_key().unwrap();
    let mut command = bare_command(&std::env::temp_dir());
    command.env("DATABASE_URL", &database.url).env("ENCRYPTION_KEYS", &other);
    let output = command.args(["shop", "list"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && text.contains("cannot open the keys"), "{text}");
    assert!(!text.contains(&other), "no key is shown");
}
