//! Clients that deliver as Shopify does: signed, with five seconds' patience, and again until they are answered with 200.

use std::{
    sync::{
        Arc, RwLock,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use rand::RngExt;
use reqwest::Client;
use tokio::{
    sync::{Mutex, mpsc},
    task::JoinSet,
};

use super::history::{Delivered, Happened, Recorder};
use crate::{SECRET, random::rng};

/// How long Shopify waits for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Name and URL of every instance that serves.
pub type Addresses = Arc<RwLock<Vec<(String, String)>>>;

/// The clients at work.
pub struct Clients {
    queue: mpsc::Sender<Delivered>,
    tasks: JoinSet<()>,
    /// Requests that were sent and not answered yet.
    pub in_flight: Arc<AtomicI64>,
}

struct Post {
    recorder: Arc<Recorder>,
    addresses: Addresses,
    domains: Vec<String>,
    in_flight: Arc<AtomicI64>,
    http: Client,
}

impl Clients {
    /// So many clients, for shops of these domains.
    pub fn start(count: u64, seed: u64, domains: &[String], addresses: &Addresses, recorder: &Arc<Recorder>) -> Self {
        let (queue, receiver) = mpsc::channel(64);
        let receiver = Arc::new(Mutex::new(receiver));
        let in_flight = Arc::new(AtomicI64::new(0));
        let mut tasks = JoinSet::new();
        for client in 0..count {
            let post = Post {
                recorder: Arc::clone(recorder),
                addresses: Arc::clone(addresses),
                domains: domains.to_vec(),
                in_flight: Arc::clone(&in_flight),
                http: cli::http_client().tls_certs_only([]).timeout(PATIENCE).no_proxy().build().expect("a client"),
            };
            tasks.spawn(post.work(Arc::clone(&receiver), seed.wrapping_add(client)));
        }
        Self { queue, tasks, in_flight }
    }

    /// Hands in a delivery; waits while the clients have plenty to do.
    pub async fn send(&self, delivered: Delivered) {
        self.queue.send(delivered).await.expect("clients work until they are told to finish");
    }

    /// Waits until everything is acknowledged, or too long. Whether it was.
    pub async fn finish(self, patience: Duration) -> bool {
        let Self { queue, mut tasks, .. } = self;
        drop(queue);
        tokio::time::timeout(patience, async { while tasks.join_next().await.is_some() {} }).await.is_ok()
    }
}

impl Post {
    async fn work(self, queue: Arc<Mutex<mpsc::Receiver<Delivered>>>, seed: u64) {
        let mut rng = rng(seed);
        loop {
            let next = queue.lock().await.recv().await;
            let Some(delivered) = next else { return };
            self.recorder.write(&Happened::Delivery(delivered.clone()));
            for attempt in 0_u32.. {
                let place = rng.random_range(0..1024_usize);
                if self.try_once(&delivered, place).await == Some(200) {
                    break;
                }
                let wait_ms = rng.random_range(5..40) * u64::from(attempt.min(10) + 1);
                tokio::time::sleep(Duration::from_millis(wait_ms)).await;
            }
        }
    }

    async fn try_once(&self, delivered: &Delivered, place: usize) -> Option<u16> {
        let (name, url) = {
            let addresses = self.addresses.read().unwrap();
            addresses[place % addresses.len()].clone()
        };
        self.recorder.write(&Happened::Tried { delivery: delivered.number, at: name });
        let body = delivered.body.clone().into_bytes();
        let mut request = self
            .http
            .post(format!("{url}/webhooks"))
            .header("X-Shopify-Topic", &delivered.topic)
            .header("X-Shopify-Shop-Domain", &self.domains[delivered.shop])
            .header("X-Shopify-Webhook-Id", &delivered.webhook_id)
            .header("X-Shopify-Hmac-Sha256", shopify::signature::sign(&body, SECRET.as_bytes()))
            .body(body);
        if let Some(at) = delivered.triggered_at {
            request = request.header("X-Shopify-Triggered-At", at.to_rfc3339());
        }
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        let status = request.send().await.ok().map(|answer| answer.status().as_u16());
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.recorder.write(&Happened::Answered { delivery: delivered.number, status });
        status
    }
}
