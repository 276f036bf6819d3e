//! `verify` finds whatever a superuser did to the log with the trigger lifted.

use ecomdash_tests::{
    Ecomdash, Shop, TestDatabase,
    bodies::{line, order, refund},
    run,
};
use event_store::verify;
use sqlx::PgConnection;

async fn world() -> (TestDatabase, Ecomdash, Shop) {
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
    (database, server, shop)
}

async fn tamper(connection: &mut PgConnection, sql: &str) {
    let sql =
        format!("BEGIN; ALTER TABLE events DISABLE TRIGGER ALL; {sql}; ALTER TABLE events ENABLE TRIGGER ALL; COMMIT");
    sqlx::raw_sql(&sql).execute(connection).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

#[tokio::test]
async fn every_kind_of_tampering_is_found_at_its_place() {
    let (database, _server, shop) = world().await;
    let store = database.open();
    let clean = verify(&store, shop.id, |_| {}).await.unwrap();
    assert_eq!((clean.events, clean.fault), (11, None));

    let mut superuser = database.superuser().await;
    sqlx::raw_sql("CREATE TABLE kept AS SELECT * FROM events; CREATE TABLE kept_heads AS SELECT * FROM heads")
        .execute(&mut superuser)
        .await
        .unwrap();
    let id = shop.id;
    let other = uuid::Uuid::new_v4();
    let at = |position: i64| format!("WHERE shop_id = '{id}' AND position = {position}");
    // Every column, one after the other.
    let mut cases: Vec<(String, i64)> = vec![
        (format!("UPDATE events SET recorded_at = recorded_at + interval '1 microsecond' {}", at(4)), 4),
        (format!("UPDATE events SET aggregate_type = 'ordeR' {}", at(4)), 4),
        (format!("UPDATE events SET aggregate_id = aggregate_id || '0' {}", at(4)), 4),
        (format!("UPDATE events SET sequence = sequence + 7 {}", at(4)), 4),
        (format!("UPDATE events SET event_type = 'OrderDeleted' {}", at(4)), 4),
        (format!("UPDATE events SET event_version = '99' {}", at(4)), 4),
        (format!("UPDATE events SET payload = (payload::text || ' ')::json {}", at(4)), 4),
        (format!("UPDATE events SET metadata = replace(metadata::text, 'webhook', 'webhooK')::json {}", at(4)), 4),
        (format!("UPDATE events SET hash = set_byte(hash, 31, get_byte(hash, 31) # 1) {}", at(4)), 4),
        (format!("UPDATE events SET hash = set_byte(hash, 0, get_byte(hash, 0) # 128) {}", at(11)), 11),
        (format!("UPDATE events SET position = 100 {}", at(4)), 4),
        (format!("UPDATE events SET shop_id = '{other}' {}", at(4)), 4),
        (format!("DELETE FROM events {}", at(1)), 1),
        (format!("DELETE FROM events {}", at(6)), 6),
        (format!("DELETE FROM events {}", at(11)), 11),
        (format!("DELETE FROM events WHERE shop_id = '{id}'"), 1),
        // Two rows change places.
        (
            format!(
                "UPDATE events SET position = 50 {}; UPDATE events SET position = 4 {}; \
                 UPDATE events SET position = 5 WHERE shop_id = '{id}' AND position = 50",
                at(4),
                at(5)
            ),
            4,
        ),
        // A row put in between, behind the end, and with a hash copied from another.
        (
            format!(
                "UPDATE events SET position = position + 1000 WHERE shop_id = '{id}' AND position > 6; \
                 UPDATE events SET position = position - 999 WHERE shop_id = '{id}' AND position > 1000; \
                 INSERT INTO events SELECT shop_id, 7, recorded_at, aggregate_type, 'x', 1, event_type, event_version, \
                 payload, metadata, hash FROM events {}",
                at(6)
            ),
            7,
        ),
        (
            format!(
                "INSERT INTO events SELECT shop_id, 12, recorded_at, aggregate_type, 'x', 1, event_type, event_version, \
                 payload, metadata, hash FROM events {}",
                at(11)
            ),
            12,
        ),
        (format!("UPDATE heads SET hash = set_byte(hash, 3, get_byte(hash, 3) # 2) WHERE shop_id = '{id}'"), 11),
        (format!("UPDATE heads SET position = 12 WHERE shop_id = '{id}'"), 12),
    ];
    // A flipped bit anywhere in a payload, keeping it JSON: another digit, another letter.
    for (from, to) in [("price_minor\":1000", "price_minor\":1001"), ("\"r\":1", "\"r\":2"), ("sealed", "sealee")] {
        cases
            .push((format!("UPDATE events SET payload = replace(payload::text, '{from}', '{to}')::json {}", at(2)), 2));
    }
    for (sql, position) in cases {
        tamper(&mut superuser, &sql).await;
        let found = verify(&store, shop.id, |_| {}).await.unwrap();
        assert_eq!(found.fault.as_ref().map(|fault| fault.position), Some(position), "{sql}: {found:?}");
        tamper(
            &mut superuser,
            "DELETE FROM events; INSERT INTO events SELECT * FROM kept; DELETE FROM heads; INSERT INTO heads SELECT * FROM kept_heads",
        )
        .await;
        assert_eq!(verify(&store, shop.id, |_| {}).await.unwrap().fault, None, "restored after {sql}");
    }
    let (ok, text) = run(&database, &["verify", "--shop", &shop.domain, "--json"]);
    assert!(ok && text.contains("\"good_events\":11"), "{text}");
    tamper(&mut superuser, &format!("DELETE FROM events {}", at(6))).await;
    let (ok, text) = run(&database, &["verify", "--shop", &shop.domain]);
    assert!(!ok && text.contains("BROKEN at position 6"), "{text}");
}
