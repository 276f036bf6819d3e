//! What stands between the accept loop and every route: who may call from a browser, how often, and the headers that
//! every answer carries.

use std::{convert::Infallible, net::IpAddr, sync::Arc, time::Duration};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use tower::{Layer, ServiceExt, service_fn};
use tower_http::cors::{AllowHeaders, AllowMethods, AllowOrigin, CorsLayer, ExposeHeaders, MaxAge};

use crate::{
    ApiError, MetricsPage,
    limits::{Counted, Decision, Limits, Peer, Tally, client_of},
};

/// How the process meets the world.
pub struct Edge {
    /// Without it, `/metrics` is not there.
    pub metrics: Option<MetricsPage>,
    /// Of requests.
    pub limits: Limits,
    /// Proxies in front whose word about the client's address counts.
    pub trusted_proxies: usize,
    /// Browsers are told to come by HTTPS only.
    pub is_https: bool,
    cors: CorsLayer,
}

impl Edge {
    /// `origins` are those whose pages may call the API.
    #[must_use]
    pub fn new(origins: Origins, limits: Limits, trusted_proxies: usize, is_https: bool) -> Self {
        Self { metrics: None, limits, trusted_proxies, is_https, cors: cors(origins) }
    }

    /// Who calls, as far as proxies are trusted.
    pub(crate) fn client(&self, headers: &HeaderMap, peer: Option<Peer>) -> IpAddr {
        client_of(peer, headers, self.trusted_proxies)
    }

    /// Counts a request of a client.
    pub(crate) async fn count(&self, headers: &HeaderMap, peer: Option<Peer>, forged: bool) -> Option<Decision> {
        let client = self.client(headers, peer);
        self.limits.count(if forged { Counted::Forger(client) } else { Counted::Client(client) }).await
    }
}

/// Origins, each exactly as a browser names it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins(Vec<HeaderValue>);

impl Origins {
    /// A list separated by commas.
    ///
    /// # Errors
    /// What is wrong, and with which entry; never the entry itself.
    pub fn parse(list: &str) -> Result<Self, String> {
        let entries = list.split(',').map(str::trim).enumerate().filter(|(_, entry)| !entry.is_empty());
        let origins: Result<Vec<_>, String> = entries
            .map(|(index, entry)| {
                let fault = |what: &str| format!("entry {} {what}", index + 1);
                if entry.contains('*') {
                    return Err(fault("is a wildcard: name each origin"));
                }
                if !is_origin(entry) {
                    return Err(fault(
                        "is not an origin like https://app.example.com, in lower case and without a path",
                    ));
                }
                HeaderValue::from_str(entry).map_err(|_| fault("cannot stand in a header"))
            })
            .collect();
        origins.map(Self)
    }
}

/// Scheme, host, and a port if it is not the scheme's own: so browsers write it, and nothing else can ever be equal.
fn is_origin(entry: &str) -> bool {
    let Some((scheme, rest)) = entry.split_once("://") else { return false };
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (rest, None),
    };
    let usual = match scheme {
        "https" => "443",
        "http" => "80",
        _ => return false,
    };
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|number| number.to_string() == port) && port != usual;
    let is_v6 = |host: &str| {
        let inside = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        inside.is_some_and(|inside| inside.parse::<std::net::Ipv6Addr>().is_ok_and(|ip| ip.to_string() == inside))
    };
    let is_label = |label: &str| {
        let plain = label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        (1..=63).contains(&label.len()) && plain && !label.starts_with('-') && !label.ends_with('-')
    };
    (is_v6(host) || host.split('.').all(is_label)) && port.is_none_or(is_port)
}

fn cors(Origins(origins): Origins) -> CorsLayer {
    let methods = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];
    // No X-Shopify-Access-Token: an admin token has no place in a browser.
    let allowed = [header::AUTHORIZATION, header::CONTENT_TYPE, HeaderName::from_static("x-request-id")];
    let exposed = [HeaderName::from_static("x-request-id"), header::RETRY_AFTER, LIMIT, REMAINING, RESET];
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_credentials(true)
        .allow_methods(AllowMethods::list(methods))
        .allow_headers(AllowHeaders::list(allowed))
        .expose_headers(ExposeHeaders::list(exposed))
        .max_age(MaxAge::exact(Duration::from_secs(600)))
        .vary([header::ORIGIN])
}

const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

/// Around every route. A browser's question beforehand is answered here, without a token; no page of another origin has
/// any business with webhooks or metrics.
pub(crate) async fn guard(State(edge): State<Arc<Edge>>, request: Request, next: Next) -> Response {
    let is_api = request.uri().path().starts_with("/api/");
    let mut response = if is_api {
        let inner = service_fn(|request| async { Ok::<_, Infallible>(limited(&edge, request, next.clone()).await) });
        match edge.cors.layer(inner).oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    } else {
        limited(&edge, request, next).await
    };
    let headers = response.headers_mut();
    plain_headers(headers);
    if edge.is_https {
        let a_year = HeaderValue::from_static("max-age=31536000; includeSubDomains");
        headers.entry(header::STRICT_TRANSPORT_SECURITY).or_insert(a_year);
    }
    response
}

/// Headers of answers that are data and no pages. A route that serves pages sets its own before.
pub(crate) fn plain_headers(headers: &mut HeaderMap) {
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}

/// Counts the client, and tells in the answer what is left to it. Not counted are webhooks, which are counted once their
/// signature was looked at, and what operators and their platform ask for, most of all when there is a flood.
async fn limited(edge: &Edge, mut request: Request, next: Next) -> Response {
    let tally = Tally::default();
    request.extensions_mut().insert(tally.clone());
    let first = request.uri().path().split('/').nth(1).unwrap_or_default();
    let is_counted = !["webhooks", "health", "metrics"].contains(&first);
    let peer = request.extensions().get::<Peer>().copied();
    let decision = if is_counted { edge.count(request.headers(), peer, false).await } else { None };
    if let Some(decision) = decision {
        tally.note(decision);
    }
    let mut response = match decision.filter(|decision| !decision.is_allowed) {
        Some(refusal) => ApiError::TooManyRequests(refusal.wait_s()).into_response(),
        None => next.run(request).await,
    };
    if let Some(decision) = tally.get() {
        let headers = response.headers_mut();
        for (name, number) in
            [(LIMIT, decision.limit.into()), (REMAINING, decision.remaining.into()), (RESET, decision.reset_s())]
        {
            headers.insert(name, HeaderValue::from(number));
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_exactly_what_a_browser_sends() {
        let list = "https://app.example.com, http://localhost:3000,https://[2001:db8::1]:8443,,https://a.b";
        assert_eq!(Origins::parse(list).unwrap().0.len(), 4);
        assert_eq!(Origins::parse("").unwrap(), Origins::default());
        for bad in [
            "*",
            "https://*.example.org",
            "dash.example.org",
            "null",
            "https://dash.example.org/",
            "https://dash.example.org/path",
            "https://dash.example.org:443",
            "http://dash.example.org:80",
            "https://dash.example.org:08443",
            "https://dash.example.org:99999",
            "https://Dash.example.org",
            "https://user@dash.example.org",
            "https://dash.example.org?x",
            "https://dash..example.org",
            "https://-dash.example.org",
            "https://",
            "ftp://dash.example.org",
            "https://[2001:DB8::1]",
            "https://dash.example.org https://b.example.org",
        ] {
            let fault = Origins::parse(&format!("https://good.example.com,{bad}")).unwrap_err();
            assert!(fault.starts_with("entry 2 "), "{bad}: {fault}");
            assert!(!fault.contains("example.org"), "the entry is not shown: {fault}");
        }
    }
}
