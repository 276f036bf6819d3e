//! The document of the surface, made of what the handlers say of themselves, and what is the same everywhere.
//!
//! A handler's `#[utoipa::path]` names its own parameters and answers. [`complete`] adds those that no handler gives by itself:
//! of the token, of time that ran out, of a fault.

use std::sync::LazyLock;

use axum::http::Method;
use domain::snapshot::{AGGREGATE_TYPES, all_event_types};
use read_models::metrics::METRICS;
use utoipa::{
    OpenApi, PartialSchema, ToSchema,
    openapi::{
        ContentBuilder, Header, ObjectBuilder, Ref, RefOr, Response, Schema, Type,
        path::{Operation, PathItem},
        security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

/// How many roles there are: an operation that all of them may call refuses none.
const ROLES: usize = 4;

/// What does not belong to one handler.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "EcomDash",
        description = "Shopify's webhooks go in, figures come out. A token names its shop and its role; nothing else in a \
                       request does. The roles that may call an operation stand at its security requirement.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    components(schemas(Problem)),
    tags(
        (name = "figures", description = "What a shop sold"),
        (name = "shops", description = "What is known of a shop"),
        (name = "audit", description = "A shop's log, for whoever checks it"),
        (name = "compliance", description = "Requests about persons: erasing them, showing what is kept of them, and who may see it"),
        (name = "webhooks", description = "Deliveries from Shopify"),
        (name = "service", description = "The process, and this document"),
    ),
)]
pub struct Surroundings;

/// Problem details (RFC 9457).
#[derive(ToSchema)]
#[expect(dead_code, reason = "`ApiError` writes them")]
struct Problem {
    /// Which problem: stable.
    #[schema(pattern = "^/problems/[a-z-]+$")]
    r#type: String,
    /// The same for every problem of the type.
    title: String,
    /// The answer's status.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What to change.
    detail: String,
    /// To quote; as in the header `x-request-id`.
    #[schema(required)]
    request_id: Option<String>,
}

/// An amount with exactly its currency's digits.
#[derive(ToSchema)]
#[expect(dead_code, reason = "`domain::Money` is what is written")]
pub struct Money {
    #[schema(pattern = r"^-?[0-9]+(\.[0-9]+)?$", examples("110.00"))]
    amount: String,
    /// ISO 4217.
    #[schema(pattern = "^[A-Z]{3}$", examples("USD"))]
    currency: String,
}

/// A figure's value.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "`read_models::metrics::Value` is what is written")]
pub enum Figure {
    /// Of money.
    Money(Money),
    /// Of a count.
    Count(i64),
    /// Of a ratio.
    Ratio(Ratio),
    /// Of what is unknown: never 0.
    Unknown,
}

/// A decimal string.
#[derive(ToSchema)]
#[schema(value_type = String, pattern = r"^-?[0-9]+\.[0-9]{2}$", examples("1.43"))]
#[expect(dead_code, reason = "`read_models::metrics::Value` is what is written")]
pub struct Ratio(String);

/// The name of a figure.
pub struct MetricName;

impl PartialSchema for MetricName {
    fn schema() -> RefOr<Schema> {
        let names = METRICS.iter().map(|metric| metric.name);
        ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names)).into()
    }
}

impl ToSchema for MetricName {}

/// The name of a figure whose parts add up to it.
pub struct BreakdownMetricName;

impl PartialSchema for BreakdownMetricName {
    fn schema() -> RefOr<Schema> {
        let names = METRICS.iter().filter(|metric| metric.can_be_broken_down()).map(|metric| metric.name);
        ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names)).into()
    }
}

impl ToSchema for BreakdownMetricName {}

/// The name of a type of aggregates.
pub struct AggregateType;

impl PartialSchema for AggregateType {
    fn schema() -> RefOr<Schema> {
        let names = AGGREGATE_TYPES.iter().copied();
        ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names)).into()
    }
}

impl ToSchema for AggregateType {}

/// The name of a type of events.
pub struct EventType;

impl PartialSchema for EventType {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new().schema_type(Type::String).enum_values(Some(all_event_types())).into()
    }
}

impl ToSchema for EventType {}

/// The document, as `/openapi.json` answers it.
pub fn document() -> &'static str {
    static DOCUMENT: LazyLock<String> = LazyLock::new(|| {
        let (_, mut document) = crate::routes().split_for_parts();
        complete(&mut document);
        document.to_pretty_json().expect("a document is JSON") + "\n"
    });
    &DOCUMENT
}

/// Adds what is the same for all operations.
fn complete(document: &mut utoipa::openapi::OpenApi) {
    let components = document.components.get_or_insert_default();
    components.add_security_scheme(
        "bearer",
        SecurityScheme::Http(
            HttpBuilder::new()
                .scheme(HttpAuthScheme::Bearer)
                .description(Some("A token of `ecomdash token issue`, for one shop and one role"))
                .build(),
        ),
    );
    components.add_security_scheme(
        "metrics",
        SecurityScheme::Http(
            HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("What METRICS_TOKEN says")).build(),
        ),
    );
    let signature = ApiKeyValue::with_description(
        "X-Shopify-Hmac-Sha256",
        "HMAC-SHA256 of the body's bytes as sent, under the app's secret, in base64",
    );
    components.add_security_scheme("signature", SecurityScheme::ApiKey(ApiKey::Header(signature)));
    for (status, name, text) in USUAL {
        let mut response = Response::new(text);
        complete_response(status, &mut response);
        components.responses.insert(name.to_owned(), response.into());
    }
    for item in document.paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.post, &mut item.put, &mut item.patch, &mut item.delete];
        operations.into_iter().flatten().for_each(complete_operation);
    }
}

fn complete_operation(operation: &mut Operation) {
    let roles = roles_of(operation);
    let mut usual = vec!["429", "500", "503"];
    if !roles.is_empty() {
        usual.push("401");
        let who = format!("For tokens of {}.", roles.join(", "));
        let text = operation.description.take().map_or(who.clone(), |text| format!("{text}\n\n{who}"));
        operation.description = Some(text);
    }
    if !roles.is_empty() && roles.len() < ROLES {
        usual.push("403");
    }
    let responses = &mut operation.responses.responses;
    for (status, response) in &mut *responses {
        if let RefOr::T(response) = response {
            complete_response(status, response);
        }
    }
    for status in usual {
        responses.entry(status.to_owned()).or_insert_with(|| Ref::from_response_name(name_of(status)).into());
    }
}

/// The operations that take tokens: path, method and the roles whose tokens it takes.
pub fn roles(document: &utoipa::openapi::OpenApi) -> impl Iterator<Item = (String, Method, Vec<String>)> {
    let of_path = |(path, item): (&String, &PathItem)| {
        let operations = [
            (Method::GET, &item.get),
            (Method::POST, &item.post),
            (Method::PUT, &item.put),
            (Method::PATCH, &item.patch),
            (Method::DELETE, &item.delete),
        ];
        let roles = |(method, operation): (_, &Option<Operation>)| {
            Some((path.clone(), method, operation.as_ref().map(roles_of).filter(|roles| !roles.is_empty())?))
        };
        operations.into_iter().filter_map(roles).collect::<Vec<_>>()
    };
    document.paths.paths.iter().flat_map(of_path)
}

/// The roles whose tokens an operation takes.
fn roles_of(operation: &Operation) -> Vec<String> {
    let security = serde_json::to_value(&operation.security).unwrap_or_default();
    let schemes = security.as_array().map_or(&[][..], Vec::as_slice);
    schemes.iter().filter_map(|scheme| Some(scheme["bearer"][0].as_str()?.to_owned())).collect()
}

/// Answers that no handler gives by itself.
const USUAL: [(&str, &str, &str); 5] = [
    ("401", "Unauthorized", "No token, or none that is good"),
    ("403", "Forbidden", "The token's role may not do this"),
    ("429", "TooManyRequests", "Too many requests of one client or shop"),
    ("500", "Internal", "A fault of ours"),
    ("503", "Unavailable", "Not available just now: try again shortly"),
];

fn name_of(status: &str) -> &'static str {
    USUAL.iter().find(|(of, ..)| *of == status).map_or("", |(_, name, _)| name)
}

fn complete_response(status: &str, response: &mut Response) {
    let mut header = |name: &str, text: &str, pattern: Option<&str>| {
        let mut header = Header::new(ObjectBuilder::new().schema_type(Type::String).pattern(pattern));
        header.description = Some(text.to_owned());
        response.headers.insert(name.to_owned(), RefOr::T(header));
    };
    header("x-request-id", "The caller's own, if it is well formed", None);
    match status {
        "401" => header("www-authenticate", "How to authenticate", None),
        "429" | "503" => header("retry-after", "In how many seconds", Some("^[0-9]+$")),
        _ => {}
    }
    if status >= "400" && response.content.is_empty() {
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
        response.content.insert("application/problem+json".to_owned(), content.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_in_the_document_and_the_other_way_round() {
        // The router names its routes to nobody but a programmer who looks at it.
        let shown = format!("{:?}", crate::surface(crate::routes().into()));
        let shown = shown.split_once("fallback_router").expect("after the routes that were added").0;
        let routes = shown.split("RouteId(").skip(1).filter_map(|part| part.split_once("): \"")?.1.split('"').next());
        let mut routed: Vec<&str> = routes.collect();
        let document: serde_json::Value = serde_json::from_str(document()).unwrap();
        let mut documented: Vec<&str> = document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
        routed.sort_unstable();
        documented.sort_unstable();
        assert_eq!(routed, documented);
    }
}
