//! Whether the process lives, and whether it can serve.

use std::time::Duration;

use axum::{Json, extract::State};
use event_store::schema_is_current;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{ApiError, App};

/// The process lives.
#[derive(Serialize, ToSchema)]
pub struct Live {
    #[schema(pattern = "^ok$")]
    status: &'static str,
    /// Of the build.
    version: &'static str,
    /// `development`, `production` …
    environment: String,
}

/// It can serve.
#[derive(Serialize, ToSchema)]
pub struct Ready {
    /// `degraded`: Redis is away, and each process has limits of its own.
    #[schema(pattern = "^(ready|degraded)$")]
    status: &'static str,
}

/// The process lives: no I/O, so that a database's hiccup does not restart the fleet.
#[utoipa::path(
    get, path = "/health", tag = "service",
    responses((status = 200, description = "It lives", body = Live)),
)]
pub async fn live(State(app): State<App>) -> Json<Live> {
    alive(&app.environment)
}

/// What a process that lives says of itself.
pub fn alive(environment: &str) -> Json<Live> {
    Json(Live { status: "ok", version: env!("CARGO_PKG_VERSION"), environment: environment.to_owned() })
}

/// The database answers and has this build's schema; otherwise 503. Without Redis it serves all the same.
#[utoipa::path(
    get, path = "/health/ready", tag = "service",
    responses((status = 200, description = "It can serve", body = Ready)),
)]
pub async fn ready(State(app): State<App>) -> Result<Json<Ready>, ApiError> {
    let check = async {
        let mut connection = app.database.acquire().await?;
        schema_is_current(&mut connection).await
    };
    match tokio::time::timeout(Duration::from_secs(3), check).await {
        Ok(Ok(true)) if app.edge.limits.is_degraded() => Ok(Json(Ready { status: "degraded" })),
        Ok(Ok(true)) => Ok(Json(Ready { status: "ready" })),
        Ok(Ok(false)) => {
            Err(ApiError::Unavailable(Some("the schema is behind this build: run `ecomdash migrate`".into())))
        }
        Ok(Err(error)) => Err(ApiError::Unavailable(Some(Box::new(error)))),
        Err(_) => Err(ApiError::Timeout),
    }
}
