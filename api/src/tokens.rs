//! Tokens: shown once, kept as hashes, each for one shop and role.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Duration, Utc};
use compliance::append;
use domain::{
    Command, ShopId,
    redaction::Said,
    token::{Issued, TokenCommand},
};
use event_store::{Database, StoreError};
use secrecy::SecretString;
use serde::Serialize;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::Role;

/// Every token begins so.
const PREFIX: &str = "ecd_";

/// A token that was just made.
pub struct IssuedToken {
    /// By which it is listed and revoked.
    pub id: Uuid,
    /// The token itself: this is the only time that it is seen.
    pub secret: SecretString,
}

/// A token without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TokenInfo {
    /// By which it is revoked.
    pub id: Uuid,
    /// What it may do.
    pub role: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// At whose word. Those of earlier releases do not say.
    pub issued_by: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// When it ends by itself.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
    /// At whose word.
    pub revoked_by: Option<String>,
    /// Why it was.
    pub revoke_reason: Option<String>,
}

impl TokenInfo {
    /// Whether it opens anything.
    #[must_use]
    pub fn is_good(&self, now: DateTime<Utc>) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| end > now)
    }
}

/// Makes a token for a shop and a role; operators have no shop. That it was made is recorded in the shop's log.
///
/// # Errors
/// [`StoreError`].
pub async fn issue(
    database: &Database,
    shop: Option<ShopId>,
    role: Role,
    ttl: Option<Duration>,
    said: Said,
) -> Result<IssuedToken, StoreError> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).map_err(|_| StoreError::Refused("no randomness available".into()))?;
    let token = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes));
    let id = Uuid::now_v7();
    let token_hash = hash(&token);
    let by = said.by.clone();
    let insert = sqlx::query_scalar!(
        "INSERT INTO api_tokens (token_id, hash, shop_id, role, expires_at, issued_by, reason)
         VALUES ($1, $2, $3, $4, now() + make_interval(secs => $5), $6, $7)
         RETURNING expires_at",
        id,
        token_hash.as_slice(),
        shop.map(|shop| shop.0),
        role.as_str(),
        ttl.map(Duration::as_seconds_f64),
        by,
        said.reason.clone(),
    );
    if let Some(shop) = shop {
        let mut tx = database.begin(shop).await?;
        // A shop that is being erased is not let anybody into its place.
        tx.lock_log().await?;
        if role == Role::Merchant && ingest::find_by_id(&mut tx, shop).await?.is_none() {
            return Err(StoreError::NoSuchShop(shop));
        }
        let until = insert.fetch_one(&mut *tx).await?;
        let issued = Issued { role: role.as_str().to_owned(), until, said };
        append(&mut tx, Command::Token(id.to_string(), TokenCommand::Issue(issued)), &by).await?;
        tx.commit().await?;
    } else {
        let mut fleet = database.begin_fleet().await?;
        insert.fetch_one(&mut *fleet).await?;
        fleet.commit().await?;
    }
    Ok(IssuedToken { id, secret: token.into() })
}

/// The tokens of a shop, or the operators', newest first.
///
/// # Errors
/// [`StoreError::Unavailable`].
pub async fn list(database: &Database, shop: Option<ShopId>) -> Result<Vec<TokenInfo>, StoreError> {
    let mut fleet = database.begin_fleet().await?;
    let tokens = sqlx::query_as!(
        TokenInfo,
        "SELECT token_id AS id, role, created_at, issued_by, reason, expires_at, revoked_at, revoked_by, revoke_reason
         FROM api_tokens
         WHERE shop_id IS NOT DISTINCT FROM $1
         ORDER BY created_at DESC",
        shop.map(|shop| shop.0),
    )
    .fetch_all(&mut *fleet)
    .await?;
    fleet.commit().await?;
    Ok(tokens)
}

/// Ends a token at once, then records it in its shop's log. `false`: there is none of that id.
///
/// # Errors
/// [`StoreError`]: it may be revoked all the same, and is recorded when it is revoked once more.
pub async fn revoke(database: &Database, id: Uuid, said: Said) -> Result<bool, StoreError> {
    let mut fleet = database.begin_fleet().await?;
    let done = sqlx::query!(
        r#"UPDATE api_tokens
         SET revoked_by = CASE WHEN revoked_at IS NULL THEN $2 ELSE revoked_by END,
             revoke_reason = CASE WHEN revoked_at IS NULL THEN $3 ELSE revoke_reason END,
             revoked_at = COALESCE(revoked_at, now())
         WHERE token_id = $1
         RETURNING shop_id, revoked_at AS "at!", revoked_by, revoke_reason AS reason"#,
        id,
        said.by,
        said.reason,
    );
    let found = done.fetch_optional(&mut *fleet).await?;
    // Whatever keeps the log from growing keeps nobody in.
    fleet.commit().await?;
    let Some(revoked) = found else { return Ok(false) };
    // Whoever was the first; who that was, earlier releases did not say.
    if let (Some(shop), Some(by)) = (revoked.shop_id, revoked.revoked_by) {
        let mut tx = database.begin(ShopId(shop)).await?;
        let said = Said { by: by.clone(), reason: revoked.reason, at: revoked.at };
        append(&mut tx, Command::Token(id.to_string(), TokenCommand::Revoke(said)), &by).await?;
        tx.commit().await?;
    }
    Ok(true)
}

/// Which token this is, whose and what it may do, while it is good.
pub(crate) async fn look_up(
    database: &Database,
    token: &str,
) -> Result<Option<(Uuid, Option<ShopId>, Role)>, StoreError> {
    // What no token looks like is not asked for.
    if !token.starts_with(PREFIX) {
        return Ok(None);
    }
    let hash = hash(token);
    let query = || {
        sqlx::query!(
            r#"SELECT token_id AS "token_id!", shop_id, role AS "role!" FROM find_caller($1)"#,
            hash.as_slice()
        )
    };
    let rows = database.single(query).await?;
    Ok(rows.into_iter().next().and_then(|row| Some((row.token_id, row.shop_id.map(ShopId), row.role.parse().ok()?))))
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}
