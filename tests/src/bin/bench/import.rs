//! An import: one writer, batches of commands over many orders.

use std::time::{Duration, Instant};

use cqrs_es::persist::{PersistedEventRepository, SerializedEvent};
use domain::{Command, ShopId, order::Order};
use ecomdash_tests::TestDatabase;
use event_store::{Database, wrapped_shop_key};
use postgres_es::PostgresEventRepository;
use sqlx::postgres::PgPoolOptions;
use vault::Sealer;

use crate::{Scale, data, limits};

/// Orders in a batch: 1,500 events.
const BATCH: usize = 500;

pub struct Import {
    pub ours: Vec<f64>,
    pub copy: Vec<f64>,
    pub peer: Vec<f64>,
    pub row_bytes: i64,
    /// Of the time that batches are appended in, the part that sealing and keys take, in percent.
    pub sealing_percent: Vec<f64>,
}

pub async fn measure(database: &TestDatabase, scale: Scale) -> anyhow::Result<Import> {
    let store = database.open();
    let mut import = Import { ours: vec![], copy: vec![], peer: vec![], row_bytes: 0, sealing_percent: vec![] };
    let events = (scale.import_orders * 3) as f64;
    let plain = PgPoolOptions::new().max_connections(1).connect(&database.superuser_url).await?;
    for run in 0..scale.runs {
        let shop = data::shop(1_000 + run as u128);
        data::create(&store, shop).await?;
        // Made beforehand: what a body means is not what is measured.
        let mut batches: Vec<Vec<_>> = Vec::new();
        let orders: Vec<u64> = (1..=scale.import_orders).collect();
        for orders in orders.chunks(BATCH) {
            batches.push(orders.iter().flat_map(|id| data::commands(*id)).map(data::envelope).collect());
        }
        let began = Instant::now();
        for batch in batches {
            let mut tx = store.begin(shop).await?;
            tx.execute(batch).await?;
            tx.commit().await?;
        }
        let took = began.elapsed();
        import.ours.push(events / took.as_secs_f64());
        import.sealing_percent.push(100.0 * sealing(&store, shop, &orders).await?.as_secs_f64() / took.as_secs_f64());
        limits::psql(database, "ANALYZE events")?;

        let query = format!("SELECT * FROM events WHERE shop_id = '{shop}' ORDER BY position");
        let (_, into) = limits::copy_out_and_in(database, &query, "events")?;
        import.copy.push(events / into);

        let rows: Vec<(String, i64, String, String, String)> = sqlx::query_as(&format!(
            "SELECT aggregate_id, sequence, event_type, payload::text, metadata::text FROM events
             WHERE shop_id = '{shop}' ORDER BY position"
        ))
        .fetch_all(&plain)
        .await?;
        if import.row_bytes == 0 {
            let bytes: usize = rows.iter().map(|row| row.3.len() + row.4.len()).sum();
            import.row_bytes = (bytes as f64 / scale.import_orders as f64) as i64;
        }
        let serialized: Vec<SerializedEvent> = rows
            .into_iter()
            .map(|(id, sequence, event_type, payload, metadata)| {
                SerializedEvent::new(
                    id,
                    sequence as usize,
                    "order".into(),
                    event_type,
                    "1".into(),
                    serde_json::from_str(&payload).expect("JSON"),
                    serde_json::from_str(&metadata).expect("JSON"),
                )
            })
            .collect();
        // A third of the data is enough for a rate, and it is slow.
        let some = &serialized[..serialized.len() / 3];
        sqlx::raw_sql("TRUNCATE plain.events").execute(&plain).await?;
        let repository = PostgresEventRepository::new(plain.clone()).with_tables("plain.events", "plain.snapshots");
        let began = Instant::now();
        for batch in some.chunks(BATCH * 3) {
            repository.persist::<Order>(batch, None).await?;
        }
        import.peer.push(some.len() as f64 / began.elapsed().as_secs_f64());
    }
    Ok(import)
}

/// How long the part takes that is sealing and keys, of the same commands in the same batches: the shop's key is unwrapped for
/// each, every order's buyer gets a key, and all that is personal is sealed.
async fn sealing(store: &Database, shop: ShopId, orders: &[u64]) -> anyhow::Result<Duration> {
    let wrapped = wrapped_shop_key(&mut store.begin(shop).await?).await?;
    let mut took = Duration::ZERO;
    for orders in orders.chunks(BATCH) {
        let mut commands: Vec<Command> = orders.iter().flat_map(|id| data::commands(*id)).collect();
        let began = Instant::now();
        let mut sealer = Sealer::new(Some(store.ring().unwrap(shop, &wrapped)?));
        for command in &mut commands {
            sealer.seal(command)?;
        }
        anyhow::ensure!(sealer.take_created().len() >= orders.len(), "every order has a buyer");
        took += began.elapsed();
    }
    Ok(took)
}
