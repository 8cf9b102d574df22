//! The key by which an authority knows this server, and what is signed with it (RFC 7515).

use std::{fs, io, path::Path};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use rcgen::KeyPair;
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{CertificateError, file};

/// The account's key.
pub(super) struct Account {
    key: EcdsaKeyPair,
    /// The public half: both coordinates.
    x: String,
    y: String,
}

impl Account {
    /// Reads the key from its file, or makes it.
    pub(super) fn load(path: &Path) -> Result<Self, CertificateError> {
        let content = |reason: String| CertificateError::Content {
            path: path.to_owned(),
            reason,
        };
        let pair = match fs::read_to_string(path) {
            Ok(text) => KeyPair::from_pem(&text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let pair = KeyPair::generate()?;
                file::write_private(path, &pair.serialize_pem())?;
                pair
            }
            Err(reason) => return Err(file::failed(path, reason)),
        };
        let key = EcdsaKeyPair::from_pkcs8(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            &pair.serialize_der(),
            &SystemRandom::new(),
        );
        let key = key.map_err(|error| content(error.to_string()))?;
        // 4, and two numbers of 32 bytes.
        let public = key.public_key().as_ref();
        let (Some(x), Some(y)) = (public.get(1..33), public.get(33..65)) else {
            return Err(content("it is no key of this kind".to_owned()));
        };
        let (x, y) = (BASE64.encode(x), BASE64.encode(y));
        Ok(Self { key, x, y })
    }

    /// The public key as JSON.
    fn jwk(&self) -> Value {
        json!({ "crv": "P-256", "kty": "EC", "x": self.x, "y": self.y })
    }

    /// The public key's hash (RFC 7638): of its members in order, without white space.
    pub(super) fn thumbprint(&self) -> String {
        let members = format!(
            r#"{{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}}"#,
            self.x, self.y
        );
        BASE64.encode(Sha256::digest(members.as_bytes()))
    }

    /// A signed request. `id` is the account's address, once the authority has told it; a
    /// request without payload only reads.
    pub(super) fn sign(
        &self,
        url: &str,
        nonce: &str,
        id: Option<&str>,
        payload: Option<&Value>,
    ) -> Result<Value, CertificateError> {
        let mut protected = json!({ "alg": "ES256", "nonce": nonce, "url": url });
        match id {
            Some(id) => protected["kid"] = id.into(),
            None => protected["jwk"] = self.jwk(),
        }
        let protected = BASE64.encode(protected.to_string());
        let payload = payload.map_or_else(String::new, |value| BASE64.encode(value.to_string()));
        let signed = format!("{protected}.{payload}");
        let signature = self.key.sign(&SystemRandom::new(), signed.as_bytes());
        let signature =
            signature.map_err(|_| CertificateError::Refused("nothing can be signed".to_owned()))?;
        Ok(json!({
            "protected": protected, "payload": payload,
            "signature": BASE64.encode(signature),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_signed_is_signed_by_the_key_that_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("account.key");
        let first = Account::load(&path).unwrap();
        let again = Account::load(&path).unwrap();
        assert_eq!(first.thumbprint(), again.thumbprint());
        let wish = json!({ "a": 1 });
        let signed = first
            .sign("https://a.test/x", "n", None, Some(&wish))
            .unwrap();
        let part = |name: &str| signed[name].as_str().unwrap().to_owned();
        let protected: Value =
            serde_json::from_slice(&BASE64.decode(part("protected")).unwrap()).unwrap();
        assert_eq!(protected["jwk"], again.jwk());
        assert_eq!(protected["url"], "https://a.test/x");
        let message = format!("{}.{}", part("protected"), part("payload"));
        let public = ring::signature::UnparsedPublicKey::new(
            &ring::signature::ECDSA_P256_SHA256_FIXED,
            again.key.public_key().as_ref(),
        );
        let signature = BASE64.decode(part("signature")).unwrap();
        public.verify(message.as_bytes(), &signature).unwrap();
        fs::write(&path, "nothing").unwrap();
        assert!(Account::load(&path).is_err());
    }
}
