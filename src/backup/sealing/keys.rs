//! Whom something is sealed for, and who can open it.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD as BASE64};
use curve25519_dalek::MontgomeryPoint;
use ring::aead;
use runtime::Random;

use super::{FILE_KEY, STANZA, SealError, TAG, WRAPPING, bech32, cipher, derive, nonce};

/// Prefixes of keys as text.
const PUBLIC: &str = "age";
const SECRET: &str = "age-secret-key-";

/// Text that is no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No public key.
    #[error("{0:?} is no public key of age: it begins with age1 (age-keygen makes one)")]
    Public(String),
    /// No secret key in a file.
    #[error("there is no secret key of age in it: a line that begins with AGE-SECRET-KEY-1")]
    Secret,
}

/// A public key: whoever has the secret one can open what is sealed for it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Recipient([u8; 32]);

impl FromStr for Recipient {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let bytes = bech32::decode(PUBLIC, text.trim());
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes
            .map(Self)
            .ok_or_else(|| KeyError::Public(text.to_owned()))
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&bech32::encode(PUBLIC, &self.0))
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl Recipient {
    /// The stanza that has a file's key for this recipient: two lines.
    pub(super) fn wrap(
        &self,
        file_key: &[u8; FILE_KEY],
        random: &Random,
    ) -> Result<String, SealError> {
        let own: [u8; 32] = random.bytes();
        let share = MontgomeryPoint::mul_base_clamped(own).to_bytes();
        let key = wrapping_key(own, &self.0, &share, &self.0)?;
        let mut body = file_key.to_vec();
        key.seal_in_place_append_tag(nonce(0, false), aead::Aad::empty(), &mut body)
            .map_err(|_| SealError::Failed)?;
        Ok(format!(
            "-> {STANZA} {}\n{}\n",
            BASE64.encode(share),
            BASE64.encode(body)
        ))
    }
}

/// The secret keys of an identity file. Never shown.
#[derive(Clone)]
pub struct Identity(Vec<[u8; 32]>);

impl fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Identity({} keys)", self.0.len())
    }
}

impl Identity {
    /// Reads an identity file as `age-keygen` writes it: a secret key on each line, comments
    /// behind `#`.
    ///
    /// # Errors
    /// [`KeyError::Secret`] if there is none, or a line is something else.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let lines = text.lines().map(str::trim);
        let keys = lines
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(|line| bech32::decode(SECRET, line)?.try_into().ok())
            .collect::<Option<Vec<_>>>();
        match keys {
            Some(keys) if !keys.is_empty() => Ok(Self(keys)),
            _ => Err(KeyError::Secret),
        }
    }

    /// The public keys.
    pub fn recipients(&self) -> Vec<Recipient> {
        let public = |key: &[u8; 32]| Recipient(MontgomeryPoint::mul_base_clamped(*key).to_bytes());
        self.0.iter().map(public).collect()
    }

    /// A file's key from a stanza's share and body; none if it is for somebody else.
    pub(super) fn unwrap(
        &self,
        share: &[u8; 32],
        body: &[u8],
    ) -> Result<Option<[u8; FILE_KEY]>, SealError> {
        // Before a key is tried: a longer body could be made to open with several keys.
        if body.len() != FILE_KEY + TAG {
            return Err(SealError::Foreign);
        }
        for secret in &self.0 {
            let public = MontgomeryPoint::mul_base_clamped(*secret).to_bytes();
            let key = wrapping_key(*secret, share, share, &public)?;
            let mut body = body.to_vec();
            let opened = key.open_in_place(nonce(0, false), aead::Aad::empty(), &mut body);
            if let Ok(plain) = opened {
                return Ok((&*plain).try_into().ok());
            }
        }
        Ok(None)
    }
}

/// The key that wraps a file's key: from the secret that both sides can make.
fn wrapping_key(
    own: [u8; 32],
    other: &[u8; 32],
    share: &[u8; 32],
    recipient: &[u8; 32],
) -> Result<aead::LessSafeKey, SealError> {
    let secret = MontgomeryPoint(*other).mul_clamped(own).to_bytes();
    // A point of low order would make a secret that everybody knows.
    if secret == [0; 32] {
        return Err(SealError::Foreign);
    }
    let salt = [share.as_slice(), recipient].concat();
    cipher(&derive(&secret, &salt, WRAPPING)?)
}
