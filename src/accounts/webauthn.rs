//! What a browser and an authenticator say when a passkey is made and when it signs (WebAuthn,
//! level 2), checked. No input or output.
//!
//! Who made an authenticator is not asked for ("none"), so that what it says of that is not
//! looked at.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use model::PasskeyRecord;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
    UnparsedPublicKey,
};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::cbor::{self, Item};

/// The algorithms that are taken, by their COSE numbers.
pub(crate) const ES256: i32 = -7;
pub(crate) const EDDSA: i32 = -8;
pub(crate) const RS256: i32 = -257;

/// The longest answer of a browser or an authenticator, in bytes.
const MAX_ANSWER: usize = 8_192;
/// The longest id of a credential, as the standard has it.
const MAX_ID: usize = 1_023;
/// The longest RSA modulus, in bytes: 4,096 bits.
const MAX_MODULUS: usize = 512;

/// Somebody was there; the authenticator has made sure who; a key comes with the answer.
const PRESENT: u8 = 1;
const VERIFIED: u8 = 4;
const WITH_KEY: u8 = 64;

/// Why an answer does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasskeyError {
    /// It is not of the form that the standard gives it, or too long.
    #[error("the answer of the browser cannot be read")]
    Unreadable,
    /// It answers another question, for another site, or of another kind.
    #[error("the answer of the browser is not to this question")]
    OtherQuestion,
    /// The authenticator has not made sure who is there.
    #[error("the device has not made sure who you are: it needs a PIN, a finger or a face")]
    NotVerified,
    /// Its key is of a kind that is not taken.
    #[error("this kind of passkey is not taken")]
    Algorithm,
    /// The signature is not that of the key.
    #[error("the passkey has not signed this")]
    Signature,
    /// It has signed more often already than it says: there are two of it.
    #[error("this passkey counts backwards, as a copy would: remove it and add it anew")]
    Copied,
}

/// For whom a passkey is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// The host of the server's address: passkeys are bound to it.
    pub host: String,
}

impl Site {
    /// Whether browsers make passkeys for it: a name, and no network address.
    pub fn takes_passkeys(&self) -> bool {
        let is_address = self.host.parse::<std::net::IpAddr>().is_ok();
        !self.host.is_empty() && !is_address && !self.host.starts_with('[')
    }

    /// Whether a page of that origin is one of the server's own: several listeners serve one
    /// server, so that the port does not count.
    fn is_own(&self, origin: &str) -> bool {
        let Some((scheme, rest)) = origin.split_once("://") else {
            return false;
        };
        let host = match rest.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => host,
            _ => rest,
        };
        let is_secure = scheme == "https" || (scheme == "http" && self.host == "localhost");
        is_secure && host.eq_ignore_ascii_case(&self.host)
    }
}

/// What the browser adds to what it was asked, as it wrote it.
#[derive(Deserialize)]
struct ClientData {
    #[serde(rename = "type")]
    kind: String,
    challenge: String,
    origin: String,
    #[serde(default, rename = "crossOrigin")]
    is_cross_origin: bool,
}

/// What an authenticator says of itself and of what it was asked.
struct AuthenticatorData<'a> {
    flags: u8,
    sign_count: u32,
    rest: &'a [u8],
}

/// The answer of a browser in which a passkey was made.
#[derive(Clone, Debug, Default)]
pub struct MadePasskey {
    /// What the browser says of the question.
    pub client_data: Vec<u8>,
    /// What the authenticator says.
    pub attestation: Vec<u8>,
}

/// The answer of a browser in which a passkey signed.
#[derive(Clone, Debug, Default)]
pub struct SignedByPasskey {
    /// The passkey's id.
    pub id: Vec<u8>,
    /// What the browser says of the question.
    pub client_data: Vec<u8>,
    /// What the authenticator says.
    pub authenticator_data: Vec<u8>,
    /// Its signature.
    pub signature: Vec<u8>,
}

fn client_data(
    bytes: &[u8],
    kind: &str,
    site: &Site,
    challenge: &[u8],
) -> Result<(), PasskeyError> {
    if bytes.len() > MAX_ANSWER {
        return Err(PasskeyError::Unreadable);
    }
    let said: ClientData = serde_json::from_slice(bytes).map_err(|_| PasskeyError::Unreadable)?;
    let answered = URL_SAFE_NO_PAD
        .decode(said.challenge.trim_end_matches('='))
        .map_err(|_| PasskeyError::Unreadable)?;
    let is_answer: bool = answered.as_slice().ct_eq(challenge).into();
    let is_ours = said.kind == kind && site.is_own(&said.origin) && !said.is_cross_origin;
    match is_answer && is_ours {
        true => Ok(()),
        false => Err(PasskeyError::OtherQuestion),
    }
}

fn authenticator_data<'a>(
    bytes: &'a [u8],
    site: &Site,
) -> Result<AuthenticatorData<'a>, PasskeyError> {
    if bytes.len() > MAX_ANSWER {
        return Err(PasskeyError::Unreadable);
    }
    let unreadable = PasskeyError::Unreadable;
    let (host, rest) = bytes.split_first_chunk::<32>().ok_or(unreadable)?;
    let ([flags], rest) = rest.split_first_chunk::<1>().ok_or(unreadable)?;
    let (count, rest) = rest.split_first_chunk::<4>().ok_or(unreadable)?;
    if Sha256::digest(site.host.as_bytes()).as_slice() != host {
        return Err(PasskeyError::OtherQuestion);
    }
    if flags & (PRESENT | VERIFIED) != PRESENT | VERIFIED {
        return Err(PasskeyError::NotVerified);
    }
    Ok(AuthenticatorData {
        flags: *flags,
        sign_count: u32::from_be_bytes(*count),
        rest,
    })
}

/// Checks that a passkey was made for this site in answer to this challenge. Returns it without
/// a name and a time.
///
/// # Errors
/// [`PasskeyError`].
pub(crate) fn made(
    answer: &MadePasskey,
    site: &Site,
    challenge: &[u8],
) -> Result<PasskeyRecord, PasskeyError> {
    client_data(&answer.client_data, "webauthn.create", site, challenge)?;
    let unreadable = PasskeyError::Unreadable;
    if answer.attestation.len() > MAX_ANSWER {
        return Err(unreadable);
    }
    let attestation = cbor::whole(&answer.attestation).ok_or(unreadable)?;
    let data = attestation.named("authData").and_then(Item::bytes);
    let data = authenticator_data(data.ok_or(unreadable)?, site)?;
    if data.flags & WITH_KEY == 0 {
        return Err(unreadable);
    }
    // The make of the authenticator stands before it.
    let (_, rest) = data.rest.split_first_chunk::<16>().ok_or(unreadable)?;
    let (length, rest) = rest.split_first_chunk::<2>().ok_or(unreadable)?;
    let length = usize::from(u16::from_be_bytes(*length));
    let (id, rest) = rest.split_at_checked(length).ok_or(unreadable)?;
    if id.is_empty() || id.len() > MAX_ID {
        return Err(unreadable);
    }
    // Extensions, of which none was asked for, stand behind it.
    let (key, _) = cbor::first(rest).ok_or(unreadable)?;
    let (algorithm, public_key) = public_key(&key)?;
    Ok(PasskeyRecord {
        id: id.to_vec(),
        name: String::new(),
        algorithm,
        public_key,
        sign_count: data.sign_count,
        created_at: 0,
        used_at: None,
    })
}

/// A COSE key (RFC 8152) as it is stored.
fn public_key(key: &Item<'_>) -> Result<(i32, Vec<u8>), PasskeyError> {
    let number = |label: i128| key.at(label).and_then(Item::number);
    let part = |label: i128| {
        let bytes = key.at(label).and_then(Item::bytes);
        bytes.ok_or(PasskeyError::Unreadable)
    };
    match (number(1), number(3), number(-1)) {
        (Some(2), Some(-7), Some(1)) => {
            let (x, y) = (part(-2)?, part(-3)?);
            match x.len() == 32 && y.len() == 32 {
                true => Ok((ES256, [&[4], x, y].concat())),
                false => Err(PasskeyError::Unreadable),
            }
        }
        (Some(1), Some(-8), Some(6)) => {
            let x = part(-2)?;
            match x.len() == 32 {
                true => Ok((EDDSA, x.to_vec())),
                false => Err(PasskeyError::Unreadable),
            }
        }
        (Some(3), Some(-257), _) => {
            let (modulus, exponent) = (part(-1)?, part(-2)?);
            if !(256..=MAX_MODULUS).contains(&modulus.len()) || exponent.len() > 8 {
                return Err(PasskeyError::Algorithm);
            }
            let length = u16::try_from(modulus.len()).map_err(|_| PasskeyError::Algorithm)?;
            Ok((RS256, [&length.to_be_bytes(), modulus, exponent].concat()))
        }
        _ => Err(PasskeyError::Algorithm),
    }
}

/// Checks that a passkey has signed in answer to this challenge. Returns how often it has
/// signed.
///
/// # Errors
/// [`PasskeyError`].
pub(crate) fn signed(
    answer: &SignedByPasskey,
    passkey: &PasskeyRecord,
    site: &Site,
    challenge: &[u8],
) -> Result<u32, PasskeyError> {
    client_data(&answer.client_data, "webauthn.get", site, challenge)?;
    let data = authenticator_data(&answer.authenticator_data, site)?;
    let hash = Sha256::digest(&answer.client_data);
    let text = [&answer.authenticator_data, hash.as_slice()].concat();
    if !verifies(passkey, &text, &answer.signature) {
        return Err(PasskeyError::Signature);
    }
    let counts = data.sign_count != 0 || passkey.sign_count != 0;
    if counts && data.sign_count <= passkey.sign_count {
        return Err(PasskeyError::Copied);
    }
    Ok(data.sign_count)
}

fn verifies(passkey: &PasskeyRecord, text: &[u8], signature: &[u8]) -> bool {
    let key = passkey.public_key.as_slice();
    match passkey.algorithm {
        ES256 => UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key)
            .verify(text, signature)
            .is_ok(),
        EDDSA => UnparsedPublicKey::new(&ED25519, key)
            .verify(text, signature)
            .is_ok(),
        RS256 => {
            let Some((length, rest)) = key.split_first_chunk::<2>() else {
                return false;
            };
            let length = usize::from(u16::from_be_bytes(*length));
            let Some((n, e)) = rest.split_at_checked(length) else {
                return false;
            };
            RsaPublicKeyComponents { n, e }
                .verify(&RSA_PKCS1_2048_8192_SHA256, text, signature)
                .is_ok()
        }
        _ => false,
    }
}
