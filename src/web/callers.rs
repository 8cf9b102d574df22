//! Who is calling, as a type of a handler's argument.
//!
//! A handler cannot forget to ask: [`User`] exists only for a valid access
//! token, [`Admin`] only for that of somebody with a role on the server, [`Appservice`] only for that of an
//! application service, [`Operator`] only on the administration socket, [`Server`] only for a
//! server that has signed the request; [`Anonymous`] and [`Newcomer`] say that anybody may
//! call.

use std::{borrow::Cow, net::IpAddr, ops::Deref, sync::Arc};

use accounts::{Accounts, Asserted, AuthenticateError, Session};
use actions::Administrator;
use audit::Act;
use axum::extract::{FromRef, FromRequestParts};
use http::{HeaderMap, StatusCode, header, request::Parts};
use peers::Peers;
use ruma_common::{OwnedServerName, ServerName, UserId, api::error::ErrorCode};
use services::Service;

use crate::{
    ApiError,
    exchange::{Exchange, user_agent},
    guests,
};

/// A signed-in user with the device and the rights of the session, or one of its own users
/// as whom an application service acts. Counts the request for its account and notes that
/// the device was seen; an unknown token is counted for the address.
#[derive(Clone, Debug)]
pub struct User {
    session: Session,
    address: IpAddr,
}

impl User {
    /// Who acts and from where, as the audit trail is told.
    pub fn act(&self) -> Act {
        act(&self.session, self.address)
    }

    /// The same with all rights that the user's roles give.
    pub fn administrator(&self) -> Administrator {
        Administrator::session(&self.session, Some(self.address.to_string()))
    }

    /// Refuses if a path or body names somebody else.
    ///
    /// # Errors
    /// 403 `M_FORBIDDEN`.
    pub fn must_be(&self, user_id: &UserId) -> Result<(), ApiError> {
        if self.session.user_id == user_id {
            Ok(())
        } else {
            Err(ApiError::forbidden("You can do this for yourself only."))
        }
    }

    /// The session, to keep.
    pub fn into_session(self) -> Session {
        self.session
    }
}

impl Deref for User {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.session
    }
}

fn act(session: &Session, address: IpAddr) -> Act {
    let from = match &session.service {
        Some(service) => format!("{address}, application service {service}"),
        None => address.to_string(),
    };
    Act::person(session.user_id.as_str(), Some(from))
}

impl<S> FromRequestParts<S> for User
where
    Accounts: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let exchange = Exchange::of(parts)?;
        let Some(token) = access_token(&parts.headers, parts.uri.query()) else {
            exchange.limits.count_address(exchange.address)?;
            return Err(ApiError::missing_token());
        };
        let accounts = Accounts::from_ref(state);
        let service = accounts.services().by_token(&token);
        let authenticated = match &service {
            Some(service) => {
                let asserted = asserted(parts.uri.query());
                accounts.authenticate_service(service, asserted).await
            }
            None => accounts.authenticate(&token).await,
        };
        let session = match authenticated {
            Ok(session) => session,
            Err(error @ AuthenticateError::UnknownToken { .. }) => {
                exchange.limits.count_address(exchange.address)?;
                return Err(error.into());
            }
            Err(error) => return Err(error.into()),
        };
        if service.is_none_or(|service| service.is_limited(&session.user_id)) {
            exchange
                .limits
                .count_account(session.user, session.own_rate)?;
        }
        if session.is_guest {
            let endpoint = exchange.endpoint.get().copied().unwrap_or_default();
            if !guests::may_ask(&parts.method, endpoint) {
                let text = "Guests cannot do this.";
                let code = ErrorCode::GuestAccessForbidden;
                return Err(ApiError::new(StatusCode::FORBIDDEN, code, text));
            }
        }
        let _ = exchange.user_id.set(session.user_id.clone());
        let address = exchange.address.to_string();
        let user_agent = user_agent(&parts.headers);
        let seen = accounts.saw(&session, &address, user_agent.as_deref());
        if let Err(error) = seen.await {
            // Not worth refusing what was asked.
            log::warn!(request_id = exchange.id; "a last-seen time was not written: {error}");
        }
        Ok(Self {
            session,
            address: exchange.address,
        })
    }
}

/// A signed-in user whose account may be locked: for signing out, which is all that such
/// a user may do.
#[derive(Clone, Debug)]
pub struct LockedOrNot {
    session: Session,
    address: IpAddr,
}

impl LockedOrNot {
    /// Who acts and from where, as the audit trail is told.
    pub fn act(&self) -> Act {
        act(&self.session, self.address)
    }
}

impl Deref for LockedOrNot {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.session
    }
}

impl<S> FromRequestParts<S> for LockedOrNot
where
    Accounts: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let exchange = Exchange::of(parts)?;
        exchange.limits.count_address(exchange.address)?;
        let token = access_token(&parts.headers, parts.uri.query());
        let token = token.ok_or_else(ApiError::missing_token)?;
        let accounts = Accounts::from_ref(state);
        Ok(Self {
            session: accounts.authenticate_locked(&token).await?,
            address: exchange.address,
        })
    }
}

/// A [`User`] who has some role on the server; others get 403 `M_FORBIDDEN`. What the role
/// allows each verb asks by itself.
#[derive(Clone, Debug)]
pub struct Admin(User);

impl Deref for Admin {
    type Target = User;

    fn deref(&self) -> &User {
        &self.0
    }
}

impl<S> FromRequestParts<S> for Admin
where
    Accounts: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let user = User::from_request_parts(parts, state).await?;
        if !user.roles.is_empty() {
            Ok(Self(user))
        } else {
            Err(ApiError::forbidden("Only administrators can do this."))
        }
    }
}

/// Anybody. Counts the request for its address; a token is not looked at.
#[derive(Clone, Copy, Debug)]
pub struct Anonymous(());

impl<S: Send + Sync> FromRequestParts<S> for Anonymous {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let exchange = Exchange::of(parts)?;
        exchange.limits.count_address(exchange.address)?;
        Ok(Self(()))
    }
}

/// Whoever calls: a [`User`] with an access token, and [`Anonymous`] without one. For
/// endpoints whose path holds a secret that is enough by itself.
#[derive(Clone, Debug)]
pub enum Anyone {
    /// Signed in. A token that is not valid is refused, as everywhere.
    User(User),
    /// Without a token.
    Nobody(Anonymous),
}

impl<S> FromRequestParts<S> for Anyone
where
    Accounts: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        if access_token(&parts.headers, parts.uri.query()).is_some() {
            User::from_request_parts(parts, state).await.map(Self::User)
        } else {
            let nobody = Anonymous::from_request_parts(parts, state).await?;
            Ok(Self::Nobody(nobody))
        }
    }
}

/// An application service, by its `as_token`; a person's token gets 403 `M_FORBIDDEN`, one that
/// is nobody's 401 as everywhere.
#[derive(Clone, Debug)]
pub struct Appservice(Arc<Service>);

impl Deref for Appservice {
    type Target = Service;

    fn deref(&self) -> &Service {
        &self.0
    }
}

impl<S> FromRequestParts<S> for Appservice
where
    Accounts: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let newcomer = Newcomer::from_request_parts(parts, state).await?;
        match (newcomer.service, newcomer.has_token) {
            (Some(service), _) => Ok(Self(service)),
            (None, false) => Err(ApiError::missing_token()),
            (None, true) => {
                let token = access_token(&parts.headers, parts.uri.query());
                let token = token.ok_or_else(ApiError::missing_token)?;
                Accounts::from_ref(state).authenticate(&token).await?;
                Err(ApiError::forbidden(
                    "Only application services can do this.",
                ))
            }
        }
    }
}

/// Somebody who wants to register or to sign in: anybody, or an application service that
/// does so for one of its users. Counts the request of anybody for its address.
#[derive(Clone, Debug)]
pub struct Newcomer {
    service: Option<Arc<Service>>,
    has_token: bool,
}

impl Newcomer {
    /// The application service whose token came with the request.
    ///
    /// # Errors
    /// 401 `M_MISSING_TOKEN` or `M_UNKNOWN_TOKEN` if there is none.
    pub fn service(&self) -> Result<&Service, ApiError> {
        match &self.service {
            Some(service) => Ok(service),
            None if self.has_token => Err(ApiError::unknown_token(false)),
            None => Err(ApiError::missing_token()),
        }
    }
}

impl<S> FromRequestParts<S> for Newcomer
where
    Accounts: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let exchange = Exchange::of(parts)?;
        let token = access_token(&parts.headers, parts.uri.query());
        let services = Accounts::from_ref(state);
        let service = token
            .as_deref()
            .and_then(|token| services.services().by_token(token));
        if service.is_none() {
            exchange.limits.count_address(exchange.address)?;
        }
        Ok(Self {
            service,
            has_token: token.is_some(),
        })
    }
}

/// Whoever may open the administration socket: the command line of this
/// machine. On any other connection the endpoint does not exist.
#[derive(Clone, Copy, Debug)]
pub struct Operator(());

impl<S: Send + Sync> FromRequestParts<S> for Operator {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        if Exchange::of(parts)?.is_local {
            Ok(Self(()))
        } else {
            Err(ApiError::unrecognized())
        }
    }
}

/// Another server, which has signed the request (server-server API, "Request
/// Authentication"). The signature covers the body as well: it is verified when that was
/// read, before the handler is called.
#[derive(Clone, Debug)]
pub struct Server(OwnedServerName);

impl Server {
    /// Refuses if the request is about somebody of another server.
    ///
    /// # Errors
    /// 403 `M_FORBIDDEN`.
    pub fn must_be(&self, server: &ServerName) -> Result<(), ApiError> {
        if self.0 == server {
            Ok(())
        } else {
            Err(ApiError::forbidden(
                "A server speaks for its own users only.",
            ))
        }
    }
}

impl Deref for Server {
    type Target = ServerName;

    fn deref(&self) -> &ServerName {
        &self.0
    }
}

impl<S> FromRequestParts<S> for Server
where
    Peers: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let exchange = Exchange::of(parts)?;
        if exchange.is_verified.get().is_none() {
            return Err(ApiError::internal(
                "a handler that verifies no signature wants to know which server calls",
            ));
        }
        let peers = Peers::from_ref(state);
        let headers = parts.headers.get_all(header::AUTHORIZATION);
        let headers = headers.iter().filter_map(|value| value.to_str().ok());
        match peers.claim(headers).await {
            Ok(claim) => {
                let origin = claim.origin().to_owned();
                let _ = exchange.claim.set((peers, claim));
                Ok(Self(origin))
            }
            Err(error) => {
                exchange.limits.count_address(exchange.address)?;
                Err(error.into())
            }
        }
    }
}

/// As whom an application service says it acts, in the query.
fn asserted(query: Option<&str>) -> Asserted {
    let mut asserted = Asserted::default();
    for (name, value) in pairs(query) {
        match name.as_str() {
            "user_id" => asserted.user_id = Some(value),
            // The second is how it was called before it was in the specification.
            "device_id" | "org.matrix.msc3202.device_id" => asserted.device_id = Some(value.into()),
            _ => {}
        }
    }
    asserted
}

fn pairs(query: Option<&str>) -> Vec<(String, String)> {
    serde_html_form::from_str(query.unwrap_or_default()).unwrap_or_default()
}

/// The access token of a request: from the `Authorization` header or, as the
/// specification still allows, from the query.
fn access_token<'a>(headers: &'a HeaderMap, query: Option<&str>) -> Option<Cow<'a, str>> {
    bearer(headers)
        .map(Cow::Borrowed)
        .or_else(|| {
            let mut pairs = pairs(query).into_iter();
            let (_, token) = pairs.find(|(name, _)| name == "access_token")?;
            Some(Cow::Owned(token))
        })
        .filter(|token| !token.is_empty())
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn services_say_as_whom_they_act() {
        for (query, user_id, device_id) in [
            (None, None, None),
            (Some("user_id=%40a%3Ab&ts=1"), Some("@a:b"), None),
            (Some("device_id=D&user_id=@a:b"), Some("@a:b"), Some("D")),
            (Some("org.matrix.msc3202.device_id=D"), None, Some("D")),
        ] {
            let expected = Asserted {
                user_id: user_id.map(str::to_owned),
                device_id: device_id.map(Into::into),
            };
            assert_eq!(asserted(query), expected, "{query:?}");
        }
    }

    #[test]
    fn tokens_come_from_the_header_or_the_query() {
        for (authorization, query, expected) in [
            (Some("Bearer abc"), None, Some("abc")),
            (Some("bearer  abc "), None, Some("abc")),
            (Some("Bearer abc"), Some("access_token=def"), Some("abc")),
            (Some("Basic abc"), Some("access_token=def"), Some("def")),
            (Some("Bearer"), None, None),
            (Some("Bearer "), None, None),
            (None, Some("a=b&access_token=def&c=d"), Some("def")),
            (None, Some("access_token=d%2Bf"), Some("d+f")),
            (None, Some("access_token="), None),
            (None, Some("my_access_token=def"), None),
            (None, None, None),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(value) = authorization {
                headers.insert(header::AUTHORIZATION, HeaderValue::from_static(value));
            }
            assert_eq!(
                access_token(&headers, query).as_deref(),
                expected,
                "{authorization:?} {query:?}"
            );
        }
    }
}
