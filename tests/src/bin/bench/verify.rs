//! Verifying the log of one large shop: every hash recomputed, beside nothing but reading it.

use std::time::Instant;

use ecomdash_tests::TestDatabase;
use event_store::verify;

use crate::{Scale, data, limits};

pub struct Verify {
    pub ours: Vec<f64>,
    pub copy: Vec<f64>,
}

pub async fn measure(database: &TestDatabase, scale: Scale) -> anyhow::Result<Verify> {
    let store = database.open();
    let shop = data::shop(9_100_000);
    data::create(&store, shop).await?;
    data::fill(&store, shop, scale.rebuild_orders).await?;
    limits::psql(database, "VACUUM ANALYZE events")?;
    let events = (scale.rebuild_orders * 3) as f64;
    let mut measured = Verify { ours: vec![], copy: vec![] };
    for _ in 0..scale.runs {
        let began = Instant::now();
        let verified = verify(&store, shop, |_| {}).await?;
        measured.ours.push(events / began.elapsed().as_secs_f64());
        anyhow::ensure!(verified.fault.is_none() && verified.events as f64 == events, "{verified:?}");

        let query = format!("SELECT * FROM events WHERE shop_id = '{shop}' ORDER BY position");
        let out = limits::psql(database, &format!("\\copy ({query}) TO '/dev/null'"))?;
        measured.copy.push(events / out);
    }
    Ok(measured)
}
