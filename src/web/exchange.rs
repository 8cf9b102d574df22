//! What is known about a request besides its own bytes.

use std::{
    net::IpAddr,
    sync::{Arc, OnceLock},
};

use axum::extract::FromRequestParts;
use http::{HeaderMap, header, request::Parts};
use peers::{Claim, Peers};
use ruma_common::OwnedUserId;
use runtime::{Tasks, Timestamp};

use crate::{ApiError, Limits};

/// The longest user agent that is kept, in characters: it is stored beside the
/// device, and written by the client.
const USER_AGENT_CHARACTERS: usize = 200;

/// One request and its answer. The front makes it and puts it into the
/// request's extensions; callers and routes write into it what they find out.
pub(crate) struct Exchange {
    /// Names the request in the log and in `X-Request-Id`.
    pub(crate) id: String,
    /// The client's address, proxies seen through.
    pub(crate) address: IpAddr,
    /// Whether it came over the administration socket.
    pub(crate) is_local: bool,
    /// When it came.
    pub(crate) received: Timestamp,
    pub(crate) limits: Limits,
    pub(crate) tasks: Tasks,
    /// The template of the path, once a route has been found.
    pub(crate) endpoint: OnceLock<&'static str>,
    /// Who calls, once that is known.
    pub(crate) user_id: OnceLock<OwnedUserId>,
    /// Set where signatures of other servers are verified before the handler is called.
    pub(crate) is_verified: OnceLock<()>,
    /// Which server says that it calls. Nothing is known before its signature was verified.
    pub(crate) claim: OnceLock<(Peers, Claim)>,
}

impl Exchange {
    /// The exchange that `parts` belong to.
    ///
    /// # Errors
    /// 500 if the request did not come through a [`crate::Front`], which is a
    /// mistake in our wiring.
    pub(crate) fn of(parts: &Parts) -> Result<Arc<Self>, ApiError> {
        parts
            .extensions
            .get::<Arc<Self>>()
            .cloned()
            .ok_or_else(|| ApiError::internal("a request did not come through a front"))
    }
}

/// Where a request comes from: for last-seen, the audit trail, limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The client's address, trusted proxies seen through.
    pub address: IpAddr,
    /// The client's `User-Agent`, cut to 200 characters.
    pub user_agent: Option<String>,
    /// The request's id, as in the log and in `X-Request-Id`.
    pub request_id: String,
    /// When the request came.
    pub received: Timestamp,
}

impl Origin {
    /// The address, as the audit trail is told.
    pub fn place(&self) -> Option<String> {
        Some(self.address.to_string())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Origin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let exchange = Exchange::of(parts)?;
        Ok(Self {
            address: exchange.address,
            user_agent: user_agent(&parts.headers),
            request_id: exchange.id.clone(),
            received: exchange.received,
        })
    }
}

/// The client's `User-Agent`, cut.
pub(crate) fn user_agent(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(header::USER_AGENT)?.to_str().ok()?;
    Some(text.chars().take(USER_AGENT_CHARACTERS).collect())
}
