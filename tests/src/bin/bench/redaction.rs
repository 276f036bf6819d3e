//! Erasing a customer, from the request to the signed receipt: in a large shop, and in a small one of another database.

use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use compliance::{Answer, Ask, Whom};
use domain::ids::CustomerId;
use ecomdash_tests::{
    Shop,
    bodies::{line, order},
};
use event_store::Database;
use serde_json::json;
use vault::{MasterRing, SigningKeys};

/// Of each customer.
pub const ORDERS: u64 = 20;
/// What the shops themselves consist of has lower numbers.
const FIRST_ORDER: u64 = 100_000_000;

/// How long it took in each, of each run.
#[derive(Default)]
pub struct Redactions {
    pub large: Vec<f64>,
    pub small: Vec<f64>,
}

pub async fn measure(large: (&Database, &Shop), small: (&Database, &Shop), runs: usize) -> anyhow::Result<Redactions> {
    let signing = SigningKeys::parse(&MasterRing::generate_key()?)?;
    let mut measured = Redactions::default();
    for run in 0..=runs {
        let of_large = erased(large, run as u64, &signing).await?;
        let of_small = erased(small, run as u64, &signing).await?;
        if run > 0 {
            measured.large.push(of_large.as_secs_f64());
            measured.small.push(of_small.as_secs_f64());
        }
    }
    Ok(measured)
}

/// Somebody buys, and is erased.
async fn erased((store, shop): (&Database, &Shop), run: u64, signing: &SigningKeys) -> anyhow::Result<Duration> {
    let customer = 1_000 + run;
    for number in 0..ORDERS {
        let id = FIRST_ORDER + run * ORDERS + number;
        let body = order(id, "2026-06-01T12:00:00Z", vec![line(id, "50.00", 1)])
            .with("customer", json!({ "id": customer, "first_name": "Ada", "email": format!("ada{run}@example.com") }))
            .with("email", json!(format!("ada{run}@example.com")))
            .with("note", json!(format!("please ring twice, {number}")));
        let status = shop.deliver("orders/create", &body.0).await;
        anyhow::ensure!(status == 200, "{status}");
    }
    shop.stats("2026-06-01", "2026-06-01").await;

    let (began, at, hold) = (Instant::now(), Utc::now(), TimeDelta::days(3));
    let mut tx = store.begin(shop.id).await?;
    let (whom, reason) = (Whom::Customer(CustomerId(customer)), "a benchmark".parse().map_err(anyhow::Error::msg)?);
    let asked = Ask { whom, reason, by: "bench".to_owned(), at, hold, all: false };
    let Answer::Asked { id, .. } = compliance::ask(&mut tx, asked).await? else { anyhow::bail!("nobody is known") };
    tx.commit().await?;
    let due = at + hold + TimeDelta::days(1);
    let before = compliance::erase(store, shop.id, &id, due).await?;
    compliance::certify(store, shop.id, &id, signing, before, due).await?;
    let took = began.elapsed();

    let mut tx = store.begin(shop.id).await?;
    let redaction: domain::redaction::Redaction = tx.load(&id).await?;
    tx.commit().await?;
    let erased = redaction.erased.map_or(0, |erased| erased.bodies);
    let found = redaction.receipt.map(|receipt| (receipt.found, receipt.sums_unchanged));
    anyhow::ensure!(
        erased == ORDERS && found == Some((0, Some(true))),
        "{erased} bodies were erased, and the receipt says {found:?}"
    );
    Ok(took)
}
