//! Rebuilding the ledger and its rollup of one large shop.

use std::time::Instant;

use cqrs_es::{EventEnvelope, Query, persist::QueryReplay};
use domain::order::Order;
use ecomdash_tests::TestDatabase;
use postgres_es::PostgresEventRepository;
use projector::RebuildOptions;
use sqlx::{PgPool, postgres::PgPoolOptions};

use crate::{Scale, data, limits};

pub struct Rebuild {
    pub ours: Vec<f64>,
    pub copy: Vec<f64>,
    pub peer: Vec<f64>,
}

pub async fn measure(database: &TestDatabase, scale: Scale) -> anyhow::Result<Rebuild> {
    let store = database.open();
    let shop = data::shop(9_000_000);
    data::create(&store, shop).await?;
    data::fill(&store, shop, scale.rebuild_orders).await?;
    let events = (scale.rebuild_orders * 3) as f64;
    let options = || RebuildOptions::of("sales");
    let mut measured = Rebuild { ours: vec![], copy: vec![], peer: vec![] };
    limits::psql(database, "VACUUM ANALYZE events")?;

    let plain = PgPoolOptions::new().max_connections(4).connect(&database.superuser_url).await?;
    prepare_peer(&plain, shop, scale).await?;
    for _ in 0..scale.runs {
        // Into an empty ledger, as COPY does: nothing serves yet, nothing is compared or deleted.
        limits::psql(
            database,
            "TRUNCATE sale_fact, daily_sales, daily_sales_at; DELETE FROM live_generations;
             DELETE FROM checkpoints WHERE generation > 0",
        )?;
        let began = Instant::now();
        projector::rebuild(&store, shop, options(), |_, _| {}).await?;
        measured.ours.push(events / began.elapsed().as_secs_f64());
        limits::psql(database, "ANALYZE sale_fact")?;

        let query = format!("SELECT * FROM events WHERE shop_id = '{shop}' ORDER BY position");
        let (out, _) = limits::copy_out_and_in(database, &query, "events")?;
        let (_, into) =
            limits::copy_out_and_in(database, "SELECT * FROM sale_fact ORDER BY position, ordinal", "sale_fact")?;
        measured.copy.push(events / (out + into));

        measured.peer.push(replay(&plain).await?);
    }
    Ok(measured)
}

/// A tenth of the events, for a rate: postgres-es is slow here.
async fn prepare_peer(plain: &PgPool, shop: domain::ShopId, scale: Scale) -> anyhow::Result<()> {
    sqlx::raw_sql(
        "TRUNCATE plain.events; CREATE TABLE plain.totals (order_id text PRIMARY KEY, events bigint NOT NULL)",
    )
    .execute(plain)
    .await?;
    sqlx::query(
        "INSERT INTO plain.events
         SELECT aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata
         FROM events WHERE shop_id = $1 AND position <= $2",
    )
    .bind(shop.0)
    .bind((scale.rebuild_orders * 3 / 10) as i64)
    .execute(plain)
    .await?;
    sqlx::raw_sql("ANALYZE plain.events").execute(plain).await?;
    Ok(())
}

struct Totals(PgPool);

#[async_trait::async_trait]
impl Query<Order> for Totals {
    async fn dispatch(&self, aggregate_id: &str, events: &[EventEnvelope<Order>]) {
        sqlx::query(
            "INSERT INTO plain.totals AS t (order_id, events) VALUES ($1, $2)
             ON CONFLICT (order_id) DO UPDATE SET events = t.events + excluded.events",
        )
        .bind(aggregate_id)
        .bind(i64::try_from(events.len()).expect("a few"))
        .execute(&self.0)
        .await
        .expect("an upsert");
    }
}

async fn replay(plain: &PgPool) -> anyhow::Result<f64> {
    sqlx::raw_sql("TRUNCATE plain.totals").execute(plain).await?;
    let repository = PostgresEventRepository::new(plain.clone()).with_tables("plain.events", "plain.snapshots");
    let replay: QueryReplay<_, _, Order> = QueryReplay::new(repository, Totals(plain.clone()));
    let began = Instant::now();
    replay.replay_all().await.map_err(|error| anyhow::anyhow!("{error}"))?;
    let seconds = began.elapsed().as_secs_f64();
    let events: i64 = sqlx::query_scalar("SELECT sum(events)::bigint FROM plain.totals").fetch_one(plain).await?;
    Ok(events as f64 / seconds)
}
