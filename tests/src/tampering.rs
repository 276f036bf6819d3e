//! What whoever has the database can do to a shop's log, with the triggers lifted.

use event_store::{Checkpoint, Database, GENESIS, StoredEvent, events};
use futures::TryStreamExt;
use serde_json::Value;
use sqlx::PgConnection;
use vault::{MasterRing, SigningKeys};

use crate::{
    Ecomdash, Shop, TestDatabase,
    bodies::{line, order, refund},
};

/// A shop with a log of eleven events, of which nothing is signed.
pub async fn world() -> (TestDatabase, Ecomdash, Shop) {
    let database = TestDatabase::new().await;
    let server = Ecomdash::up(&database);
    let shop = Shop::register(&database.open(), &server.url, "UTC", "USD").await;
    for id in 1..=5 {
        let body = order(id, "2026-11-01T12:00:00Z", vec![line(id, "10.00", 1)]);
        assert_eq!(shop.deliver("orders/create", &body.0).await, 200);
        let refund = refund(id, id, "2026-11-02T12:00:00Z").line(id, 1, "10.00", "0.00", "return");
        assert_eq!(shop.deliver("refunds/create", &refund.0).await, 200);
    }
    shop.stats("2026-11-01", "2026-11-01").await;
    // A worker may have signed the first events when it began.
    tamper(&mut database.superuser().await, "DELETE FROM log_checkpoints").await;
    (database, server, shop)
}

/// Runs statements that nobody may run.
pub async fn tamper(connection: &mut PgConnection, sql: &str) {
    let sql = format!(
        "BEGIN; ALTER TABLE events DISABLE TRIGGER ALL; ALTER TABLE log_checkpoints DISABLE TRIGGER ALL; {sql};
         ALTER TABLE events ENABLE TRIGGER ALL; ALTER TABLE log_checkpoints ENABLE TRIGGER ALL; COMMIT"
    );
    sqlx::raw_sql(&sql).execute(connection).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// Keys that nobody knows yet.
#[must_use]
pub fn new_keys() -> SigningKeys {
    SigningKeys::parse(&MasterRing::generate_key().unwrap()).unwrap()
}

/// What whoever has the database and the program can do: another log from a position on, whose chain and head hold.
pub async fn rewrite(store: &Database, superuser: &mut PgConnection, shop: &Shop, from: i64) {
    let log: Vec<_> = events(store, shop.id, 0, i64::MAX).try_collect().await.unwrap();
    let (kept, changed) = log.split_at(usize::try_from(from).unwrap() - 1);
    let mut hash: [u8; 32] = kept.last().map_or(GENESIS, |last| last.hash.as_slice().try_into().unwrap());
    let mut sql = String::new();
    for event in changed {
        let mut event = event.clone();
        event.metadata = event.metadata.replace("webhook", "command");
        hash = event.link(shop.id).hash(&hash);
        sql += &format!(
            "UPDATE events SET metadata = '{}', hash = '\\x{}' WHERE shop_id = '{}' AND position = {};",
            event.metadata,
            hex(&hash),
            shop.id,
            event.position
        );
    }
    sql += &format!("UPDATE heads SET hash = '\\x{}' WHERE shop_id = '{}'", hex(&hash), shop.id);
    tamper(superuser, &sql).await;
}

/// In small letters.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What an earlier release may have appended that this one would not: an event of a history that there is, whose chain holds.
pub async fn append(store: &Database, superuser: &mut PgConnection, shop: &Shop, of: (&str, &str), payload: &Value) {
    let log: Vec<_> = events(store, shop.id, 0, i64::MAX).try_collect().await.unwrap();
    let (head, hash) = log.last().map(|last| (last.position, last.hash.clone())).expect("a log");
    let own = |event: &&StoredEvent| (&*event.aggregate_type, &*event.aggregate_id) == of;
    let mut event = log.iter().rfind(own).expect("a history").clone();
    (event.position, event.sequence) = (head + 1, event.sequence + 1);
    event.event_type = payload.as_object().unwrap().keys().next().unwrap().clone();
    event.payload = payload.to_string();
    let hash = event.link(shop.id).hash(&hash.as_slice().try_into().unwrap());
    sqlx::query(
        "WITH head AS (UPDATE heads SET position = $2, hash = $10 WHERE shop_id = $1)
         INSERT INTO events VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9::json, $11::json, $10)",
    )
    .bind(shop.id.0)
    .bind(event.position)
    .bind(event.recorded_at)
    .bind(of.0)
    .bind(of.1)
    .bind(event.sequence)
    .bind(&event.event_type)
    .bind(&event.event_version)
    .bind(&event.payload)
    .bind(hash.as_slice())
    .bind(&event.metadata)
    .execute(superuser)
    .await
    .unwrap();
}

/// Makes a log longer by so many events whose chain holds, all of one order, each as long as that.
pub async fn lengthen(store: &Database, superuser: &mut PgConnection, shop: &Shop, events: i64, bytes: usize) {
    const AT_ONCE: i64 = 4_000_000;
    let (head, _) = store.begin(shop.id).await.unwrap().head().await.unwrap();
    let mut event = store.begin(shop.id).await.unwrap().events_after(head - 1, 1).await.unwrap().rows.remove(0);
    let mut hash: [u8; 32] = event.hash.as_slice().try_into().unwrap();
    let (stream, payload) = (format!("{}", 1_000_000 + head), format!("{{\"is\":\"{}\"}}", "x".repeat(bytes)));
    let step = AT_ONCE / i64::try_from(bytes + 1_000).unwrap();
    for first in (1..=events).step_by(usize::try_from(step).unwrap()) {
        let numbers: Vec<i64> = (first..=events.min(first + step - 1)).collect();
        let hashes: Vec<Vec<u8>> = numbers
            .iter()
            .map(|sequence| {
                (event.position, event.sequence) = (head + sequence, *sequence);
                (event.aggregate_type, event.aggregate_id) = ("order".to_owned(), stream.clone());
                event.payload.clone_from(&payload);
                hash = event.link(shop.id).hash(&hash);
                hash.to_vec()
            })
            .collect();
        sqlx::query(
            "INSERT INTO events
             SELECT $1, $2 + n, $3, 'order', $4, n, $5, $6, $7::json, $8::json, hash
             FROM UNNEST($9::bigint[], $10::bytea[]) AS e (n, hash)",
        )
        .bind(shop.id.0)
        .bind(head)
        .bind(event.recorded_at)
        .bind(&stream)
        .bind(&event.event_type)
        .bind(&event.event_version)
        .bind(&payload)
        .bind(&event.metadata)
        .bind(&numbers)
        .bind(&hashes)
        .execute(&mut *superuser)
        .await
        .unwrap();
    }
    sqlx::query("UPDATE heads SET position = $2, hash = $3 WHERE shop_id = $1")
        .bind(shop.id.0)
        .bind(head + events)
        .bind(hash.as_slice())
        .execute(superuser)
        .await
        .unwrap();
}

/// The log ends after so many events, and its head says so.
pub async fn cut_off(superuser: &mut PgConnection, shop: &Shop, after: i64) {
    let id = shop.id;
    let sql = format!(
        "UPDATE heads h SET position = e.position, hash = e.hash, recorded_at = e.recorded_at
         FROM events e WHERE e.shop_id = h.shop_id AND h.shop_id = '{id}' AND e.position = {after};
         DELETE FROM events WHERE shop_id = '{id}' AND position > {after}"
    );
    tamper(superuser, &sql).await;
}

/// Remembers how everything stands.
pub async fn keep(superuser: &mut PgConnection) {
    let sql = "CREATE TABLE kept AS SELECT * FROM events; CREATE TABLE kept_heads AS SELECT * FROM heads;
               CREATE TABLE kept_checkpoints AS SELECT * FROM log_checkpoints";
    sqlx::raw_sql(sql).execute(superuser).await.unwrap();
}

/// Puts it back.
pub async fn restore(superuser: &mut PgConnection) {
    let sql = "DELETE FROM events; INSERT INTO events SELECT * FROM kept; DELETE FROM heads;
               INSERT INTO heads SELECT * FROM kept_heads; DELETE FROM log_checkpoints;
               INSERT INTO log_checkpoints SELECT * FROM kept_checkpoints";
    tamper(superuser, sql).await;
}

/// Forgets it, to keep it anew.
pub async fn forget(superuser: &mut PgConnection) {
    let sql = "DROP TABLE kept; DROP TABLE kept_heads; DROP TABLE kept_checkpoints";
    sqlx::raw_sql(sql).execute(superuser).await.unwrap();
}

/// What whoever has the database, and a key of their own, can do: a checkpoint of the log as it stands now, signed by it.
pub async fn plant(superuser: &mut PgConnection, shop: &Shop, checkpoint: &Checkpoint) {
    let Checkpoint { position, hash, at, key_id, signature, .. } = checkpoint;
    let sql = format!(
        "INSERT INTO log_checkpoints (shop_id, position, hash, signed_at, key_id, signature)
         VALUES ('{}', {position}, '\\x{hash}', '{}', '{key_id}', '{signature}')",
        shop.id,
        at.to_rfc3339()
    );
    tamper(superuser, &sql).await;
}
