//! Who is calling, as a type of a handler's argument.
//!
//! A handler cannot forget to ask: [`User`] exists only for a valid access
//! token, [`Admin`] only for an administrator's, [`Operator`] only on the
//! administration socket, [`Server`] only for a server that has signed the request;
//! [`Anonymous`] says that anybody may call.

use std::ops::Deref;

use accounts::{Accounts, AuthenticateError, Session};
use axum::extract::{FromRef, FromRequestParts};
use http::{HeaderMap, header, request::Parts};
use peers::Peers;
use ruma_common::{OwnedServerName, ServerName, UserId};

use crate::{
    ApiError,
    exchange::{Exchange, user_agent},
};

/// A signed-in user with the device and the rights of the session. Counts the
/// request for its account and notes that the device was seen; an unknown token
/// is counted for the address.
#[derive(Clone, Debug)]
pub struct User(Session);

impl User {
    /// Refuses if a path or body names somebody else.
    ///
    /// # Errors
    /// 403 `M_FORBIDDEN`.
    pub fn must_be(&self, user_id: &UserId) -> Result<(), ApiError> {
        if self.0.user_id == user_id {
            Ok(())
        } else {
            Err(ApiError::forbidden("You can do this for yourself only."))
        }
    }

    /// The session, to keep.
    pub fn into_session(self) -> Session {
        self.0
    }
}

impl Deref for User {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.0
    }
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
        let session = match accounts.authenticate(token).await {
            Ok(session) => session,
            Err(error @ AuthenticateError::UnknownToken { .. }) => {
                exchange.limits.count_address(exchange.address)?;
                return Err(error.into());
            }
            Err(error) => return Err(error.into()),
        };
        exchange.limits.count_account(session.user)?;
        let _ = exchange.user_id.set(session.user_id.clone());
        let address = exchange.address.to_string();
        let user_agent = user_agent(&parts.headers);
        let seen = accounts.saw(&session, &address, user_agent.as_deref());
        if let Err(error) = seen.await {
            // Not worth refusing what was asked.
            log::warn!(request_id = exchange.id; "a last-seen time was not written: {error}");
        }
        Ok(Self(session))
    }
}

/// A [`User`] who administers the server; others get 403 `M_FORBIDDEN`.
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
        if user.is_admin {
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

/// The access token of a request: from the `Authorization` header or, as the
/// specification still allows, from the query.
fn access_token<'a>(headers: &'a HeaderMap, query: Option<&'a str>) -> Option<&'a str> {
    bearer(headers)
        .or_else(|| {
            // Our tokens need no percent-encoding: a value that has some is not
            // one of them, and unknown in either form.
            query?
                .split('&')
                .find_map(|pair| pair.strip_prefix("access_token="))
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
    fn tokens_come_from_the_header_or_the_query() {
        for (authorization, query, expected) in [
            (Some("Bearer abc"), None, Some("abc")),
            (Some("bearer  abc "), None, Some("abc")),
            (Some("Bearer abc"), Some("access_token=def"), Some("abc")),
            (Some("Basic abc"), Some("access_token=def"), Some("def")),
            (Some("Bearer"), None, None),
            (Some("Bearer "), None, None),
            (None, Some("a=b&access_token=def&c=d"), Some("def")),
            (None, Some("access_token="), None),
            (None, Some("my_access_token=def"), None),
            (None, None, None),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(value) = authorization {
                headers.insert(header::AUTHORIZATION, HeaderValue::from_static(value));
            }
            assert_eq!(
                access_token(&headers, query),
                expected,
                "{authorization:?} {query:?}"
            );
        }
    }
}
