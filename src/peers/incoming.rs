//! Recognising the server that sends a request (server-server API, "Request
//! Authentication").

use ruma_common::{
    OwnedServerName, ServerName, SigningKeyAlgorithm,
    serde::{Base64, base64::Standard},
};

use crate::{
    KeyError, Peers, Refused, json,
    signing::{XMatrix, signed_text},
};

/// The most `Authorization` headers of one request that are looked at.
const MOST_HEADERS: usize = 4;

/// Why a request is not taken for that of the server that it names.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Unauthorized {
    /// There is no usable `Authorization: X-Matrix`.
    #[error("the request needs an Authorization header of the scheme X-Matrix")]
    Missing,
    /// It was signed for another server.
    #[error("the request was signed for {0}, which is another server")]
    WrongDestination(String),
    /// This server does not speak to that one.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The key is not known, and could not be had.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The content has no form that can be verified.
    #[error("the content of the request cannot be verified: {0}")]
    Content(String),
    /// The signature is wrong.
    #[error("the signature of the request does not match it")]
    Signature,
}

/// What a request says of its sender, with the key to verify it. Nothing is known before
/// [`Claim::verify`] has seen the content.
#[derive(Clone, Debug)]
pub struct Claim {
    origin: OwnedServerName,
    destination: OwnedServerName,
    key: String,
    signature: String,
}

impl Peers {
    /// Reads the `Authorization` headers of a request, and gets the key to verify it.
    ///
    /// # Errors
    /// [`Unauthorized`].
    pub async fn claim<'a>(
        &self,
        headers: impl Iterator<Item = &'a str> + Send,
    ) -> Result<Claim, Unauthorized> {
        let claims = headers.take(MOST_HEADERS).filter_map(XMatrix::parse);
        let claims: Vec<XMatrix> = claims.collect();
        let mut last = Unauthorized::Missing;
        // A server may sign with several keys, of which one is enough.
        for claim in claims {
            match self.claimed(claim).await {
                Ok(claim) => return Ok(claim),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn claimed(&self, claim: XMatrix) -> Result<Claim, Unauthorized> {
        let own = self.server_name();
        if let Some(destination) = claim.destination
            && destination != own.as_str()
        {
            return Err(Unauthorized::WrongDestination(destination));
        }
        let origin = ServerName::parse(&claim.origin).map_err(|_| Unauthorized::Missing)?;
        self.may_speak_to(&origin)?;
        if !claim.key.starts_with("ed25519:") {
            return Err(Unauthorized::Missing);
        }
        let now = self.clock().now();
        let key = self.key(&origin, &claim.key, now).await?;
        Ok(Claim {
            origin,
            destination: own.to_owned(),
            key,
            signature: claim.sig,
        })
    }
}

impl Claim {
    /// Who it would be.
    pub fn origin(&self) -> &ServerName {
        &self.origin
    }

    /// Verifies the request, and gives the server that has sent it. `uri` is the path with
    /// the query, as it came; `content` the body, empty if there is none.
    ///
    /// # Errors
    /// [`Unauthorized::Signature`] or [`Unauthorized::Content`].
    pub fn verify(
        &self,
        method: &str,
        uri: &str,
        content: &[u8],
    ) -> Result<OwnedServerName, Unauthorized> {
        let content = (!content.is_empty())
            .then(|| json::canonical(content))
            .transpose()
            .map_err(|error| Unauthorized::Content(error.to_string()))?;
        let servers = (self.origin.as_str(), self.destination.as_str());
        let text = signed_text((method, uri), servers, content.as_deref());
        let bytes =
            |text: &str| Base64::<Standard>::parse(text).map_err(|_| Unauthorized::Signature);
        let (key, signature) = (bytes(&self.key)?, bytes(&self.signature)?);
        graph::verify_bytes(
            &SigningKeyAlgorithm::Ed25519,
            key.as_bytes(),
            signature.as_bytes(),
            text.as_bytes(),
        )
        .map_err(|_| Unauthorized::Signature)?;
        Ok(self.origin.clone())
    }
}
