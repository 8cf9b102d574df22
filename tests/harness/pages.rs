//! Pages for people, asked for as a browser without cookies does.

use std::fmt;

use reqwest::header::HeaderMap;
use reqwest::{Client, Method, RequestBuilder};

use crate::escape;

/// Somebody with a browser on one server. Redirects are shown, not followed.
#[derive(Debug, Clone)]
pub struct Visitor {
    client: Client,
    url: String,
}

/// A page that came.
pub struct Page {
    request: String,
    /// The HTTP status code.
    pub status: u16,
    /// The HTTP headers.
    pub headers: HeaderMap,
    /// The HTML.
    pub text: String,
}

impl Visitor {
    /// Somebody who visits the server at `url`.
    pub fn new(url: &str) -> Self {
        let client = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .expect("an HTTP client");
        Self {
            client,
            url: url.to_owned(),
        }
    }

    /// A request that a test may add to before it is sent with [`Visitor::send`].
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }

    /// The request of a form with these fields.
    pub fn form(&self, path: &str, fields: &[(&str, &str)]) -> RequestBuilder {
        let fields: Vec<String> = fields
            .iter()
            .map(|(name, value)| format!("{name}={}", escape(value)))
            .collect();
        self.request(Method::POST, path)
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body(fields.join("&"))
    }

    /// Sends a request and takes the whole page.
    pub async fn send(&self, request: RequestBuilder) -> Page {
        let request = request.build().expect("a request");
        let name = format!("{} {}", request.method(), request.url());
        let response = self.client.execute(request).await.expect("an answer");
        Page {
            request: name,
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            text: response.text().await.expect("a whole page"),
        }
    }

    /// Opens a page.
    pub async fn open(&self, path: &str) -> Page {
        self.send(self.request(Method::GET, path)).await
    }

    /// Sends a form.
    pub async fn submit(&self, path: &str, fields: &[(&str, &str)]) -> Page {
        self.send(self.form(path, fields)).await
    }

    /// Fills in the form of an invitation, rightly.
    pub async fn join(&self, token: &str, name: &str, password: &str) -> Page {
        let fields = [("name", name), ("password", password), ("again", password)];
        self.submit(&format!("/join/{token}"), &fields).await
    }
}

impl Page {
    /// A header's value, empty when it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or("")
    }

    /// The page, which must have this status and each of these parts.
    #[track_caller]
    pub fn shows(self, status: u16, parts: &[&str]) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        for part in parts {
            assert!(self.text.contains(part), "{part:?} is not in {self:?}");
        }
        self
    }

    /// The page, which must have none of these parts.
    #[track_caller]
    pub fn hides(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(!self.text.contains(part), "{part:?} is in {self:?}");
        }
        self
    }
}

impl fmt::Debug for Page {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Behind the style, which is the same everywhere.
        let text = self.text.split("</style>").last().unwrap_or("");
        write!(formatter, "{} -> {} {text}", self.request, self.status)
    }
}
