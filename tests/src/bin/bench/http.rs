//! A client that costs little beside what it measures: requests written beforehand, over connections that stay.

use std::time::{Duration, Instant};

use ecomdash_tests::{SECRET, Shop};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// A connection that stays.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub async fn to(url: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(url.trim_start_matches("http://")).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: vec![0; 64 * 1024] })
    }

    /// Sends a request and reads its answer: status and body.
    pub async fn exchange(&mut self, request: &[u8]) -> anyhow::Result<(u16, &[u8])> {
        self.stream.write_all(request).await?;
        let mut filled = 0;
        loop {
            if filled == self.buffer.len() {
                self.buffer.resize(2 * filled, 0);
            }
            let count = self.stream.read(&mut self.buffer[filled..]).await?;
            anyhow::ensure!(count > 0, "the connection ended within an answer");
            filled += count;
            let Some(head) = self.buffer[..filled].windows(4).position(|window| window == b"\r\n\r\n") else {
                continue;
            };
            let text = std::str::from_utf8(&self.buffer[..head])?;
            let length = text.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok()).flatten()
            });
            let length: usize = length.unwrap_or(0);
            if filled >= head + 4 + length {
                let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
                let status = status.ok_or_else(|| anyhow::anyhow!("no status"))?;
                return Ok((status, &self.buffer[head + 4..head + 4 + length]));
            }
        }
    }

    /// The same, timed; anything but 200 is an error.
    pub async fn timed(&mut self, request: &[u8]) -> anyhow::Result<Duration> {
        let began = Instant::now();
        let (status, body) = self.exchange(request).await?;
        anyhow::ensure!(status == 200, "{status}: {}", String::from_utf8_lossy(body));
        Ok(began.elapsed())
    }
}

/// A signed delivery.
pub fn delivery(shop: &Shop, topic: &str, webhook_id: &str, body: &Value) -> Vec<u8> {
    let body = body.to_string();
    let signature = shopify::signature::sign(body.as_bytes(), SECRET.as_bytes());
    format!(
        "POST /webhooks HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nx-shopify-topic: {topic}\r\n\
         x-shopify-shop-domain: {}\r\nx-shopify-webhook-id: {webhook_id}\r\nx-shopify-hmac-sha256: {signature}\r\n\
         content-length: {}\r\n\r\n{body}",
        shop.domain,
        body.len(),
    )
    .into_bytes()
}

/// A query of a shop's merchant.
pub fn query(shop: &Shop, path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n\r\n", shop.token).into_bytes()
}

/// The value below which a share of them lies.
pub fn percentile(times: &mut [Duration], share: f64) -> Duration {
    times.sort_unstable();
    let index = ((times.len() as f64 * share).ceil() as usize).clamp(1, times.len());
    times[index - 1]
}
