//! A registered shop with its tokens, as a test talks to it over HTTP.

use std::time::{Duration, Instant};

use api::{IssuedToken, Role};
use chrono::{DateTime, Utc};
use domain::{ShopId, redaction::Said};
use event_store::{Database, StoreError};
use ingest::Registration;
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;
use vault::ShopKey;

/// What the tests' deliveries are signed with. No process may ever say it, in any spelling: other signs than letters are
/// in it, so that each is another text.
pub const SECRET: &str = "canary: the app's \"secret\" /+7f3a91";

/// At whose word tests do things, and why.
#[must_use]
pub fn said() -> Said {
    Said { by: "test".to_owned(), reason: Some("to see what happens".to_owned()), at: Utc::now() }
}

/// The same as a body.
#[must_use]
pub fn why() -> Value {
    json!({ "reason": "to see what happens" })
}

/// A shop that nothing is known of, registered nowhere: its log begins.
pub async fn new_shop(store: &Database) -> ShopId {
    let shop = ShopId(Uuid::now_v7());
    let mut tx = store.begin(shop).await.expect("the database");
    event_store::create_shop(&mut tx).await.expect("a log");
    tx.commit().await.expect("the database");
    shop
}

/// A shop's key: it decides which of two bodies of one instant is taken for the newer.
pub async fn key_of(store: &Database, shop: ShopId) -> ShopKey {
    let mut tx = store.begin(shop).await.expect("the database");
    event_store::shop_key(&mut tx).await.expect("a key")
}

/// Gives a shop of which nothing but its registration is told the key of another, so that both take the same of two bodies of
/// one instant for the newer.
pub async fn share_key(store: &Database, superuser: &mut PgConnection, of: ShopId, with: ShopId) {
    let wrapped = store.ring().wrap(with, &key_of(store, of).await);
    let update = sqlx::query("UPDATE shop_keys SET wrapped = $2 WHERE shop_id = $1").bind(with.0).bind(wrapped);
    update.execute(&mut *superuser).await.expect("a shop");
    let keys = sqlx::query("DELETE FROM subject_keys WHERE shop_id = $1").bind(with.0);
    keys.execute(superuser).await.expect("a shop");
}

/// A token.
pub async fn issue_token(
    database: &Database,
    shop: Option<ShopId>,
    role: Role,
    ttl: Option<chrono::Duration>,
) -> Result<IssuedToken, StoreError> {
    api::issue(database, shop, role, ttl, said()).await
}

/// A merchant's token as releases issued them that did not tell the log: so a shop's log is what a test makes it.
async fn earlier_token(database: &Database, shop: ShopId) -> String {
    let token = format!("ecd_{}", Uuid::new_v4().simple());
    let mut fleet = database.begin_fleet().await.expect("a transaction");
    sqlx::query("INSERT INTO api_tokens (token_id, hash, shop_id, role) VALUES ($1, sha256($2), $3, 'merchant')")
        .bind(Uuid::now_v7())
        .bind(token.as_bytes())
        .bind(shop.0)
        .execute(&mut *fleet)
        .await
        .expect("a token");
    fleet.commit().await.expect("a token");
    token
}

/// A shop.
pub struct Shop {
    /// Our id.
    pub id: ShopId,
    /// Its permanent domain.
    pub domain: String,
    /// A merchant's token.
    pub token: String,
    client: Client,
    url: String,
}

impl Shop {
    /// Registers a shop of a name that no other has.
    pub async fn register(database: &Database, url: &str, timezone: &str, currency: &str) -> Self {
        let domain = format!("s{}.myshopify.com", Uuid::new_v4().simple());
        Self::register_as(database, url, &domain, timezone, currency).await
    }

    /// Registers a shop.
    pub async fn register_as(database: &Database, url: &str, domain: &str, timezone: &str, currency: &str) -> Self {
        let registration = Registration {
            domain: domain.parse().expect("a shop's domain"),
            shopify_id: None,
            timezone: timezone.parse().expect("a zone"),
            currency: currency.parse().expect("a currency"),
        };
        let id = ingest::register(database, &registration, Utc::now()).await.expect("registered");
        let token = earlier_token(database, id).await;
        Self { id, domain: domain.to_owned(), token, client: crate::client(), url: url.to_owned() }
    }

    /// The same shop behind another process.
    pub fn at(&self, url: &str) -> Self {
        Self {
            url: url.to_owned(),
            domain: self.domain.clone(),
            token: self.token.clone(),
            client: self.client.clone(),
            id: self.id,
        }
    }

    /// Delivers a body, signed.
    pub async fn deliver(&self, topic: &str, body: &Value) -> StatusCode {
        self.deliver_at(topic, body, &Uuid::new_v4().to_string(), None).await
    }

    /// Delivers a body with a webhook id and a time at which it was triggered.
    pub async fn deliver_at(
        &self,
        topic: &str,
        body: &Value,
        webhook_id: &str,
        triggered_at: Option<DateTime<Utc>>,
    ) -> StatusCode {
        let answer = self.try_deliver(topic, &body.to_string(), webhook_id, triggered_at).await;
        answer.expect("the server answers").status()
    }

    /// Delivers bytes; the answer may stay away.
    pub async fn try_deliver(
        &self,
        topic: &str,
        body: &str,
        webhook_id: &str,
        triggered_at: Option<DateTime<Utc>>,
    ) -> reqwest::Result<Response> {
        let mut request = self.signed(topic, body.as_bytes().to_vec(), webhook_id);
        if let Some(at) = triggered_at {
            request = request.header("X-Shopify-Triggered-At", at.to_rfc3339());
        }
        request.send().await
    }

    /// Delivers bytes that need not be text.
    pub async fn try_deliver_bytes(&self, topic: &str, body: Vec<u8>, webhook_id: &str) -> reqwest::Result<Response> {
        self.signed(topic, body, webhook_id).send().await
    }

    fn signed(&self, topic: &str, body: Vec<u8>, webhook_id: &str) -> reqwest::RequestBuilder {
        self.client
            .post(format!("{}/webhooks", self.url))
            .header("X-Shopify-Topic", topic)
            .header("X-Shopify-Shop-Domain", &self.domain)
            .header("X-Shopify-Webhook-Id", webhook_id)
            .header("X-Shopify-Hmac-Sha256", shopify::signature::sign(&body, SECRET.as_bytes()))
            .body(body)
    }

    /// Asks for a path as the shop's merchant.
    pub async fn get(&self, path: &str) -> (StatusCode, Value) {
        let request = self.client.get(format!("{}{path}", self.url)).bearer_auth(&self.token);
        let answer = request.send().await.expect("the server answers");
        (answer.status(), answer.json().await.expect("JSON"))
    }

    /// The figures of a period, once everything that was acknowledged is in them.
    pub async fn stats(&self, from: &str, to: &str) -> Value {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let (status, stats) = self.get(&format!("/api/dashboard/stats?from={from}&to={to}")).await;
            assert_eq!(status, StatusCode::OK, "{stats}");
            if stats["lag"] == 0 {
                return stats;
            }
            assert!(Instant::now() < deadline, "the lag stays: {stats}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The metrics of a period in minor units and counts, by name; `None` for `null`.
    pub async fn metrics(&self, from: &str, to: &str) -> Metrics {
        Metrics(self.stats(from, to).await["metrics"].clone())
    }
}

/// A shop's metrics.
pub struct Metrics(pub Value);

impl Metrics {
    /// A figure as digits only: `"110.00"` is 11000, a count is itself.
    pub fn get(&self, name: &str) -> Option<i64> {
        let value = &self.0[name];
        match value {
            Value::Null => None,
            Value::Number(number) => number.as_i64(),
            Value::String(text) => text.replace('.', "").parse().ok(),
            money => money["amount"].as_str().and_then(|text| text.replace('.', "").parse().ok()),
        }
    }

    /// Figures that must be there.
    pub fn all<const N: usize>(&self, names: [&str; N]) -> [i64; N] {
        names.map(|name| self.get(name).unwrap_or_else(|| panic!("{name} is unknown: {}", self.0)))
    }
}
