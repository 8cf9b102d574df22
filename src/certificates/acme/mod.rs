//! Getting a certificate from an authority on the internet (RFC 8555).

mod account;
mod talk;

use std::{path::Path, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use outgoing::Outgoing;
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use self::{account::Account, talk::Talk};
use crate::{CertificateError, CertificateOptions, Challenges};

/// How long to wait between two looks at what the authority has done, and how often to look.
const PAUSE: Duration = Duration::from_secs(2);
const LOOKS: u32 = 60;

/// An authority that knows this server's account.
pub(crate) struct Acme<'a> {
    talk: Talk<'a>,
    new_order: String,
}

impl<'a> Acme<'a> {
    /// Makes itself known to the authority, with the account whose key is in the file
    /// `account`; the key is made if there is none.
    pub(crate) async fn begin(
        outgoing: &'a Outgoing,
        options: &CertificateOptions,
        account: &Path,
    ) -> Result<Self, CertificateError> {
        let account = Account::load(account)?;
        let mut talk = Talk::new(outgoing, account);
        let directory = talk.read(&options.acme_directory).await?;
        talk.nonces_at(text(&directory, "newNonce")?);
        let mut wish = json!({ "termsOfServiceAgreed": true });
        if !options.acme_email.is_empty() {
            wish["contact"] = json!([format!("mailto:{}", options.acme_email)]);
        }
        talk.sign_on(&text(&directory, "newAccount")?, &wish)
            .await?;
        Ok(Self {
            talk,
            new_order: text(&directory, "newOrder")?,
        })
    }

    /// Gets a certificate for these names: the chain in PEM.
    pub(crate) async fn certificate(
        mut self,
        names: &[String],
        key: &KeyPair,
        challenges: &Challenges,
    ) -> Result<String, CertificateError> {
        let identifier = |name: &String| {
            let is_address = name.parse::<std::net::IpAddr>().is_ok();
            json!({ "type": if is_address { "ip" } else { "dns" }, "value": name })
        };
        let identifiers: Vec<Value> = names.iter().map(identifier).collect();
        let wish = json!({ "identifiers": identifiers });
        let (order, place) = self.talk.ask(&self.new_order, Some(&wish)).await?;
        let place = place.ok_or_else(|| refused("an order without an address"))?;
        let authorizations = order["authorizations"].as_array().cloned();
        for url in authorizations.unwrap_or_default() {
            let url = url.as_str().unwrap_or_default().to_owned();
            self.prove(&url, challenges).await?;
        }
        let mut wanted = CertificateParams::new(names.to_vec())?;
        wanted.distinguished_name = DistinguishedName::new();
        let request = wanted.serialize_request(key)?;
        let wish = json!({ "csr": BASE64.encode(request.der()) });
        self.talk
            .ask(&text(&order, "finalize")?, Some(&wish))
            .await?;
        let done = self.until_valid(&place).await?;
        self.talk.fetch(&text(&done, "certificate")?).await
    }

    /// Proves that a name is ours.
    async fn prove(&mut self, url: &str, challenges: &Challenges) -> Result<(), CertificateError> {
        let (authorization, _) = self.talk.ask(url, None).await?;
        if authorization["status"] == "valid" {
            return Ok(());
        }
        let name = text(&authorization["identifier"], "value")?;
        let offered = authorization["challenges"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let challenge = offered.iter().find(|one| one["type"] == "tls-alpn-01");
        let challenge =
            challenge.ok_or_else(|| refused("it does not ask over TLS (tls-alpn-01)"))?;
        let token = text(challenge, "token")?;
        let proof = format!("{token}.{}", self.talk.thumbprint());
        challenges.prepare(&name, &Sha256::digest(proof.as_bytes()).into())?;
        let proved = async {
            self.talk
                .ask(&text(challenge, "url")?, Some(&json!({})))
                .await?;
            self.until_valid(url).await
        };
        let proved = proved.await;
        challenges.forget(&name);
        proved.map(drop)
    }

    /// Looks again and again until something is valid.
    async fn until_valid(&mut self, url: &str) -> Result<Value, CertificateError> {
        for _ in 0..LOOKS {
            let (found, _) = self.talk.ask(url, None).await?;
            match found["status"].as_str() {
                Some("valid") => return Ok(found),
                Some("pending" | "processing" | "ready") => tokio::time::sleep(PAUSE).await,
                _ => return Err(refused(&why(&found))),
            }
        }
        Err(refused("it has not decided in time"))
    }
}

/// What the authority says was wrong.
fn why(found: &Value) -> String {
    let mut errors = vec![&found["error"]];
    let challenges = found["challenges"].as_array();
    errors.extend(challenges.into_iter().flatten().map(|one| &one["error"]));
    let details = errors
        .into_iter()
        .filter_map(|error| error["detail"].as_str());
    let said: Vec<&str> = details.collect();
    match said.is_empty() {
        true => "it does not say why".to_owned(),
        false => said.join("; "),
    }
}

fn text(object: &Value, key: &str) -> Result<String, CertificateError> {
    let found = object[key].as_str().map(str::to_owned);
    found.ok_or_else(|| refused(&format!("it does not say {key}")))
}

fn refused(why: &str) -> CertificateError {
    CertificateError::Refused(why.to_owned())
}
