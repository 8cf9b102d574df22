//! Files that only the holder of a secret key can read: the format of
//! [age](https://age-encryption.org/v1), with recipients of its kind X25519 alone.
//!
//! ```text
//! age-encryption.org/v1
//! -> X25519 SHARE            the public half of a key made for this file
//! WRAPPED                    the file's key, for whoever can make the same secret of both
//! --- MAC                    of all above, with the file's key
//! NONCE (16) PIECE…          each of 64 KiB and a tag of 16 bytes; the last one says so
//! ```
//!
//! The primitives are ring's and curve25519-dalek's. What is sealed here, `age` opens, and the
//! other way round.

mod bech32;
mod keys;
mod reader;
mod writer;

use ring::{aead, hkdf, hmac};

pub use self::{
    keys::{Identity, KeyError, Recipient},
    reader::Opened,
    writer::Sealed,
};

/// The first line.
const VERSION: &str = "age-encryption.org/v1";
/// What a stanza for a key of this kind is called.
const STANZA: &str = "X25519";
/// What names the wrapping of a file's key.
const WRAPPING: &[u8] = b"age-encryption.org/v1/X25519";
/// The plain bytes of each piece but the last.
const PIECE: usize = 64 << 10;
/// The bytes of a tag.
const TAG: usize = 16;
/// The bytes of a file's key.
const FILE_KEY: usize = 16;

/// Why bytes cannot be sealed or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// It is not sealed, or not in this format.
    #[error("it is no sealed file of age")]
    Foreign,
    /// It is sealed for others.
    #[error("it is sealed for another key than those of the identity file")]
    OtherKey,
    /// It was changed, or ends early.
    #[error("it is damaged or ends early")]
    Damaged,
    /// The primitives refused, which they do not do.
    #[error("it cannot be sealed")]
    Failed,
}

impl From<SealError> for std::io::Error {
    fn from(error: SealError) -> Self {
        Self::new(std::io::ErrorKind::InvalidData, error)
    }
}

/// How many bytes of keys come out of the derivation.
#[derive(Clone, Copy)]
struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// A key of 32 bytes, derived from a secret.
fn derive(secret: &[u8], salt: &[u8], name: &[u8]) -> Result<[u8; 32], SealError> {
    let pseudo_random = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(secret);
    let mut key = [0; 32];
    pseudo_random
        .expand(&[name], Length(key.len()))
        .and_then(|derived| derived.fill(&mut key))
        .map_err(|_| SealError::Failed)?;
    Ok(key)
}

/// The authentication of a header, from its first byte up to and with `---`.
fn header_key(file_key: &[u8; FILE_KEY]) -> Result<hmac::Key, SealError> {
    let key = derive(file_key, &[], b"header")?;
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &key))
}

fn cipher(key: &[u8; 32]) -> Result<aead::LessSafeKey, SealError> {
    let key = aead::UnboundKey::new(&aead::CHACHA20_POLY1305, key);
    Ok(aead::LessSafeKey::new(key.map_err(|_| SealError::Failed)?))
}

/// The nonce of a piece: its number, and whether it is the last.
fn nonce(number: u64, is_last: bool) -> aead::Nonce {
    let mut bytes = [0; aead::NONCE_LEN];
    bytes[3..11].copy_from_slice(&number.to_be_bytes());
    bytes[11] = u8::from(is_last);
    aead::Nonce::assume_unique_for_key(bytes)
}

/// The key of the pieces.
fn payload_key(
    file_key: &[u8; FILE_KEY],
    nonce: &[u8; 16],
) -> Result<aead::LessSafeKey, SealError> {
    cipher(&derive(file_key, nonce, b"payload")?)
}

#[cfg(test)]
mod tests;
