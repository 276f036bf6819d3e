//! Grants: leave to see personal data, each a history of its own in the shop's log ([`domain::grant`]).

use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    Command,
    grant::{Grant, GrantCommand, GrantError, Issued, Read, Used},
    redaction::Said,
};
use event_store::{ShopTx, StoreError};
use uuid::Uuid;

use crate::{Reason, append, states_before};

/// More grants than this of one token that run at once are not looked at.
const LOOKED_AT: i64 = 50;

/// How the log names whoever holds an auditor's token.
#[must_use]
pub fn auditor(token: Uuid) -> String {
    format!("auditor {token}")
}

/// Lets the auditor who holds a token see personal data for so many hours, 72 at most. Returns the grant's id. The caller commits.
///
/// # Errors
/// [`StoreError::Refused`] with a [`domain::grant::GrantError`], or [`StoreError`].
pub async fn issue(
    tx: &mut ShopTx,
    token: Uuid,
    reason: &Reason,
    hours: u32,
    by: &str,
    at: DateTime<Utc>,
) -> Result<String, StoreError> {
    let is_auditor = sqlx::query_scalar!(
        r#"SELECT EXISTS (
               SELECT FROM api_tokens
               WHERE token_id = $1 AND shop_id = $2 AND role = 'auditor'
                 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())) AS "is_auditor!""#,
        token,
        tx.shop().0,
    );
    if !is_auditor.fetch_one(&mut **tx).await? {
        return Err(StoreError::Refused(Box::new(GrantError::NoAuditor)));
    }
    let id = Uuid::now_v7().to_string();
    let until = at + TimeDelta::hours(hours.min(1_000).into()); // too many are refused below
    let issued = Issued { token: token.to_string(), reason: reason.to_string(), by: by.to_owned(), at, until };
    append(tx, Command::Grant(id.clone(), GrantCommand::Issue(issued)), by).await?;
    Ok(id)
}

/// Takes a grant back. The caller commits.
///
/// # Errors
/// [`StoreError::Refused`] with a [`domain::grant::GrantError`], or [`StoreError`].
pub async fn revoke(tx: &mut ShopTx, id: &str, said: Said) -> Result<(), StoreError> {
    let by = said.by.clone();
    append(tx, Command::Grant(id.to_owned(), GrantCommand::Revoke(said)), &by).await
}

/// At most `limit` of a shop's grants, the newest first, those that were issued before one of them.
///
/// # Errors
/// [`StoreError`].
pub async fn list(tx: &mut ShopTx, before: Option<&str>, limit: i64) -> Result<Vec<(String, Grant)>, StoreError> {
    states_before(tx, before, limit).await
}

/// Writes down that the holder of a token is about to see something, under a grant that runs. Returns the grant's id; `None`:
/// there is none, and nothing may be shown. The caller commits before the first byte is sent.
///
/// # Errors
/// [`StoreError`].
pub async fn make_use(
    tx: &mut ShopTx,
    token: Uuid,
    read: Read,
    at: DateTime<Utc>,
) -> Result<Option<String>, StoreError> {
    let (shop, name) = (tx.shop(), token.to_string());
    // Clocks differ by less than that.
    let since = at - Grant::LONGEST - TimeDelta::hours(1);
    let ids = sqlx::query_scalar!(
        "SELECT aggregate_id
         FROM events
         WHERE shop_id = $1 AND aggregate_type = 'grant' AND sequence = 1 AND recorded_at > $2
           AND payload #>> '{GrantIssued,token}' = $3
         ORDER BY position DESC
         LIMIT $4",
        shop.0,
        since,
        name,
        LOOKED_AT,
    )
    .fetch_all(&mut **tx)
    .await?;
    for id in ids {
        if tx.load::<Grant>(&id).await?.allows(&name, at) {
            let used = Used { token: name, read, at };
            append(tx, Command::Grant(id.clone(), GrantCommand::Use(used)), &auditor(token)).await?;
            return Ok(Some(id));
        }
    }
    Ok(None)
}
