//! What a service is asked at once.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use outgoing::{Answer, OutgoingError, Request};
use rooms::ReadError;
use ruma_common::{RoomAliasId, UserId};
use serde::Deserialize;
use services::Service;
use store::StoreError;
use tokio::time::{Instant, sleep};
use url::Url;

use super::Appservices;

/// The most bytes of a service's answer.
const ANSWER_LIMIT: usize = 1024 * 1024;
/// How long a service may take to say whether it knows somebody, and to make them.
const QUERY_TIMEOUT: Duration = Duration::from_secs(10);
/// How often it is asked when no answer comes.
const QUERY_ATTEMPTS: u32 = 3;
/// How long to wait between these.
const QUERY_PAUSE: Duration = Duration::from_millis(300);
/// How long a service may take to answer a ping.
const PING_TIMEOUT: Duration = Duration::from_secs(30);
/// How much of an answer to a ping is told, in bytes.
const PING_BODY: usize = 16 * 1024;

/// Why a service has given no answer that counts.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AskError {
    /// It cannot be reached, or not in time.
    #[error(transparent)]
    Outgoing(#[from] OutgoingError),
    /// It answered with a status that is none of those it should.
    #[error("it answered {0}")]
    Status(StatusCode),
    /// Its registration names no address.
    #[error("it has no address")]
    NoUrl,
    /// No service has answered in time (408).
    #[error("the application service did not answer in time")]
    Timeout,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a ping failed (client-server API, `POST /appservice/{appserviceId}/ping`).
#[derive(Clone, Debug, thiserror::Error)]
pub enum PingError {
    /// The registration names no address (400 `M_URL_NOT_SET`).
    #[error("the application service has no address")]
    UrlNotSet,
    /// The service answered with an error (502 `M_BAD_STATUS`).
    #[error("the application service answered with status {status}")]
    BadStatus {
        /// The status.
        status: u16,
        /// What it said.
        body: String,
    },
    /// It cannot be reached (502 `M_CONNECTION_FAILED`).
    #[error("the application service cannot be reached")]
    ConnectionFailed,
    /// It took too long (504 `M_CONNECTION_TIMEOUT`).
    #[error("the application service took too long")]
    ConnectionTimeout,
}

/// A request to a service.
pub(super) struct Question<'a> {
    /// The label of its metrics.
    pub(super) purpose: &'static str,
    pub(super) method: Method,
    /// The path behind `/_matrix/app/v1`.
    pub(super) path: &'a [&'a str],
    /// What stood in place of `/_matrix/app/v1` before there were versions.
    pub(super) old_prefix: &'a [&'a str],
    pub(super) query: &'a [(&'a str, &'a str)],
    pub(super) body: Bytes,
    pub(super) timeout: Duration,
}

impl Question<'_> {
    fn request(&self, service: &Service, prefix: &[&str]) -> Result<Request, AskError> {
        let registration = &service.registration;
        let base = registration.url.as_ref().ok_or(AskError::NoUrl)?;
        let mut headers = HeaderMap::new();
        let token = format!("Bearer {}", registration.hs_token.reveal());
        let mut token =
            HeaderValue::from_bytes(token.as_bytes()).map_err(|_| OutgoingError::Url)?;
        token.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, token);
        if !self.body.is_empty() {
            let json = HeaderValue::from_static("application/json");
            headers.insert(header::CONTENT_TYPE, json);
        }
        Ok(Request {
            purpose: self.purpose,
            method: self.method.clone(),
            url: url(base, prefix, self.path, self.query)?,
            headers,
            body: self.body.clone(),
            plain_http: true,
            route: None,
            redirects: 0,
            timeout: self.timeout,
            answer_limit: ANSWER_LIMIT,
        })
    }
}

/// The address of an endpoint of a service, whose own address may have a path.
fn url(
    base: &Url,
    prefix: &[&str],
    path: &[&str],
    query: &[(&str, &str)],
) -> Result<Url, AskError> {
    let mut url = base.clone();
    url.path_segments_mut()
        .map_err(|()| OutgoingError::Url)?
        .pop_if_empty()
        .extend(prefix)
        .extend(path);
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    Ok(url)
}

/// Whether an answer says that there is no such endpoint, rather than no such thing.
fn knows_no_endpoint(answer: &Answer) -> bool {
    #[derive(Deserialize)]
    struct Error {
        errcode: String,
    }
    if !matches!(answer.status.as_u16(), 404 | 405 | 501) {
        return false;
    }
    match serde_json::from_slice::<Error>(&answer.body) {
        Ok(error) => error.errcode == "M_UNRECOGNIZED",
        Err(_) => true,
    }
}

impl Appservices {
    /// Asks a service, under the older path if it does not know the newer one
    /// (application service API, "Legacy routes").
    pub(super) async fn ask(
        &self,
        service: &Service,
        question: Question<'_>,
    ) -> Result<Answer, AskError> {
        let outgoing = &self.inner.parts.outgoing;
        let request = question.request(service, &["_matrix", "app", "v1"])?;
        let answer = outgoing.send_configured(request).await?;
        if !knows_no_endpoint(&answer) {
            return Ok(answer);
        }
        let request = question.request(service, question.old_prefix)?;
        Ok(outgoing.send_configured(request).await?)
    }

    /// Lets services make a room for an alias of this server that leads nowhere, if it is
    /// in their namespaces. `asker` is the service that asks, if one does.
    ///
    /// # Errors
    /// [`AskError::Timeout`] if a service does not answer to whom the alias belongs alone;
    /// [`AskError::Store`]. That there is no such alias is no error here.
    pub async fn provide_alias(
        &self,
        alias: &RoomAliasId,
        asker: Option<&str>,
    ) -> Result<(), AskError> {
        let services = self.services().all();
        let concerned = services.iter().filter(|service| {
            service.registration.url.is_some()
                && Some(service.id()) != asker
                && service.has_alias(alias.as_str())
        });
        if alias.server_name() != self.rooms().server_name() || concerned.clone().next().is_none() {
            return Ok(());
        }
        let wanted = alias.to_owned();
        let found = self
            .store()
            .read(move |view| match rooms::resolve_alias(view, &wanted) {
                Ok(_) => Ok(true),
                Err(ReadError::Store(error)) => Err(error),
                Err(_) => Ok(false),
            })
            .await?;
        if found {
            return Ok(());
        }
        for service in concerned {
            let answer = self.query(service, &["rooms", alias.as_str()]).await;
            if settled(answer, service.has_alias_alone(alias.as_str()))? {
                break;
            }
        }
        Ok(())
    }

    /// Lets services make a user of this server who is not there, if the id is in their
    /// namespaces.
    ///
    /// # Errors
    /// As [`Appservices::provide_alias`].
    pub async fn provide_user(&self, user_id: &UserId) -> Result<(), AskError> {
        let services = self.services().all();
        let concerned = services
            .iter()
            .filter(|service| service.registration.url.is_some() && service.has_user(user_id));
        if concerned.clone().next().is_none() {
            return Ok(());
        }
        let accounts = &self.inner.parts.accounts;
        if !accounts.is_unknown(user_id.to_owned()).await? {
            return Ok(());
        }
        for service in concerned {
            let answer = self.ask_for_user(service, user_id).await;
            if settled(answer, service.has_user_alone(user_id))? {
                break;
            }
        }
        Ok(())
    }

    /// Asks a service for a user. Returns whether it says that the user is there now.
    pub(super) async fn ask_for_user(
        &self,
        service: &Service,
        user_id: &UserId,
    ) -> Result<bool, AskError> {
        self.query(service, &["users", user_id.as_str()]).await
    }

    /// Asks whether something is there; several times if no answer comes.
    async fn query(&self, service: &Service, path: &[&str]) -> Result<bool, AskError> {
        let _place = self.inner.questions.acquire().await;
        for attempt in 0..QUERY_ATTEMPTS {
            if attempt > 0 {
                sleep(QUERY_PAUSE).await;
            }
            let question = Question {
                purpose: "appservice-query",
                method: Method::GET,
                path,
                old_prefix: &[],
                query: &[],
                body: Bytes::new(),
                timeout: QUERY_TIMEOUT,
            };
            match self.ask(service, question).await {
                Ok(answer) => return Ok(answer.status == StatusCode::OK),
                Err(error) => {
                    log::debug!(
                        "the application service {} is silent: {error}",
                        service.id()
                    );
                }
            }
        }
        Err(AskError::Timeout)
    }

    /// Asks a service whether it is there. Returns how long the answer took.
    ///
    /// # Errors
    /// [`PingError`].
    pub async fn ping(
        &self,
        service: &Service,
        transaction_id: Option<&str>,
    ) -> Result<Duration, PingError> {
        let body = match transaction_id {
            Some(id) => serde_json::json!({ "transaction_id": id }),
            None => serde_json::json!({}),
        };
        let question = Question {
            purpose: "appservice-ping",
            method: Method::POST,
            path: &["ping"],
            old_prefix: &[],
            query: &[],
            body: Bytes::from(body.to_string()),
            timeout: PING_TIMEOUT,
        };
        // There never was an older path.
        let request = question.request(service, &["_matrix", "app", "v1"]);
        let request = request.map_err(|_| PingError::UrlNotSet)?;
        let begun = Instant::now();
        let answer = self.inner.parts.outgoing.send_configured(request).await;
        match answer {
            Ok(answer) if answer.status.is_success() => {
                self.wake(service.id());
                Ok(begun.elapsed())
            }
            Ok(answer) => Err(PingError::BadStatus {
                status: answer.status.as_u16(),
                body: String::from_utf8_lossy(&answer.body[..answer.body.len().min(PING_BODY)])
                    .into_owned(),
            }),
            Err(OutgoingError::Timeout) => Err(PingError::ConnectionTimeout),
            Err(error) => {
                log::debug!("a ping of {} failed: {error}", service.id());
                Err(PingError::ConnectionFailed)
            }
        }
    }
}

/// Whether nobody else need be asked after this answer. The silence of a service counts
/// where it `decides_alone`; elsewhere it must not keep anybody from anything.
fn settled(answer: Result<bool, AskError>, decides_alone: bool) -> Result<bool, AskError> {
    match answer {
        Err(AskError::Timeout) if !decides_alone => Ok(false),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_counts_where_one_decides_alone() {
        for (answer, decides_alone, expected) in [
            (Ok(true), false, Some(true)),
            (Ok(false), true, Some(false)),
            (Err(AskError::Timeout), false, Some(false)),
            (Err(AskError::Timeout), true, None),
            (Err(AskError::Store(StoreError::Busy)), false, None),
        ] {
            assert_eq!(settled(answer, decides_alone).ok(), expected);
        }
    }

    #[test]
    fn paths_follow_the_services_own() {
        for (base, expected) in [
            (
                "http://a.test",
                "http://a.test/_matrix/app/v1/users/@x:y?q=%261",
            ),
            (
                "http://a.test/",
                "http://a.test/_matrix/app/v1/users/@x:y?q=%261",
            ),
            (
                "http://a.test:1/b/c",
                "http://a.test:1/b/c/_matrix/app/v1/users/@x:y?q=%261",
            ),
            (
                "http://a.test/b/",
                "http://a.test/b/_matrix/app/v1/users/@x:y?q=%261",
            ),
        ] {
            let base = base.parse().unwrap();
            let prefix = ["_matrix", "app", "v1"];
            let url = url(&base, &prefix, &["users", "@x:y"], &[("q", "&1")]).unwrap();
            assert_eq!(url.as_str(), expected);
        }
        let base = "http://a.test".parse().unwrap();
        let url = url(&base, &[], &["rooms", "#a/b?c:d"], &[]).unwrap();
        assert_eq!(url.as_str(), "http://a.test/rooms/%23a%2Fb%3Fc:d");
    }

    #[test]
    fn older_paths_are_for_services_that_do_not_know_newer_ones() {
        for (status, body, expected) in [
            (200, "{}", false),
            (404, r#"{"errcode":"M_NOT_FOUND"}"#, false),
            (404, r#"{"errcode":"COM.EXAMPLE.NOT_FOUND"}"#, false),
            (404, r#"{"errcode":"M_UNRECOGNIZED"}"#, true),
            (404, "Not found", true),
            (405, "", true),
            (501, "", true),
            (500, "", false),
            (503, "", false),
        ] {
            let answer = Answer {
                status: StatusCode::from_u16(status).unwrap(),
                headers: HeaderMap::new(),
                body: Bytes::from(body),
                version: http::Version::HTTP_11,
                address: None,
            };
            assert_eq!(knows_no_endpoint(&answer), expected, "{status} {body}");
        }
    }
}
