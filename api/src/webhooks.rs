//! Deliveries from Shopify: signature first, then durability, then the answer.

use std::{error::Error, io, net::IpAddr, time::Duration};

use axum::{
    Extension,
    body::{Body, HttpBody},
    extract::{Path, State, rejection::PathRejection},
    http::{HeaderMap, StatusCode, header},
};
use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Datelike, Utc};
use http_body_util::BodyExt;
use ingest::{Accepted, Delivery};
use secrecy::ExposeSecret;
use shopify::{ShopDomain, signature};
use utoipa::IntoParams;

use crate::{
    ApiError, App, Peer,
    body_budget::BodyBytes,
    metrics::{WebhookOutcome, count_webhook},
};

/// Shopify's largest bodies are below it.
const MAX_BODY_BYTES: usize = 5 * 1024 * 1024;
/// Shopify hangs up after 5 s: by then it must know to send again.
const STORE_TIMEOUT: Duration = Duration::from_secs(4);
/// A header that is longer says nothing that is kept.
const MAX_HEADER_CHARS: usize = 255;

type PeerOf = Option<Extension<Peer>>;

/// What Shopify sends beside a body. None of it is signed, and a delivery is kept without any of it.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "`accept` reads them, and takes what is odd as missing")]
struct DeliveryHeaders {
    /// `orders/create`. It goes before the path.
    #[param(rename = "X-Shopify-Topic", nullable = false)]
    topic: Option<String>,
    /// The shop's permanent domain.
    #[param(rename = "X-Shopify-Shop-Domain", nullable = false, example = "example.myshopify.com")]
    domain: Option<String>,
    /// By which a repetition is known.
    #[param(rename = "X-Shopify-Webhook-Id", nullable = false)]
    webhook_id: Option<String>,
    /// By which deliveries about one event are known.
    #[param(rename = "X-Shopify-Event-Id", nullable = false)]
    event_id: Option<String>,
    /// An instant.
    #[param(rename = "X-Shopify-Triggered-At", nullable = false)]
    triggered_at: Option<String>,
}

/// Takes a delivery.
#[utoipa::path(
    post, path = "/webhooks", tag = "webhooks",
    params(DeliveryHeaders),
    request_body(content = Option<serde_json::Value>, description = "As signed: any bytes, at most 5 MiB; JSON, if it is to be read",
        content_type = "application/json"),
    responses(
        (status = 200, description = "It is durable: stored now, or before"),
        (status = 400, description = "The body broke off"),
        (status = 401, description = "The signature is missing, wrong, or there twice"),
        (status = 413, description = "The body is too long"),
    ),
    security(("signature" = [])),
)]
pub async fn receive(
    State(app): State<App>,
    peer: PeerOf,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, ApiError> {
    let peer = peer.map(|Extension(peer)| peer);
    counted(&app, peer, &headers, accept(&app, peer, None, &headers, body).await).await
}

/// Takes a delivery of a topic: orders_create is orders/create.
#[utoipa::path(
    post, path = "/webhooks/{topic}", tag = "webhooks",
    params(("topic" = String, Path, description = "Stands in where no header names the topic"), DeliveryHeaders),
    request_body(content = Option<serde_json::Value>, description = "As signed: any bytes, at most 5 MiB; JSON, if it is to be read",
        content_type = "application/json"),
    responses(
        (status = 200, description = "It is durable: stored now, or before"),
        (status = 400, description = "The body broke off"),
        (status = 401, description = "The signature is missing, wrong, or there twice"),
        (status = 413, description = "The body is too long"),
    ),
    security(("signature" = [])),
)]
pub async fn receive_topic(
    State(app): State<App>,
    topic: Result<Path<String>, PathRejection>,
    peer: PeerOf,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, ApiError> {
    // A path that is no text names no topic.
    let topic = topic.ok().map(|Path(topic)| topic);
    let peer = peer.map(|Extension(peer)| peer);
    counted(&app, peer, &headers, accept(&app, peer, topic.as_deref(), &headers, body).await).await
}

/// Counts a delivery by what became of it. A client that sends many whose signature does not fit is told to wait; that
/// is said after the signature was looked at, so that a signed one passes whatever else came from the same address.
async fn counted(
    app: &App,
    peer: Option<Peer>,
    headers: &HeaderMap,
    accepted: Result<Accepted, ApiError>,
) -> Result<StatusCode, ApiError> {
    count_webhook(match &accepted {
        Ok(Accepted::New) => WebhookOutcome::Stored,
        Ok(Accepted::Duplicate) => WebhookOutcome::Duplicate,
        Ok(Accepted::Unclaimed) => WebhookOutcome::Unclaimed,
        Err(ApiError::BadSignature) => WebhookOutcome::Forged,
        Err(ApiError::TooLarge(_) | ApiError::BadRequest(_)) => WebhookOutcome::Unreadable,
        Err(_) => WebhookOutcome::NotStored,
    });
    if matches!(accepted, Err(ApiError::BadSignature)) {
        let decision = app.edge.count(headers, peer, true).await;
        if let Some(refusal) = decision.filter(|decision| !decision.is_allowed) {
            return Err(ApiError::TooManyRequests(refusal.wait_s()));
        }
    }
    accepted.map(|_| StatusCode::OK)
}

async fn accept(
    app: &App,
    peer: Option<Peer>,
    path: Option<&str>,
    headers: &HeaderMap,
    body: Body,
) -> Result<Accepted, ApiError> {
    let body = signed_body(app, peer, headers, body).await?;
    let text = |name: &str| {
        let value = headers.get(name)?.to_str().ok()?.trim();
        (!value.is_empty() && value.len() <= MAX_HEADER_CHARS).then_some(value)
    };
    let domain: Option<ShopDomain> = text("x-shopify-shop-domain").and_then(|domain| domain.parse().ok());
    let (topic, note) = topic_of(text("x-shopify-topic"), path);
    let delivery = Delivery {
        domain: domain.as_ref(),
        topic: &topic,
        webhook_id: text("x-shopify-webhook-id"),
        triggered_at: text("x-shopify-triggered-at").and_then(read_instant),
        event_id: text("x-shopify-event-id"),
        note: note.as_deref(),
        body: &body,
        received_at: (app.clock)(),
    };
    // Never 200 before it is durable: whatever goes wrong here makes Shopify send it again.
    let stored = tokio::time::timeout(STORE_TIMEOUT, app.receiver.receive(&delivery)).await;
    match stored {
        Ok(Ok(accepted)) => {
            tracing::debug!(topic, ?accepted, "delivery stored");
            app.wake.notify_one();
            Ok(accepted)
        }
        Ok(Err(error)) => Err(ApiError::Unavailable(Some(Box::new(error)))),
        Err(_) => Err(ApiError::Timeout),
    }
}

/// The body's bytes as received, once its signature is found valid. Nothing is parsed before.
async fn signed_body(app: &App, peer: Option<Peer>, headers: &HeaderMap, body: Body) -> Result<Bytes, ApiError> {
    let mut signatures = headers.get_all("x-shopify-hmac-sha256").iter();
    let (Some(header), None) = (signatures.next(), signatures.next()) else {
        return Err(ApiError::BadSignature);
    };
    let header =
        header.to_str().ok().filter(|header| signature::is_well_formed(header)).ok_or(ApiError::BadSignature)?;
    // What is signed are the bytes as they come, and nothing here unpacks any: a packed body would be kept and never read.
    if headers.get_all(header::CONTENT_ENCODING).iter().any(|coding| coding != "identity") {
        return Err(ApiError::Encoded);
    }
    let (body, _held) = read(body, app.edge.client(headers, peer)).await?;
    let secrets = app.secrets.iter().map(|secret| secret.expose_secret().as_bytes());
    if signature::is_valid(&body, header, secrets) { Ok(body) } else { Err(ApiError::BadSignature) }
}

/// Reads a body whose sender is not known yet.
async fn read(mut body: Body, client: IpAddr) -> Result<(Bytes, BodyBytes), ApiError> {
    let too_large = || ApiError::TooLarge(MAX_BODY_BYTES);
    if body.size_hint().lower() > MAX_BODY_BYTES as u64 {
        return Err(too_large());
    }
    let mut bytes = BytesMut::new();
    let mut held = BodyBytes::of(client);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(broken_off)?;
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > MAX_BODY_BYTES {
            return Err(too_large());
        }
        // Shopify sends it again when there is room.
        if !held.take(data.len()) {
            return Err(ApiError::Unavailable(None));
        }
        bytes.extend_from_slice(&data);
    }
    Ok((bytes.freeze(), held))
}

/// The database's calendar ends before ours does.
fn read_instant(text: &str) -> Option<DateTime<Utc>> {
    text.parse().ok().filter(|at: &DateTime<Utc>| (1..=9999).contains(&at.year()))
}

/// Why a body did not come to its end.
fn broken_off(error: axum::Error) -> ApiError {
    let causes = std::iter::successors(error.source(), |cause| Error::source(*cause));
    let mut io_errors = causes.filter_map(|cause| cause.downcast_ref::<io::Error>());
    match io_errors.any(|error| error.kind() == io::ErrorKind::TimedOut) {
        true => ApiError::TooSlow,
        false => ApiError::BadRequest("the body ended before it was complete, or is not framed as it says".into()),
    }
}

/// The header decides; the path only where there is none. A mismatch is noted.
fn topic_of(header: Option<&str>, path: Option<&str>) -> (String, Option<String>) {
    let spelled = |topic: &str| topic.replace(['/', '.'], "_");
    match (header, path) {
        (Some(header), Some(path)) if spelled(header) != path => {
            (header.to_owned(), Some(format!("the path says {}", legible(path))))
        }
        (Some(header), _) => (header.to_owned(), None),
        (None, Some(path)) => (from_path(&legible(path)), Some("no topic header: the topic is the path's".to_owned())),
        (None, None) => (String::new(), Some("no topic header".to_owned())),
    }
}

/// What a path says as it can be kept: the database takes no NUL.
fn legible(path: &str) -> String {
    path.chars().filter(|c| !c.is_control()).take(100).collect()
}

/// `orders_partially_fulfilled` is `orders/partially_fulfilled`; where an underscore is in the resource's own name, too,
/// the known names decide.
fn from_path(path: &str) -> String {
    // The older singular names of two compliance topics.
    match path {
        "customer_redact" => return "customers/redact".to_owned(),
        "customer_data_request" => return "customers/data_request".to_owned(),
        _ => {}
    }
    let resources = [
        "app_purchases_one_time",
        "app_subscriptions",
        "bulk_operations",
        "collection_listings",
        "draft_orders",
        "fulfillment_events",
        "fulfillment_orders",
        "inventory_items",
        "inventory_levels",
        "order_transactions",
        "payment_terms",
        "product_listings",
        "selling_plan_groups",
        "subscription_contracts",
        "tender_transactions",
    ];
    let known = resources
        .iter()
        .find_map(|resource| path.strip_prefix(resource)?.strip_prefix('_').map(|rest| (*resource, rest)));
    match known.or_else(|| path.split_once('_')) {
        Some((resource, action)) => format!("{resource}/{action}"),
        None => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_decides_and_the_path_stands_in() {
        assert_eq!(topic_of(Some("orders/create"), Some("orders_create")), ("orders/create".into(), None));
        let (topic, note) = topic_of(Some("orders/create"), Some("shop_redact"));
        assert_eq!((topic.as_str(), note.is_some()), ("orders/create", true));
        for (path, topic) in [
            ("orders_partially_fulfilled", "orders/partially_fulfilled"),
            ("app_uninstalled", "app/uninstalled"),
            ("app_subscriptions_update", "app_subscriptions/update"),
            ("inventory_levels_update", "inventory_levels/update"),
            ("customer_redact", "customers/redact"),
            ("x", "x"),
            ("orders_\0create", "orders/create"),
        ] {
            assert_eq!(topic_of(None, Some(path)).0, topic);
        }
    }
}
