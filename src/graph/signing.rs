//! Ed25519 keys and signatures over JSON (appendices, "Signing JSON").

use std::fmt;

use ruma_common::{
    AnyKeyName, CanonicalJsonObject, ServerName, SigningKeyId,
    canonical_json::CanonicalJsonObjectExt,
    serde::{Base64, base64::Standard},
};
use ruma_signatures::{Ed25519KeyPair, KeyPair as _, to_canonical_json_string_for_signing};
use sha2::{Digest as _, Sha256};

use crate::Reason;

/// The longest name ("version") of a key, in bytes.
const MAX_VERSION_BYTES: usize = 100;

/// An Ed25519 private key in PKCS#8 (RFC 8410) up to where its 32 bytes begin.
const PKCS8_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// This server's signing key. Its id is `ed25519:<version>`, where the version is a name that the server never gives to another key.
pub struct SigningKey {
    seed: [u8; 32],
    id: String,
    pair: Ed25519KeyPair,
}

impl SigningKey {
    /// The key that follows from 32 random bytes.
    ///
    /// # Errors
    /// [`Reason::BadKey`] if `version` is empty, longer than 100 bytes, or has other characters than `a-z`, `A-Z`, `0-9` and `_`.
    pub fn generate(seed: [u8; 32], version: String) -> Result<Self, Reason> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if version.is_empty() || version.len() > MAX_VERSION_BYTES || !version.bytes().all(allowed)
        {
            return Err(Reason::BadKey(format!(
                "the key version {version:?} must be 1 to {MAX_VERSION_BYTES} of the characters a-z, A-Z, 0-9 and _"
            )));
        }
        let mut document = PKCS8_PREFIX.to_vec();
        document.extend_from_slice(&seed);
        let id = format!("ed25519:{version}");
        let pair = Ed25519KeyPair::from_der(&document, version)
            .map_err(|error| Reason::BadKey(error.to_string()))?;
        Ok(Self { seed, id, pair })
    }

    /// Reads a key file: one line `ed25519 <version> <seed in base64>`, white space around it ignored.
    ///
    /// # Errors
    /// [`Reason::BadKey`] if the text is anything else. The text itself is not repeated in it.
    pub fn parse(text: &str) -> Result<Self, Reason> {
        let wrong = |what: &str| Reason::BadKey(format!("the signing key file {what}"));
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let line = lines.next().ok_or_else(|| wrong("is empty"))?;
        if lines.next().is_some() {
            return Err(wrong("has more than one line"));
        }
        let mut words = line.split_ascii_whitespace();
        let (Some("ed25519"), Some(version), Some(seed), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(wrong("must read: ed25519 <version> <seed in base64>"));
        };
        let seed =
            Base64::<Standard>::parse(seed).map_err(|_| wrong("has a seed that is not base64"))?;
        let seed = seed
            .as_bytes()
            .try_into()
            .map_err(|_| wrong("has a seed that is not 32 bytes long"))?;
        Self::generate(seed, version.to_owned())
    }

    /// The text of a key file, with a line feed at its end. It holds the secret.
    pub fn to_text(&self) -> String {
        let seed = Base64::<Standard, _>::new(&self.seed[..]).encode();
        format!("ed25519 {} {seed}\n", self.pair.version())
    }

    /// `ed25519:<version>`.
    pub fn key_id(&self) -> &str {
        &self.id
    }

    /// The public key in unpadded base64, as servers publish it.
    pub fn public_base64(&self) -> String {
        Base64::<Standard, _>::new(self.pair.public_key()).encode()
    }

    /// Signs an object in the name of `server_name`: adds to its `signatures`, leaves out `signatures` and `unsigned` of what is signed.
    ///
    /// # Errors
    /// [`Reason::BadFormat`] if the object's `signatures` is not an object of objects.
    pub fn sign_json(
        &self,
        server_name: &ServerName,
        object: &mut CanonicalJsonObject,
    ) -> Result<(), Reason> {
        ruma_signatures::sign_json(server_name.as_str(), &self.pair, object)
            .map_err(|error| Reason::BadFormat(error.to_string()))
    }

    /// The signature of a text in unpadded base64: for what is signed as it was written.
    pub fn sign_text(&self, text: &str) -> String {
        self.pair.sign(text.as_bytes()).base64()
    }

    /// A secret for one purpose that whoever has the key can make again, and nobody else: it
    /// tells nothing of the key, nor of the secrets for other purposes.
    pub fn secret_for(&self, purpose: &str) -> [u8; 32] {
        Sha256::new()
            .chain_update(purpose.as_bytes())
            .chain_update([0])
            .chain_update(self.seed)
            .finalize()
            .into()
    }

    pub(crate) fn pair(&self) -> &Ed25519KeyPair {
        &self.pair
    }
}

impl fmt::Debug for SigningKey {
    /// Never shows the secret.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SigningKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// Verifies the one signature that `entity` (a server name or a user id) made on an object with one key.
///
/// `key_id` is the whole id, `ed25519:<name>`; `public_key` the key in base64, padded or not. Other signatures on the object do not matter.
///
/// # Errors
/// [`Reason::BadKey`] if there is no such signature, or it is not valid, or the key is none.
pub fn verify_json(
    entity: &str,
    key_id: &str,
    public_key: &str,
    object: &CanonicalJsonObject,
) -> Result<(), Reason> {
    let wrong = |what: String| Reason::BadKey(format!("{what} ({entity}, {key_id})"));
    let signature = object
        .get_as_object("signatures", "signatures")
        .ok()
        .flatten()
        .and_then(|signatures| signatures.get_as_object(entity, entity).ok().flatten())
        .and_then(|signatures| signatures.get_as_string(key_id, key_id).ok().flatten())
        .ok_or_else(|| wrong("there is no signature".to_owned()))?;
    let signature = Base64::<Standard>::parse(signature)
        .map_err(|_| wrong("the signature is not base64".to_owned()))?;
    let public_key = Base64::<Standard>::parse(public_key)
        .map_err(|_| wrong("the key is not base64".to_owned()))?;
    let id =
        <&SigningKeyId<AnyKeyName>>::try_from(key_id).map_err(|error| wrong(error.to_string()))?;
    let text =
        to_canonical_json_string_for_signing(object).map_err(|error| wrong(error.to_string()))?;
    crate::verify_bytes(
        &id.algorithm(),
        public_key.as_bytes(),
        signature.as_bytes(),
        text.as_bytes(),
    )
    .map_err(|error| wrong(format!("the signature is not valid: {error}")))
}
