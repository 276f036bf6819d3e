//! `GET /api/audit/verify` and `GET /api/audit/checkpoint`: whether a shop's log is what was written, and what of it is signed.

use axum::{Json, extract::State, http::Version, response::Response};
use event_store::{Checkpoint, StoreError, Trust, Verification, Verified, sign};
use futures::{Stream, stream};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use crate::{ApiError, App, auth::Auditor, ndjson, turns::Turn};

/// Between two lines that say how far it is.
const TOLD_EVERY: i64 = 50_000;

/// What is signed of a log, and the key to check it by.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Checkpoint)]
pub struct CheckpointInfo {
    /// Shop, position, hash, time, and the signature over them with the id of its key.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    checkpoint: Checkpoint,
    /// Of the key that signed: 32 bytes in base64.
    public_key: String,
}

/// Recomputes every hash of the shop's log and compares it with all that was signed of it. Only a few do so at once, and one of
/// each shop: whoever comes beside them is told to come again.
///
/// A JSON value a line. Of a long log the first ones are `{"progress": {"events", "of"}}`; the last one is the outcome:
/// `{"valid", "events", "hash", "first_bad", "checkpoints", "signed_up_to", "unchecked_signatures", "unknown_key"}`. `first_bad` is
/// `null` or `{"position", "what"}`; what stands before it is good. Up to `signed_up_to` the log is what a known key has signed. A
/// checkpoint of a key that is not known here proves nothing: as long as there is one, `valid` is `false`, and `unknown_key` names
/// the key of the first.
#[utoipa::path(
    get, path = "/api/audit/verify", tag = "audit",
    responses(
        (status = 200, description = "Progress and outcome", body = String, content_type = "application/x-ndjson"),
    ),
    security(("bearer" = ["auditor"])),
)]
pub async fn verify(auditor: Auditor, version: Version, State(app): State<App>) -> Result<Response, ApiError> {
    let keys = app.signing.as_ref().ok_or(ApiError::Unavailable(None))?.public();
    let trust = Trust { keys, ..Trust::default() };
    // Whoever comes beside those that may read a log at once comes again.
    let turn = app.verifying.try_take(auditor.shop)?;
    let verification = Verification::begin(&app.database, auditor.shop, trust).await?;
    ndjson::answer(version, told(verification, turn)).await
}

/// Lines while it goes on, and the last one.
fn told(verification: Verification, turn: Turn) -> impl Stream<Item = Result<String, StoreError>> + Send + Unpin {
    Box::pin(stream::try_unfold(Some((verification, turn, 0)), async |state| {
        let Some((mut verification, turn, told)) = state else { return Ok(None) };
        if let Some(verified) = verification.step().await? {
            return Ok(Some((format!("{}\n", outcome(&verified)), None)));
        }
        let (events, of) = verification.progress();
        if events < told + TOLD_EVERY {
            return Ok(Some((String::new(), Some((verification, turn, told)))));
        }
        let line = json!({ "progress": { "events": events, "of": of } });
        Ok(Some((format!("{line}\n"), Some((verification, turn, events)))))
    }))
}

fn outcome(verified: &Verified) -> serde_json::Value {
    let first_bad = verified.fault.as_ref();
    json!({
        "valid": first_bad.is_none(),
        "events": verified.events,
        "hash": verified.hash_hex(),
        "first_bad": first_bad.map(|fault| json!({ "position": fault.position, "what": fault.kind.to_string() })),
        "checkpoints": verified.checkpoints,
        "signed_up_to": verified.signed_up_to,
        "unchecked_signatures": verified.unchecked_signatures,
        "unknown_key": verified.unknown_key,
    })
}

/// The signed checkpoint of the log as it is now: kept elsewhere, it shows whether anything before it was ever rewritten.
///
/// What was added since the last genuine checkpoint is verified first; of what does not hold, nothing is signed. Only a few logs are
/// read at once, as by `/api/audit/verify`.
#[utoipa::path(
    get, path = "/api/audit/checkpoint", tag = "audit",
    responses(
        (status = 200, description = "The checkpoint", body = CheckpointInfo),
        (status = 409, description = "The log does not follow from what was signed before: nothing is signed"),
    ),
    security(("bearer" = ["auditor"])),
)]
pub async fn checkpoint(auditor: Auditor, State(app): State<App>) -> Result<Json<CheckpointInfo>, ApiError> {
    let keys = app.signing.as_ref().ok_or(ApiError::Unavailable(None))?;
    let _turn = app.verifying.try_take(auditor.shop)?;
    let checkpoint = match sign(&app.database, auditor.shop, keys, (app.clock)()).await {
        Err(StoreError::BrokenChain { position, what, .. }) => {
            return Err(ApiError::Conflict(format!("nothing is signed: at position {position}, {what}").into()));
        }
        outcome => outcome?,
    };
    let of_key = keys.public().into_iter().find(|(id, _)| *id == checkpoint.key_id);
    let (_, public_key) = of_key.ok_or_else(|| ApiError::Internal("a checkpoint of no key of ours".into()))?;
    Ok(Json(CheckpointInfo { checkpoint, public_key }))
}
