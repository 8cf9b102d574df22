//! A small HTTP client that keeps everything an assertion needs.

use std::fmt;
use std::ops::Deref;

use reqwest::header::HeaderMap;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;

/// Requests to one server, with or without an access token.
///
/// A path that starts with `/` is taken as it is; any other stands below
/// `/_matrix/client/`: `v3/sync`.
#[derive(Debug, Clone)]
pub struct Api {
    client: Client,
    url: String,
    token: Option<String>,
}

/// What the server answered.
pub struct Answer {
    request: String,
    /// The HTTP status code.
    pub status: u16,
    /// The HTTP headers.
    pub headers: HeaderMap,
    /// The body if it is JSON; null otherwise.
    pub body: Value,
    /// The body as text.
    pub text: String,
}

impl Api {
    /// A client for the server at `url`, without an access token.
    pub fn new(url: &str) -> Self {
        Self {
            client: Client::new(),
            url: url.to_owned(),
            token: None,
        }
    }

    /// The same client with this access token.
    pub fn with_token(&self, token: &str) -> Self {
        Self {
            token: Some(token.to_owned()),
            ..self.clone()
        }
    }

    /// The same client without an access token.
    pub fn anonymous(&self) -> Self {
        Self {
            token: None,
            ..self.clone()
        }
    }

    /// Where the server listens: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A request that a test may add to before it is sent with [`Api::send_request`].
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = if path.starts_with('/') {
            format!("{}{path}", self.url)
        } else {
            format!("{}/_matrix/client/{path}", self.url)
        };
        let request = self.client.request(method, url);
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Sends a request; `Err` when the connection broke before the answer was whole.
    pub async fn try_request(&self, request: RequestBuilder) -> Result<Answer, reqwest::Error> {
        let request = request.build()?;
        let name = format!("{} {}", request.method(), request.url());
        let response = self.client.execute(request).await?;
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let text = response.text().await?;
        Ok(Answer {
            request: name,
            status,
            headers,
            body: serde_json::from_str(&text).unwrap_or_default(),
            text,
        })
    }

    /// Sends a request and takes the whole answer.
    pub async fn send_request(&self, request: RequestBuilder) -> Answer {
        self.try_request(request).await.expect("an answer")
    }

    /// `GET path`
    pub async fn get(&self, path: impl AsRef<str>) -> Answer {
        self.send_request(self.request(Method::GET, path.as_ref()))
            .await
    }

    /// `DELETE path`, with a body where `body` is not null.
    pub async fn delete(&self, path: impl AsRef<str>, body: Value) -> Answer {
        let request = self.request(Method::DELETE, path.as_ref());
        let request = if body.is_null() {
            request
        } else {
            request.json(&body)
        };
        self.send_request(request).await
    }

    /// `PUT path`
    pub async fn put(&self, path: impl AsRef<str>, body: Value) -> Answer {
        self.send_request(self.request(Method::PUT, path.as_ref()).json(&body))
            .await
    }

    /// `POST path`
    pub async fn post(&self, path: impl AsRef<str>, body: Value) -> Answer {
        self.send_request(self.request(Method::POST, path.as_ref()).json(&body))
            .await
    }

    /// A request whose body is these bytes, declared as JSON.
    pub async fn raw(
        &self,
        method: Method,
        path: impl AsRef<str>,
        body: impl Into<reqwest::Body>,
    ) -> Answer {
        let request = self
            .request(method, path.as_ref())
            .header("Content-Type", "application/json")
            .body(body);
        self.send_request(request).await
    }
}

impl Answer {
    /// The body of a 200.
    #[track_caller]
    pub fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        assert!(!self.body.is_null(), "not JSON: {self:?}");
        self.body
    }

    /// The body of a Matrix error with this status and code.
    #[track_caller]
    pub fn refused(self, status: u16, errcode: &str) -> Value {
        assert_eq!(
            (self.status, self.body["errcode"].as_str()),
            (status, Some(errcode)),
            "{self:?}"
        );
        assert!(
            self.body["error"].is_string(),
            "an error without words: {self:?}"
        );
        self.body
    }

    /// The body of a Matrix error with one of these statuses, whatever its code.
    #[track_caller]
    pub fn refused_with(self, statuses: &[u16]) -> Value {
        assert!(
            statuses.contains(&self.status),
            "not one of {statuses:?}: {self:?}"
        );
        assert!(self.body["errcode"].is_string(), "{self:?}");
        self.body
    }

    /// The body of a 401 that asks for a step of user-interactive authentication.
    #[track_caller]
    pub fn asks_for_auth(self) -> Value {
        assert_eq!(self.status, 401, "{self:?}");
        assert!(self.body["flows"].is_array(), "{self:?}");
        assert!(self.body["session"].is_string(), "{self:?}");
        self.body
    }

    /// A header's value, empty when it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or("")
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short: String = self.text.chars().take(2000).collect();
        write!(formatter, "{} -> {} {short}", self.request, self.status)
    }
}

impl Deref for crate::User {
    type Target = Api;

    fn deref(&self) -> &Api {
        &self.api
    }
}

/// Percent-encodes a path segment or a query value (an alias, a JSON filter).
pub fn escape(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
