//! What whoever has the database can do to a shop's log, with the triggers lifted.

use event_store::{Checkpoint, Database, GENESIS, events};
use futures::TryStreamExt;
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
