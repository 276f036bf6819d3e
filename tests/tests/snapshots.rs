//! Snapshots against Postgres: what they spare, and that nothing depends on them.

use std::{
    io,
    sync::{Arc, Mutex},
};

use chrono::{DateTime, Duration, Utc};
use cqrs_es::Aggregate;
use domain::{
    Command, Digest, Personal, ShopId, Version,
    customer::{CustomerCommand, Person, Profile},
    ids::{CustomerId, InventoryItemId, LocationId, ProductId, VariantId},
    inventory::{InventoryCommand, InventoryEvent, InventoryItem, Level},
    product::{ProductCommand, Variant, VariantText},
};
use ecomdash_tests::{TestDatabase, new_shop, random::seed};
use event_store::{Database, Envelope, Metadata, ShopTx, events, verify};
use futures::TryStreamExt;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use sqlx::{PgConnection, Row};
use uuid::Uuid;
use vault::{MasterRing, ShopKey, SnapshotOf};

const EVERY: i64 = 100;

fn version(number: i64) -> Version {
    let begin: DateTime<Utc> = "2026-11-01T00:00:00Z".parse().unwrap();
    let updated_at = Some(begin + Duration::seconds(number));
    Version { updated_at, triggered_at: None, digest: Digest([7; 16]), revision: 1 }
}

/// The count of an item at one of three locations; each number is news.
fn count(item: u64, number: i64) -> Command {
    let level = Level { available: Some(number), connected: true };
    let location = LocationId(number.unsigned_abs() % 3);
    let command = InventoryCommand::ObserveLevel { version: version(number), location, level };
    Command::InventoryItem(InventoryItemId(item), command)
}

async fn append(store: &Database, shop: ShopId, commands: impl IntoIterator<Item = Command>) -> usize {
    let envelopes = commands.into_iter().map(|command| Envelope::new(command, Metadata::default())).collect();
    let mut tx = store.begin(shop).await.unwrap();
    let appended = tx.execute(envelopes).await.unwrap();
    tx.commit().await.unwrap();
    appended.iter().map(|appended| appended.events).sum()
}

/// Counts of an item in batches of seven.
async fn grow(store: &Database, shop: ShopId, item: u64, numbers: std::ops::RangeInclusive<i64>) {
    for batch in numbers.collect::<Vec<_>>().chunks(7) {
        append(store, shop, batch.iter().map(|number| count(item, *number))).await;
    }
}

/// The item as its events make it, and how many there are.
async fn replayed(store: &Database, shop: ShopId, item: u64) -> (InventoryItem, i64) {
    let mut tx = store.begin(shop).await.unwrap();
    let (mut state, mut length) = (InventoryItem::default(), 0);
    for event in tx.histories(InventoryItem::TYPE, &[item.to_string()], i64::MAX).await.unwrap() {
        state.apply(event.decode::<InventoryEvent>().unwrap());
        length += 1;
    }
    (state, length)
}

/// Events that the transaction has read so far.
async fn events_read(tx: &mut ShopTx) -> i64 {
    sqlx::query_scalar(
        "SELECT COALESCE(seq_tup_read, 0) + COALESCE(idx_tup_fetch, 0)
         FROM pg_stat_xact_user_tables WHERE relname = 'events'",
    )
    .fetch_one(&mut **tx)
    .await
    .unwrap()
}

/// The item as the store loads it, and how many events were read for that.
async fn loaded(store: &Database, shop: ShopId, item: u64) -> (InventoryItem, i64) {
    let mut tx = store.begin(shop).await.unwrap();
    let before = events_read(&mut tx).await;
    let state = tx.load::<InventoryItem>(&item.to_string()).await.unwrap();
    let read = events_read(&mut tx).await - before;
    (state, read)
}

async fn snapshot_of(superuser: &mut PgConnection, item: u64) -> Option<i64> {
    sqlx::query_scalar("SELECT sequence FROM snapshots WHERE aggregate_type = 'inventory_item' AND aggregate_id = $1")
        .bind(item.to_string())
        .fetch_optional(superuser)
        .await
        .unwrap()
}

/// What was warned of while it lives, on this thread.
struct Warnings {
    lines: Arc<Mutex<Vec<u8>>>,
    _listening: tracing::subscriber::DefaultGuard,
}

impl Warnings {
    fn listen() -> Self {
        #[derive(Clone)]
        struct Lines(Arc<Mutex<Vec<u8>>>);
        impl io::Write for Lines {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().unwrap().extend(bytes);
                Ok(bytes.len())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let lines = Arc::new(Mutex::new(Vec::new()));
        let writer = Lines(Arc::clone(&lines));
        let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::WARN).with_ansi(false);
        let subscriber = subscriber.with_writer(move || writer.clone()).finish();
        Self { lines, _listening: tracing::subscriber::set_default(subscriber) }
    }

    fn take(&self) -> Vec<String> {
        let bytes = std::mem::take(&mut *self.lines.lock().unwrap());
        String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
    }
}

#[tokio::test]
async fn a_command_on_a_long_history_reads_one_snapshot_and_what_comes_after_it() {
    let database = TestDatabase::new().await;
    let store = database.open();
    let shop = new_shop(&store).await;
    let mut superuser = database.superuser().await;
    grow(&store, shop, 1, 1..=99).await;
    assert_eq!(snapshot_of(&mut superuser, 1).await, None, "a short history has none");
    // By single commands and by batches.
    for number in 100..=300 {
        assert_eq!(store.execute(shop, count(1, number), Metadata::default()).await.unwrap().events, 1);
    }
    assert_eq!(snapshot_of(&mut superuser, 1).await, Some(300), "every hundred events");
    grow(&store, shop, 1, 301..=1050).await;
    let newest = snapshot_of(&mut superuser, 1).await.unwrap();
    assert!((951..=1050).contains(&newest), "{newest}");

    let (state, length) = replayed(&store, shop, 1).await;
    assert_eq!(length, 1050);
    let (again, read) = loaded(&store, shop, 1).await;
    assert_eq!(again, state);
    // The event that the snapshot stands at, and those behind it.
    assert_eq!(read, 1 + 1050 - newest);

    // A batch, and a single command of a process that knows nothing of the shop.
    let mut tx = store.begin(shop).await.unwrap();
    let before = events_read(&mut tx).await;
    tx.execute(vec![Envelope::new(count(1, 2000), Metadata::default())]).await.unwrap();
    let read = events_read(&mut tx).await - before;
    assert!(read <= 1 + EVERY, "{read} events were read for a command");
    tx.rollback().await.unwrap();
    store.close().await;
    let total = async |superuser: &mut PgConnection, written: i64| {
        // Backends report what they did when they end.
        for _ in 0..100 {
            let row = sqlx::query(
                "SELECT n_tup_ins, COALESCE(seq_tup_read, 0) + COALESCE(idx_tup_fetch, 0)
                 FROM pg_stat_user_tables WHERE relname = 'events'",
            )
            .fetch_one(&mut *superuser)
            .await
            .unwrap();
            if row.get::<i64, _>(0) >= written {
                return row.get::<i64, _>(1);
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        panic!("nothing was reported")
    };
    // One more was written and undone.
    let before = total(&mut superuser, 1051).await;
    let other = database.open();
    assert_eq!(other.execute(shop, count(1, 2000), Metadata::default()).await.unwrap().events, 1);
    other.close().await;
    let read = total(&mut superuser, 1052).await - before;
    assert!((1..=1 + EVERY).contains(&read), "{read} events were read for a single command");

    // Without it the whole history is read: the counts above mean something, and no more than time is lost.
    sqlx::query("DELETE FROM snapshots").execute(&mut superuser).await.unwrap();
    let store = database.open();
    let (again, read) = loaded(&store, shop, 1).await;
    assert_eq!((&again, read), (&replayed(&store, shop, 1).await.0, 1051));
    assert_eq!(append(&store, shop, [count(1, 2001)]).await, 1);
    assert_eq!(snapshot_of(&mut superuser, 1).await, Some(1052), "the next append makes a new one");
    assert_eq!(loaded(&store, shop, 1).await.1, 1);

    // The release before reads the whole history by the function that it knows.
    let mut tx = store.begin(shop).await.unwrap();
    let streams: i64 = sqlx::query_scalar(
        "SELECT cardinality(streams)::bigint FROM load_streams($1, true, '{}', '{inventory_item}', '{1}')",
    )
    .bind(shop.0)
    .fetch_one(&mut *tx)
    .await
    .unwrap();
    assert_eq!(streams, 1052);
}

/// A connection keeps the plan that it made first, on whatever the tables held then; nothing has been analysed here.
#[tokio::test]
async fn a_history_is_found_by_its_key_whatever_the_size_of_the_table_was() {
    let database = TestDatabase::new().await;
    let store = database.open();
    let shop = new_shop(&store).await;
    append(&store, shop, [count(2, 1)]).await;
    for size in 1..=20 {
        let numbers = 20 * (size - 1) + 1..=20 * size;
        append(&store, shop, numbers.map(|number| count(1, number))).await;
        let newcomer = database.open_with(1);
        for store in [&store, &newcomer] {
            let (_, read) = loaded(store, shop, 2).await;
            assert_eq!(read, 1, "events read for a history of one, in a log of {}", 1 + 20 * size);
        }
        newcomer.close().await;
    }
}

/// A column was changed, or the row was put elsewhere; the log is as it was.
const SABOTAGE: [(&str, &str); 12] = [
    ("shop_id", "UPDATE snapshots SET shop_id = '$theirs' WHERE shop_id = '$ours' AND aggregate_id = '1'"),
    ("aggregate_type", "UPDATE snapshots SET aggregate_type = 'product' WHERE aggregate_id = '1'"),
    ("aggregate_id", "UPDATE snapshots SET aggregate_id = '2' WHERE aggregate_id = '1'"),
    ("a later sequence", "UPDATE snapshots SET sequence = sequence + 1 WHERE aggregate_id = '1'"),
    ("a sequence that is not there", "UPDATE snapshots SET sequence = sequence + 1000 WHERE aggregate_id = '1'"),
    ("an earlier sequence", "UPDATE snapshots SET sequence = 1 WHERE aggregate_id = '1'"),
    ("no sequence at all", "UPDATE snapshots SET sequence = -1 WHERE aggregate_id = '1'"),
    ("hash", "UPDATE snapshots SET hash = sha256(hash) WHERE aggregate_id = '1'"),
    ("a shorter hash", "UPDATE snapshots SET hash = '' WHERE aggregate_id = '1'"),
    ("state_version", "UPDATE snapshots SET state_version = state_version # 1 WHERE aggregate_id = '1'"),
    (
        "a byte",
        "UPDATE snapshots SET sealed = set_byte(sealed, 40, 255 - get_byte(sealed, 40)) WHERE aggregate_id = '1'",
    ),
    (
        "another's bytes",
        "UPDATE snapshots s SET sealed = o.sealed FROM snapshots o WHERE o.aggregate_id = '3' AND s.aggregate_id = '1'",
    ),
];

#[tokio::test]
async fn a_tampered_snapshot_is_ignored_and_warned_of() {
    let database = TestDatabase::new().await;
    let store = database.open();
    let (ours, theirs) = (new_shop(&store).await, new_shop(&store).await);
    let mut superuser = database.superuser().await;
    grow(&store, ours, 1, 1..=150).await;
    // Of the same length: only what is sealed into the snapshots tells them apart.
    grow(&store, ours, 3, 5001..=5150).await;
    append(&store, ours, [count(2, 1), count(2, 2)]).await;
    append(&store, theirs, [count(1, 1), count(1, 2), count(1, 4)]).await;
    let warnings = Warnings::listen();
    for (what, sabotage) in SABOTAGE {
        let sabotage = sabotage.replace("$ours", &ours.to_string()).replace("$theirs", &theirs.to_string());
        let changed = sqlx::query(&sabotage).execute(&mut superuser).await.unwrap().rows_affected();
        assert_eq!(changed, 1, "{what}");

        for (shop, item) in [(ours, 1), (ours, 2), (ours, 3), (theirs, 1)] {
            let mut tx = store.begin(shop).await.unwrap();
            let state = tx.load::<InventoryItem>(&item.to_string()).await.unwrap();
            drop(tx);
            assert_eq!(state, replayed(&store, shop, item).await.0, "{what}: item {item} of {shop}");
        }
        let warned = warnings.take();
        // Under another type nobody asked for it.
        let expected = usize::from(what != "aggregate_type");
        assert_eq!(warned.len(), expected, "{what}: {warned:?}");
        assert!(warned.iter().all(|line| line.contains("a snapshot is ignored")), "{what}: {warned:?}");
        for shop in [ours, theirs] {
            assert_eq!(verify(&store, shop, |_| {}).await.unwrap().fault, None, "{what}: the log is as it was");
        }
        // The next append makes a good one of it.
        sqlx::query("DELETE FROM snapshots WHERE aggregate_type = 'product' OR aggregate_id = '2' OR shop_id = $1")
            .bind(theirs.0)
            .execute(&mut superuser)
            .await
            .unwrap();
        let (_, length) = replayed(&store, ours, 1).await;
        assert_eq!(append(&store, ours, [count(1, length + 1)]).await, 1, "{what}");
        warnings.take();
        let (state, read) = loaded(&store, ours, 1).await;
        assert_eq!((state, read), (replayed(&store, ours, 1).await.0, 1), "{what}");
        assert_eq!(warnings.take(), [""; 0], "{what}: mended");
    }
}

/// A stand-by that takes over may lack the newest events and hold others there.
#[tokio::test]
async fn a_snapshot_of_events_that_the_log_does_not_hold_is_ignored() {
    let database = TestDatabase::new().await;
    let store = database.open();
    let shop = new_shop(&store).await;
    let mut superuser = database.superuser().await;
    grow(&store, shop, 1, 1..=130).await;
    let stands_at = snapshot_of(&mut superuser, 1).await.unwrap();
    let lose = format!(
        "CREATE TABLE kept AS TABLE snapshots;
         ALTER TABLE events DISABLE TRIGGER USER;
         DELETE FROM events WHERE position >= {stands_at};
         UPDATE heads h SET position = e.position, hash = e.hash FROM events e WHERE e.position = {stands_at} - 1;
         ALTER TABLE events ENABLE TRIGGER USER"
    );
    sqlx::raw_sql(&lose).execute(&mut superuser).await.unwrap();
    let warnings = Warnings::listen();
    assert_eq!(loaded(&store, shop, 1).await.0, replayed(&store, shop, 1).await.0, "events are missing");
    let warned = warnings.take();
    assert!(warned.len() == 1 && warned[0].contains("another event"), "{warned:?}");
    // Another event at that very sequence.
    append(&store, shop, [count(1, 9000)]).await;
    assert_eq!(warnings.take().len(), 1);
    sqlx::raw_sql("TRUNCATE snapshots; INSERT INTO snapshots TABLE kept").execute(&mut superuser).await.unwrap();
    let (state, length) = replayed(&store, shop, 1).await;
    assert_eq!(length, stands_at);
    assert_eq!(loaded(&store, shop, 1).await.0, state, "another event stands there");
    let warned = warnings.take();
    assert!(warned.len() == 1 && warned[0].contains("another event"), "{warned:?}");
    assert_eq!(verify(&store, shop, |_| {}).await.unwrap().fault, None);
}

/// The key that a shop's snapshots are sealed under, as only the program has it.
async fn shop_key(database: &TestDatabase, superuser: &mut PgConnection, shop: ShopId) -> ShopKey {
    let wrapped: Vec<u8> = sqlx::query_scalar("SELECT wrapped FROM shop_keys WHERE shop_id = $1")
        .bind(shop.0)
        .fetch_one(superuser)
        .await
        .unwrap();
    MasterRing::parse(&database.encryption_keys).unwrap().unwrap(shop, &wrapped).unwrap()
}

/// The state that a snapshot holds, or `None` where it does not open.
async fn opened(
    database: &TestDatabase,
    superuser: &mut PgConnection,
    shop: ShopId,
    aggregate: (&str, &str),
) -> String {
    let key = shop_key(database, superuser, shop).await;
    let row = sqlx::query("SELECT sequence, hash, state_version, sealed FROM snapshots WHERE aggregate_type = $1")
        .bind(aggregate.0)
        .fetch_one(superuser)
        .await
        .unwrap();
    let of = SnapshotOf {
        aggregate_type: aggregate.0,
        aggregate_id: aggregate.1,
        sequence: row.get(0),
        hash: row.get(1),
        state_version: row.get(2),
    };
    String::from_utf8(key.open_snapshot(&of, row.get(3)).unwrap()).unwrap()
}

#[tokio::test]
async fn a_snapshot_of_a_build_that_folds_otherwise_is_left_alone_and_then_replaced() {
    let database = TestDatabase::new().await;
    let store = database.open();
    let shop = new_shop(&store).await;
    let mut superuser = database.superuser().await;
    grow(&store, shop, 1, 1..=100).await;
    let row =
        sqlx::query("SELECT sequence, hash, state_version FROM snapshots").fetch_one(&mut superuser).await.unwrap();
    let (sequence, hash, ours): (i64, Vec<u8>, i64) = (row.get(0), row.get(1), row.get(2));
    let key = shop_key(&database, &mut superuser, shop).await;
    let warnings = Warnings::listen();
    // Sealed as it should be, in the name of this build and of another one: a state that the log does not tell, and none.
    let deleted = r#"{"terms":null,"levels":{},"deleted":true}"#;
    for (state_version, state, is_believed, warned) in
        [(ours + 1, deleted, false, 0), (ours + 1, "{}", false, 0), (ours, "{}", false, 1), (ours, deleted, true, 0)]
    {
        let of =
            SnapshotOf { aggregate_type: "inventory_item", aggregate_id: "1", sequence, hash: &hash, state_version };
        sqlx::query("UPDATE snapshots SET state_version = $1, sealed = $2")
            .bind(state_version)
            .bind(key.seal_snapshot(&of, state.as_bytes()))
            .execute(&mut superuser)
            .await
            .unwrap();
        let (state, _) = loaded(&store, shop, 1).await;
        assert_eq!(state.deleted, is_believed, "{state_version} {state:?}");
        assert_eq!(warnings.take().len(), warned);
    }
    sqlx::query("UPDATE snapshots SET state_version = state_version + 1").execute(&mut superuser).await.unwrap();
    append(&store, shop, [count(1, 101)]).await;
    let (version, sequence): (i64, i64) =
        sqlx::query_as("SELECT state_version, sequence FROM snapshots").fetch_one(&mut superuser).await.unwrap();
    assert_eq!((version, sequence), (ours, 101));
}

/// What a person and a shop call their own is in a snapshot as it is in the events: sealed, and gone with its key.
#[tokio::test]
async fn a_snapshot_holds_no_value_in_the_clear_and_is_gone_with_the_keys() {
    let database = TestDatabase::new().await;
    let store = database.open();
    let shop = new_shop(&store).await;
    let mut superuser = database.superuser().await;
    let customer = |number: i64| {
        let person =
            Person { first_name: Some("Zebedee".into()), note: Some(format!("note {number}")), ..Person::default() };
        let person = Some(Personal::Clear(person));
        let profile = Profile { created_at: None, state: None, country: None, region: None, person };
        let observe =
            CustomerCommand::Observe { version: version(number), id: CustomerId(7), profile: Box::new(profile) };
        Command::Customer(CustomerId(7), observe)
    };
    let variant = |number: i64| {
        let text = VariantText { title: format!("Ottoman {number}"), ..VariantText::default() };
        let variant = Variant {
            price_minor: number,
            compare_at_minor: None,
            currency: "USD".parse().unwrap(),
            inventory_item_id: None,
            text: Personal::Clear(text),
        };
        let observe = ProductCommand::ObserveVariant { version: version(number), id: VariantId(1), variant };
        Command::Product(ProductId(5), observe)
    };
    append(&store, shop, (1..=100).map(customer)).await;
    append(&store, shop, (1..=100).map(variant)).await;
    for (aggregate, subject) in [(("customer", "7"), "customer:7"), (("product", "5"), "shop")] {
        let state = opened(&database, &mut superuser, shop, aggregate).await;
        assert!(!state.contains("Zebedee") && !state.contains("Ottoman"), "{state}");
        assert!(state.contains(&format!(r#"{{"by":"{subject}","sealed":""#)), "{state}");
    }
    // To whoever lacks the shop's key it says nothing at all.
    let bytes: Vec<Vec<u8>> =
        sqlx::query_scalar("SELECT sealed FROM snapshots").fetch_all(&mut superuser).await.unwrap();
    for word in ["sealed", "Zebedee", "profile", "price_minor"] {
        assert!(bytes.iter().all(|bytes| !bytes.windows(word.len()).any(|at| at == word.as_bytes())), "{word}");
    }

    // A subject's key is destroyed: what comes next is redacted, and what the snapshot holds opens nowhere.
    let destroy = "UPDATE subject_keys SET wrapped = NULL, destroyed_at = now() WHERE subject = 'customer:7'";
    sqlx::query(destroy).execute(&mut superuser).await.unwrap();
    append(&store, shop, [customer(101)]).await;
    let mut tx = store.begin(shop).await.unwrap();
    let state = tx.load::<domain::customer::Customer>("7").await.unwrap();
    assert_eq!(state.profile.unwrap().value.person, Some(Personal::Redacted));
    drop(tx);

    // The shop's key is destroyed: snapshots open no more, and the states are still those of the log.
    let warnings = Warnings::listen();
    sqlx::query("UPDATE shop_keys SET wrapped = NULL, destroyed_at = now()").execute(&mut superuser).await.unwrap();
    let mut tx = store.begin(shop).await.unwrap();
    assert_eq!(tx.load::<domain::product::Product>("5").await.unwrap().variants[&VariantId(1)].value.price_minor, 100);
    assert_eq!(warnings.take(), [""; 0], "no fault of the snapshot's");
    // Whoever is erased with the shop stays so: what comes next is redacted, and no snapshot is written.
    tx.execute(vec![Envelope::new(variant(101), Metadata::default())]).await.unwrap();
    let state = tx.load::<domain::product::Product>("5").await.unwrap();
    assert_eq!(state.variants[&VariantId(1)].value.text, Personal::Redacted);
}

/// Writers of two processes meet around the hundredth event of the same items; two shops have items of the same ids.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_appends_around_the_hundredth_leave_one_true_snapshot() {
    let mut rng = StdRng::seed_from_u64(seed());
    let database = TestDatabase::new().await;
    let (store, other) = (database.open_with(4), database.open_with(4));
    let shops = [new_shop(&store).await, new_shop(&store).await];
    for shop in shops {
        grow(&store, shop, 1, 1..=90).await;
    }
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..8_i64 {
        let store = if writer % 2 == 0 { store.clone() } else { other.clone() };
        let sizes: Vec<i64> = (0..12).map(|_| rng.random_range(1..5)).collect();
        writers.spawn(async move {
            let mut number = 1000 * (writer + 1);
            for size in sizes {
                for shop in shops {
                    // One shop is told twice as much as the other.
                    let twice = if shop == shops[0] { 2 * size } else { size };
                    let commands = (0..twice).map(|step| count(1, number + step));
                    if writer < 4 {
                        append(&store, shop, commands).await;
                    } else {
                        for command in commands {
                            store.execute(shop, command, Metadata::default()).await.unwrap();
                        }
                    }
                }
                number += 2 * size;
            }
        });
    }
    writers.join_all().await;
    for shop in shops {
        let (state, length) = replayed(&store, shop, 1).await;
        assert!(length > 100, "{length}");
        let (again, read) = loaded(&store, shop, 1).await;
        assert_eq!(again, state, "{shop}");
        assert!((1..=EVERY).contains(&read), "{read} of {length} events were read");
        assert_eq!(verify(&store, shop, |_| {}).await.unwrap().fault, None);
        // Each shop has its own, and the role sees no other.
        let mut tx = store.begin(shop).await.unwrap();
        let seen: Vec<Uuid> = sqlx::query_scalar("SELECT shop_id FROM snapshots").fetch_all(&mut *tx).await.unwrap();
        assert_eq!(seen, [shop.0]);
        let others = shops.into_iter().find(|other| *other != shop).unwrap();
        let theft = sqlx::query("UPDATE snapshots SET shop_id = $1").bind(others.0).execute(&mut *tx).await;
        assert!(theft.unwrap_err().to_string().contains("row-level security"));
    }
}

/// Whoever checks or replays a log gets along without the table.
#[tokio::test]
async fn verification_and_reading_never_look_at_snapshots() {
    let database = TestDatabase::new().await;
    let store = database.open();
    let shop = new_shop(&store).await;
    grow(&store, shop, 1, 1..=120).await;
    let mut superuser = database.superuser().await;
    sqlx::query("REVOKE ALL ON snapshots FROM ecomdash_app").execute(&mut superuser).await.unwrap();
    let verified = verify(&store, shop, |_| {}).await.unwrap();
    assert_eq!((verified.events, verified.fault), (120, None));
    let log: Vec<_> = events(&store, shop, 0, i64::MAX).try_collect().await.unwrap();
    assert_eq!(log.len(), 120);
    assert_eq!(replayed(&store, shop, 1).await.1, 120);
    // What does look notices.
    let mut tx = store.begin(shop).await.unwrap();
    assert!(tx.load::<InventoryItem>("1").await.is_err());
}
