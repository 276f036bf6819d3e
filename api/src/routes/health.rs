//! Whether the process lives, and whether it can serve.

use std::time::Duration;

use axum::{Json, extract::State};
use event_store::schema_is_current;
use serde_json::{Value, json};

use crate::{ApiError, App};

/// `GET /health`: no I/O, so that a database's hiccup does not restart the fleet.
pub async fn live(State(app): State<App>) -> Json<Value> {
    alive(&app.environment)
}

/// What a process that lives says of itself.
pub fn alive(environment: &str) -> Json<Value> {
    Json(json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION"), "environment": environment }))
}

/// `GET /health/ready`: the database answers and has this build's schema; otherwise 503. Without Redis it
/// serves all the same, each process with limits of its own.
pub async fn ready(State(app): State<App>) -> Result<Json<Value>, ApiError> {
    let check = async {
        let mut connection = app.database.pool().acquire().await?;
        schema_is_current(&mut connection).await
    };
    match tokio::time::timeout(Duration::from_secs(3), check).await {
        Ok(Ok(true)) if app.edge.limits.is_degraded() => Ok(Json(json!({ "status": "degraded" }))),
        Ok(Ok(true)) => Ok(Json(json!({ "status": "ready" }))),
        Ok(Ok(false)) => {
            Err(ApiError::Unavailable(Some("the schema is behind this build: run `ecomdash migrate`".into())))
        }
        Ok(Err(error)) => Err(ApiError::Unavailable(Some(Box::new(error)))),
        Err(_) => Err(ApiError::Timeout),
    }
}
