//! Deliveries accepted over HTTP: signature, seal, durable insert, answer; nothing works on them meanwhile.

use std::{sync::Arc, time::Instant};

use ecomdash_tests::{
    Ecomdash, Shop, TestDatabase,
    bodies::{line, order},
};

use crate::{
    Scale,
    http::{Connection, delivery},
    limits,
};

const CONNECTIONS: usize = 32;

pub struct Accepted {
    pub ours: Vec<f64>,
    pub pgbench: Vec<f64>,
}

pub async fn measure(database: &TestDatabase, scale: Scale) -> anyhow::Result<Accepted> {
    let server = Ecomdash::start(&["serve", "--port", "0"], database, &crate::UNLIMITED);
    let store = database.open();
    let shop = Shop::register(&store, &server.url, "UTC", "USD").await;
    let mut measured = Accepted { ours: vec![], pgbench: vec![] };
    for run in 0..=scale.runs {
        let requests: Vec<Vec<Vec<u8>>> = (0..CONNECTIONS)
            .map(|connection| {
                let of_connection = |number| {
                    let id = ((run * CONNECTIONS + connection) * scale.deliveries + number) as u64;
                    let body = order(id, "2026-11-01T12:00:00Z", vec![line(id * 2, "58.79", 2).tax("11.76", "0.1")]);
                    delivery(&shop, "orders/create", &id.to_string(), &body.shipping(id, "5.00").0)
                };
                (0..scale.deliveries / CONNECTIONS).map(of_connection).collect()
            })
            .collect();
        let count = requests.iter().map(Vec::len).sum::<usize>() as f64;
        let url: Arc<str> = server.url.as_str().into();
        let mut clients = tokio::task::JoinSet::new();
        let began = Instant::now();
        for requests in requests {
            let url = Arc::clone(&url);
            clients.spawn(async move {
                let mut connection = Connection::to(&url).await?;
                for request in requests {
                    connection.timed(&request).await?;
                }
                anyhow::Ok(())
            });
        }
        for outcome in clients.join_all().await {
            outcome?;
        }
        let ours = count / began.elapsed().as_secs_f64();
        let limit = pgbench(database, &shop, scale.deliveries / CONNECTIONS)?;
        if run > 0 {
            measured.ours.push(ours);
            measured.pgbench.push(limit);
        }
    }
    Ok(measured)
}

/// The call that stores a delivery, with a body of the same length, by the program's own login.
fn pgbench(database: &TestDatabase, shop: &Shop, transactions: usize) -> anyhow::Result<f64> {
    let length =
        limits::query(database, &format!("SELECT max(length(body)) FROM inbox WHERE shop_id = '{}'", shop.id))?;
    let script = format!(
        "SELECT store_delivery_under_key('{}', n.id, n.id::text, decode(repeat('ab', 16), 'hex'), 'orders/create', NULL, NULL, now(),
                       NULL, decode(repeat('cd', {length}), 'hex'))
FROM (SELECT gen_random_uuid() AS id) n;
",
        shop.id,
    );
    limits::pgbench(database, &[("accept".to_owned(), 1, script)], CONNECTIONS, transactions)
}
