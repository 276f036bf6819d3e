//! The count of all processes together, in Redis. Never waited for long: an answer that is late or missing drops the
//! connection, requests are counted locally, and a task of its own looks for a connection that works. So a Redis that
//! hangs costs the requests that are under way 50 ms, once, and those after them nothing.

use std::{
    sync::{Arc, LazyLock, PoisonError, RwLock, Weak},
    time::Duration,
};

use metrics::{Gauge, describe_gauge, gauge};
use redis::{AsyncConnectionConfig, Client, RedisError, Script, aio::MultiplexedConnection};
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

use super::{Decision, Quota};

/// For an answer.
const PATIENCE: Duration = Duration::from_millis(50);
/// For a connection that is made in the background, where nobody waits.
const CONNECT: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// GCRA: a key holds the instant at which all of the quota is there again, by Redis's clock, in microseconds, and
/// goes when that has come. Answers whether the request passes, how many more would, and how long until one does.
const COUNT: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local whole = interval * burst
local spent_until = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now) + interval
local wait = spent_until - whole - now
if wait > 0 then
    return {0, 0, wait}
end
redis.call('SET', KEYS[1], string.format('%.0f', spent_until), 'PX', math.ceil((spent_until - now) / 1000) + 1)
return {1, math.floor((whole - (spent_until - now)) / interval), 0}
";

/// Redis, while it can be had.
pub struct SharedLimits {
    client: Client,
    count: Script,
    /// With its number, so that a late failure of an old connection does not end a new one.
    connection: RwLock<Option<(u64, MultiplexedConnection)>>,
    lost: Notify,
}

impl SharedLimits {
    /// Looks for Redis from now on, until it is dropped. Called within a runtime.
    ///
    /// # Errors
    /// When the URL is not one.
    pub fn connect(url: &str) -> Result<Arc<Self>, RedisError> {
        let shared = Arc::new(Self {
            client: Client::open(url)?,
            count: Script::new(COUNT),
            connection: RwLock::default(),
            lost: Notify::new(),
        });
        tokio::spawn(keep_connected(Arc::downgrade(&shared)));
        Ok(shared)
    }

    /// `None` when Redis could not be asked.
    pub(super) async fn count(&self, key: &str, quota: Quota) -> Option<Decision> {
        let current = self.connection.read().unwrap_or_else(PoisonError::into_inner).clone();
        let (number, mut connection) = current?;
        let mut asked = self.count.key(key);
        asked.arg(u64::try_from(quota.interval().as_micros()).unwrap_or(u64::MAX)).arg(quota.per_minute);
        let (is_allowed, remaining, wait_us): (u8, u32, u64) =
            match timeout(PATIENCE, asked.invoke_async(&mut connection)).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(_)) | Err(_) => {
                    self.lose(number);
                    return None;
                }
            };
        let wait = Duration::from_micros(wait_us);
        Some(Decision { is_allowed: is_allowed == 1, limit: quota.per_minute, remaining, wait })
    }

    /// Redis answers.
    pub(super) fn is_connected(&self) -> bool {
        self.connection.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn lose(&self, number: u64) {
        let mut connection = self.connection.write().unwrap_or_else(PoisonError::into_inner);
        if connection.as_ref().is_some_and(|(current, _)| *current == number) {
            *connection = None;
            drop(connection);
            tracing::warn!("Redis does not answer: rate limits are this process's own");
            CONNECTED.set(0);
            self.lost.notify_one();
        }
    }
}

/// One attempt at a time for the whole process, with growing pauses that differ between processes: a Redis that comes
/// back is not met by all of them at once.
async fn keep_connected(shared: Weak<SharedLimits>) {
    let mut pause = FIRST_PAUSE;
    for number in 0.. {
        let Some(here) = shared.upgrade() else { return };
        if let Some(connection) = connect(&here.client).await {
            *here.connection.write().unwrap_or_else(PoisonError::into_inner) = Some((number, connection));
            tracing::info!("Redis answers: rate limits are shared");
            CONNECTED.set(1);
            pause = FIRST_PAUSE;
            let lost = async { here.lost.notified().await };
            tokio::pin!(lost);
            // Looks up now and then whether anybody else still holds it.
            while timeout(LONGEST_PAUSE, &mut lost).await.is_err() {
                if Arc::strong_count(&here) == 1 {
                    return;
                }
            }
        }
        drop(here);
        sleep(jittered(pause)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn connect(client: &Client) -> Option<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT)).set_response_timeout(Some(CONNECT));
    let connecting = client.get_multiplexed_async_connection_with_config(&config);
    let mut connection = timeout(CONNECT, connecting).await.ok()?.ok()?;
    let pong = timeout(CONNECT, redis::cmd("PING").query_async::<()>(&mut connection)).await;
    pong.ok()?.ok()?;
    Some(connection)
}

/// Between a half and the whole.
fn jittered(pause: Duration) -> Duration {
    let mut byte = [0_u8];
    let _ = getrandom::fill(&mut byte);
    pause / 2 + pause * u32::from(byte[0]) / 512
}

static CONNECTED: LazyLock<Gauge> = LazyLock::new(|| {
    describe_gauge!("rate_limit_shared", "1 while rate limits are counted in Redis, over all processes");
    gauge!("rate_limit_shared")
});

pub(super) fn register_metrics() {
    LazyLock::force(&CONNECTED);
}
