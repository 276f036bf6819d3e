//! The API as its clients meet it.

use std::time::Duration;

use reqwest::{Method, Response};
use serde_json::Value;

use super::Report;
use crate::{config::Environment, http_client};

const PATIENCE: Duration = Duration::from_secs(10);

pub async fn examine(environment: &Environment, url: &str, report: &mut Report) {
    let client = match http_client().timeout(PATIENCE).build() {
        Ok(client) => client,
        Err(error) => return report.failed("api", &error),
    };
    let live = match client.get(format!("{url}/health")).send().await {
        Ok(answer) if answer.status().is_success() => answer,
        Ok(answer) => {
            return report.trouble(
                "api",
                &format!("{url}/health answers {}", answer.status()),
                "something else answers there, or a proxy in front: see that the address leads to `ecomdash serve`",
            );
        }
        Err(error) => {
            return report.trouble(
                "api",
                &format!("{url} does not answer: {error}"),
                "see that `ecomdash serve` runs, on which port it listens (PORT), and what its log says",
            );
        }
    };
    let version = field(live, "version").await;
    let own = env!("CARGO_PKG_VERSION");
    if version != own {
        report.warning(
            "api",
            &format!("it is version {version}, this is {own}"),
            "while a deploy runs that is as it should be; otherwise deploy again",
        );
    }
    match client.get(format!("{url}/health/ready")).send().await {
        Ok(answer) if answer.status().is_success() => report.good("api", &format!("{url} is ready, version {version}")),
        Ok(answer) => {
            let status = answer.status();
            let detail = field(answer, "detail").await;
            report.trouble(
                "api",
                &format!("it lives and is not ready: {status}, {detail}"),
                "what stands above about database and schema is why; `ecomdash migrate` if the schema is behind",
            );
        }
        Err(error) => report.failed("api", &error),
    }
    for origin in environment.allowed_origins.split(',').map(str::trim).filter(|origin| !origin.is_empty()) {
        let asked = client
            .request(Method::OPTIONS, format!("{url}/api/dashboard/stats"))
            .header("Origin", origin)
            .header("Access-Control-Request-Method", "GET")
            .header("Access-Control-Request-Headers", "authorization");
        let allowed = asked.send().await.ok().and_then(|answer| {
            answer.headers().get("access-control-allow-origin").map(|value| value.as_bytes() == origin.as_bytes())
        });
        if allowed == Some(true) {
            report.good("cors", &format!("pages of {origin} may call it"));
        } else {
            report.trouble(
                "cors",
                &format!("pages of {origin} may not call it"),
                "the API runs with another ALLOWED_ORIGINS than this shell has: set the same, and start it again",
            );
        }
    }
}

/// A text of an answer's JSON.
async fn field(answer: Response, name: &str) -> String {
    let body: Value = answer.json().await.unwrap_or_default();
    body[name].as_str().unwrap_or("unknown").to_owned()
}
