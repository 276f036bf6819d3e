//! Who is asking. A token names its shop and role; nothing else in a request does.

use std::{collections::HashMap, str::FromStr, sync::Arc};

use axum::{
    extract::{FromRequestParts, MatchedPath, Request, State},
    http::{Method, header, request::Parts},
    middleware::Next,
    response::Response,
};
use domain::ShopId;
use utoipa::openapi::OpenApi;
use uuid::Uuid;

use crate::{
    ApiError, App,
    limits::{Counted, Tally},
    openapi, tokens,
};

/// What a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Reads figures.
    Merchant,
    /// Reads figures and history.
    Auditor,
    /// Redacts and exports.
    Compliance,
    /// Runs the service: sees no figures and no personal data.
    Operator,
}

impl Role {
    /// As the column and the command line have it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Merchant => "merchant",
            Self::Auditor => "auditor",
            Self::Compliance => "compliance",
            Self::Operator => "operator",
        }
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Merchant, Self::Auditor, Self::Compliance, Self::Operator]
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| format!("`{text}` is none of merchant, auditor, compliance, operator"))
    }
}

/// Which roles may call what, as the document names them at each operation's security requirement.
///
/// This is the one place that lets roles in: what the document does not name is refused, and what has no roles there has no
/// [`Caller`].
#[derive(Clone)]
pub struct Gate {
    app: App,
    /// By path.
    roles: Arc<HashMap<String, HashMap<Method, Vec<Role>>>>,
}

impl Gate {
    /// For the operations of a document.
    pub fn new(app: App, document: &OpenApi) -> Self {
        let mut roles: HashMap<_, HashMap<_, _>> = HashMap::new();
        for (path, method, named) in openapi::roles(document) {
            let named = named.iter().map(|role| role.parse().expect("the document names roles that there are"));
            roles.entry(path).or_default().insert(method, named.collect());
        }
        Self { app, roles: Arc::new(roles) }
    }

    fn roles(&self, request: &Request) -> Option<&[Role]> {
        // What answers GET answers HEAD.
        let method = if request.method() == Method::HEAD { &Method::GET } else { request.method() };
        let of_path = self.roles.get(request.extensions().get::<MatchedPath>()?.as_str())?;
        of_path.get(method).map(Vec::as_slice)
    }
}

/// Lets in whoever may call the operation, and tells the handler who it is.
pub async fn admit(State(gate): State<Gate>, request: Request, next: Next) -> Result<Response, ApiError> {
    let Some(roles) = gate.roles(&request) else { return Ok(next.run(request).await) };
    let (mut parts, body) = request.into_parts();
    let caller = Caller::authenticate(&parts, &gate.app).await?;
    if !roles.contains(&caller.role) {
        return Err(ApiError::Forbidden);
    }
    parts.extensions.insert(caller);
    Ok(next.run(Request::from_parts(parts, body)).await)
}

/// Whoever holds the token of a request.
#[derive(Debug, Clone, Copy)]
pub struct Caller {
    /// `None` for operators.
    pub shop: Option<ShopId>,
    /// What it may do.
    pub role: Role,
    /// Which token it is.
    pub token: Uuid,
}

impl Caller {
    /// Asks the database each time: a token that is revoked is refused from then on, everywhere.
    async fn authenticate(parts: &Parts, app: &App) -> Result<Self, ApiError> {
        let mut headers = parts.headers.get_all(header::AUTHORIZATION).iter();
        let (Some(value), None) = (headers.next(), headers.next()) else {
            return Err(ApiError::Unauthorized);
        };
        let value = value.to_str().map_err(|_| ApiError::Unauthorized)?;
        let (scheme, token) = value.split_once(' ').ok_or(ApiError::Unauthorized)?;
        if !scheme.eq_ignore_ascii_case("bearer") || token.len() > 200 {
            return Err(ApiError::Unauthorized);
        }
        let known = tokens::look_up(&app.database, token.trim()).await?;
        let (token, shop, role) = known.ok_or(ApiError::Unauthorized)?;
        if let Some(shop) = shop {
            within_limit(parts, app, shop).await?;
        }
        Ok(Self { shop, role, token })
    }
}

impl FromRequestParts<App> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, ApiError> {
        // Nobody was let in where the document names no role.
        parts.extensions.get().copied().ok_or(ApiError::Unauthorized)
    }
}

/// All tokens of a shop share its quota, from wherever they are used.
async fn within_limit(parts: &Parts, app: &App, shop: ShopId) -> Result<(), ApiError> {
    let Some(decision) = app.edge.limits.count(Counted::Shop(shop)).await else { return Ok(()) };
    if let Some(tally) = parts.extensions.get::<Tally>() {
        tally.note(decision);
    }
    if decision.is_allowed { Ok(()) } else { Err(ApiError::TooManyRequests(decision.wait_s())) }
}

/// The caller's shop: the only source of a shop's id for queries.
#[derive(Debug, Clone, Copy)]
pub struct CurrentShop {
    /// From the token.
    pub id: ShopId,
}

impl FromRequestParts<App> for CurrentShop {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let caller = <Caller as FromRequestParts<App>>::from_request_parts(parts, app).await?;
        Ok(Self { id: caller.shop.ok_or(ApiError::Forbidden)? })
    }
}

/// Somebody who handles a shop's compliance.
#[derive(Debug, Clone, Copy)]
pub struct Handler {
    /// From the token.
    pub shop: ShopId,
    token: Uuid,
}

impl Handler {
    /// As the log names them: by the token, which one person has.
    pub fn actor(&self) -> String {
        format!("compliance {}", self.token)
    }
}

impl FromRequestParts<App> for Handler {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let caller = <Caller as FromRequestParts<App>>::from_request_parts(parts, app).await?;
        Ok(Self { shop: caller.shop.ok_or(ApiError::Forbidden)?, token: caller.token })
    }
}

/// Somebody who checks a shop's log.
#[derive(Debug, Clone, Copy)]
pub struct Auditor {
    /// From the token.
    pub shop: ShopId,
    /// By which grants know them.
    pub token: Uuid,
}

impl FromRequestParts<App> for Auditor {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let caller = <Caller as FromRequestParts<App>>::from_request_parts(parts, app).await?;
        match (caller.role, caller.shop) {
            (Role::Auditor, Some(shop)) => Ok(Self { shop, token: caller.token }),
            _ => Err(ApiError::Forbidden),
        }
    }
}
