//! Requests to an authority, each signed, each with a number that is used once.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use outgoing::{Answer, Outgoing, Request};
use serde_json::Value;
use url::Url;

use super::{account::Account, refused, why};
use crate::CertificateError;

/// How long an answer may take, and how long it may be.
const PATIENCE: Duration = Duration::from_secs(30);
const ANSWER_BYTES: usize = 1 << 20;
/// How often a request is sent whose number was used already: some authorities refuse one in five to
/// see whether their clients can bear it.
const TRIES: u32 = 10;

/// A conversation with an authority.
pub(super) struct Talk<'a> {
    outgoing: &'a Outgoing,
    account: Account,
    /// The account's address.
    id: Option<String>,
    new_nonce: String,
    nonce: Option<String>,
}

impl<'a> Talk<'a> {
    pub(super) fn new(outgoing: &'a Outgoing, account: Account) -> Self {
        Self {
            outgoing,
            account,
            id: None,
            new_nonce: String::new(),
            nonce: None,
        }
    }

    /// Where numbers come from.
    pub(super) fn nonces_at(&mut self, url: String) {
        self.new_nonce = url;
    }

    pub(super) fn thumbprint(&self) -> String {
        self.account.thumbprint()
    }

    /// Reads something that everybody may read.
    pub(super) async fn read(&self, url: &str) -> Result<Value, CertificateError> {
        let answer = self.send(Method::GET, url, Bytes::new()).await?;
        parsed(&answer)
    }

    /// Makes the account known, or finds it.
    pub(super) async fn sign_on(
        &mut self,
        url: &str,
        wish: &Value,
    ) -> Result<(), CertificateError> {
        let (_, place) = self.ask(url, Some(wish)).await?;
        self.id = Some(place.ok_or_else(|| refused("an account without an address"))?);
        Ok(())
    }

    /// Asks for something. Returns the answer and, if that is new, its address.
    pub(super) async fn ask(
        &mut self,
        url: &str,
        wish: Option<&Value>,
    ) -> Result<(Value, Option<String>), CertificateError> {
        let answer = self.signed(url, wish).await?;
        let place = answer.headers.get(header::LOCATION);
        let place = place.and_then(|place| place.to_str().ok());
        let place = place.map(str::to_owned);
        Ok((parsed(&answer)?, place))
    }

    /// Fetches a text.
    pub(super) async fn fetch(&mut self, url: &str) -> Result<String, CertificateError> {
        let answer = self.signed(url, None).await?;
        String::from_utf8(answer.body.to_vec())
            .map_err(|_| refused("a certificate that is no text"))
    }

    async fn signed(
        &mut self,
        url: &str,
        wish: Option<&Value>,
    ) -> Result<Answer, CertificateError> {
        for _ in 0..TRIES {
            let nonce = self.next_nonce().await?;
            let body = self.account.sign(url, &nonce, self.id.as_deref(), wish)?;
            let body = Bytes::from(body.to_string());
            let answer = self.send(Method::POST, url, body).await?;
            self.nonce = nonce_of(&answer);
            if answer.status.is_success() {
                return Ok(answer);
            }
            let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            if said["type"] != "urn:ietf:params:acme:error:badNonce" {
                let said = serde_json::json!({ "error": said });
                return Err(refused(&format!("{}: {}", answer.status, why(&said))));
            }
        }
        Err(refused("it takes none of its own numbers"))
    }

    /// A number that was not used.
    async fn next_nonce(&mut self) -> Result<String, CertificateError> {
        if let Some(nonce) = self.nonce.take() {
            return Ok(nonce);
        }
        let answer = self
            .send(Method::HEAD, &self.new_nonce, Bytes::new())
            .await?;
        nonce_of(&answer).ok_or_else(|| refused("it gives no numbers"))
    }

    async fn send(
        &self,
        method: Method,
        url: &str,
        body: Bytes,
    ) -> Result<Answer, CertificateError> {
        let url = Url::parse(url).map_err(|_| refused(&format!("{url} is no address")))?;
        let mut headers = HeaderMap::new();
        if method == Method::POST {
            let kind = HeaderValue::from_static("application/jose+json");
            headers.insert(header::CONTENT_TYPE, kind);
        }
        let request = Request {
            purpose: "certificates",
            method,
            url,
            route: None,
            headers,
            body,
            plain_http: false,
            redirects: 0,
            timeout: PATIENCE,
            answer_limit: ANSWER_BYTES,
        };
        let answer = self.outgoing.send_configured(request).await;
        answer.map_err(|error| CertificateError::Unreached(error.to_string()))
    }
}

fn nonce_of(answer: &Answer) -> Option<String> {
    let nonce = answer.headers.get("replay-nonce")?;
    nonce.to_str().ok().map(str::to_owned)
}

fn parsed(answer: &Answer) -> Result<Value, CertificateError> {
    if answer.status != StatusCode::OK && !answer.status.is_success() {
        return Err(refused(&format!("{}", answer.status)));
    }
    serde_json::from_slice(&answer.body).map_err(|_| refused("an answer that is no JSON"))
}
