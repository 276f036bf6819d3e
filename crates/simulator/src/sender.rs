//! Sends webhooks as Shopify does: signed, again until they are acknowledged, several at a time.

use std::{
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::{DateTime, SecondsFormat, Utc};
use hmac::{Hmac, KeyInit, Mac};
use reqwest::Client;
use sha2::Sha256;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{Delivery, Simulation};

/// Webhooks that are under way at once.
const AT_ONCE: usize = 16;
/// How often live sales are looked at, and how often in a second that is.
const TICK: Duration = Duration::from_millis(250);
const TICKS_A_SECOND: u64 = 4;
/// Before a webhook is sent again: longer each time, up to the second.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Where to send to.
#[derive(Clone)]
pub struct Target {
    /// Without `/webhooks`.
    pub url: String,
    /// By which the receiver knows that they are genuine.
    pub secret: String,
    /// By which it is reached.
    pub client: Client,
}

/// What is told meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Past or present.
    pub phase: Phase,
    /// Webhooks acknowledged since the start.
    pub sent: u64,
}

/// Past or present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The past is told: so many thousandths of it are.
    Past(u64),
    /// Sales are live.
    Live,
}

/// Why it stopped.
#[derive(Debug)]
pub enum SimulatorError {
    /// The state cannot be read or written.
    State(PathBuf, std::io::Error),
    /// The receiver refuses what cannot be mended by sending it again: its status.
    Refused(String, u16),
}

impl std::fmt::Display for SimulatorError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::State(path, _) => {
                write!(f, "the simulated shops' state {} cannot be read or written", path.display())
            }
            Self::Refused(topic, status) => write!(f, "the webhook {topic} was refused with {status}"),
        }
    }
}

impl std::error::Error for SimulatorError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::State(_, error) => Some(error),
            Self::Refused(..) => None,
        }
    }
}

impl Simulation {
    /// What was written there, if anything was.
    ///
    /// # Errors
    /// [`SimulatorError::State`].
    pub fn load(path: &Path) -> Result<Option<Self>, SimulatorError> {
        let failed = |error| SimulatorError::State(path.to_owned(), error);
        match std::fs::read(path) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes).map_err(|error| failed(error.into()))?)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// The old state or this one is there afterwards, never a half.
    fn save(&self, path: &Path) -> Result<(), SimulatorError> {
        let failed = |error| SimulatorError::State(path.to_owned(), error);
        let bytes = serde_json::to_vec(self).map_err(|error| failed(error.into()))?;
        let beside = path.with_extension("new");
        let write = || {
            let mut file = std::fs::File::create(&beside)?;
            file.write_all(&bytes)?;
            file.sync_all()?; // a power cut after the renaming would leave an empty one
            std::fs::rename(&beside, path)
        };
        write().map_err(failed)
    }
}

/// Tells the past, then sells at `rate` webhooks a second, until `stop`. What is made is written to `path` before it is
/// sent, so that nothing is lost and nothing told differently by a start after a crash.
///
/// # Errors
/// [`SimulatorError`].
pub async fn run(
    mut simulation: Simulation,
    path: &Path,
    target: &Target,
    rate: u64,
    clock: fn() -> DateTime<Utc>,
    report: impl Fn(Progress),
    stop: &CancellationToken,
) -> Result<(), SimulatorError> {
    let mut sent = 0;
    // What an earlier start left.
    let mut is_saved = !simulation.outbox().is_empty();
    let mut credit = 0;
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !stop.is_cancelled() {
        if simulation.outbox().is_empty() {
            if simulation.is_live() {
                tokio::select! {
                    _ = tick.tick() => {}
                    () = stop.cancelled() => break,
                }
                credit += rate;
                simulation.sell(clock(), 0);
                while (simulation.outbox().len() as u64 + 1) * TICKS_A_SECOND <= credit {
                    simulation.sell(clock(), 1);
                }
                credit = credit.saturating_sub(simulation.outbox().len() as u64 * TICKS_A_SECOND);
            } else {
                simulation.go_on();
            }
            is_saved = false;
        }
        if !is_saved {
            simulation.save(path)?;
            is_saved = true;
        }
        if !send_all(target, simulation.outbox(), stop).await? {
            break;
        }
        sent += simulation.outbox().len() as u64;
        simulation.sent();
        let phase = if simulation.is_live() { Phase::Live } else { Phase::Past(simulation.told()) };
        report(Progress { phase, sent });
    }
    Ok(())
}

/// `false`: it was told to stop before all were acknowledged.
async fn send_all(target: &Target, deliveries: &[Delivery], stop: &CancellationToken) -> Result<bool, SimulatorError> {
    let mut under_way = JoinSet::new();
    for delivery in deliveries {
        if under_way.len() >= AT_ONCE && !settle(under_way.join_next().await)? {
            return Ok(false);
        }
        under_way.spawn(send(target.clone(), delivery.clone(), stop.clone()));
    }
    while let Some(outcome) = under_way.join_next().await {
        if !settle(Some(outcome))? {
            return Ok(false);
        }
    }
    Ok(true)
}

type Outcome = Result<bool, SimulatorError>;

fn settle(outcome: Option<Result<Outcome, tokio::task::JoinError>>) -> Outcome {
    match outcome {
        Some(Ok(outcome)) => outcome,
        _ => Ok(false),
    }
}

/// Until it is acknowledged.
async fn send(target: Target, delivery: Delivery, stop: CancellationToken) -> Outcome {
    let mut wait = FIRST_WAIT;
    let signature = sign(delivery.body.as_bytes(), target.secret.as_bytes());
    loop {
        let request = target
            .client
            .post(format!("{}/webhooks", target.url))
            .header("Content-Type", "application/json")
            .header("X-Shopify-Topic", &delivery.topic)
            .header("X-Shopify-Shop-Domain", &delivery.domain)
            .header("X-Shopify-Webhook-Id", delivery.webhook_id.to_string())
            .header("X-Shopify-Event-Id", delivery.event_id.to_string())
            .header("X-Shopify-Triggered-At", delivery.triggered_at.to_rfc3339_opts(SecondsFormat::Nanos, true))
            .header("X-Shopify-Hmac-Sha256", &signature)
            .body(delivery.body.clone())
            .timeout(Duration::from_secs(5));
        match request.send().await.map(|answer| answer.status()) {
            Ok(status) if status.is_success() => return Ok(true),
            Ok(status) if status.is_client_error() && status.as_u16() != 429 => {
                return Err(SimulatorError::Refused(delivery.topic, status.as_u16()));
            }
            Ok(status) => tracing::debug!(topic = delivery.topic, %status, "to be sent again"),
            Err(error) => tracing::debug!(topic = delivery.topic, error = &error as &dyn std::error::Error, "not sent"),
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => wait = (2 * wait).min(LONGEST_WAIT),
            () = stop.cancelled() => return Ok(false),
        }
    }
}

/// The signature of the bytes that are sent.
fn sign(body: &[u8], secret: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("a key of any length is one");
    mac.update(body);
    STANDARD.encode(mac.finalize().into_bytes())
}
