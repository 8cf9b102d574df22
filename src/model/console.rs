//! Records of second factors, of sessions in the console, and of tokens for programs.

use serde::{Deserialize, Serialize};

use crate::{UserSerial, record::stored};

/// What makes a person's one-time codes (RFC 6238).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeGeneratorRecord {
    /// The secret, sealed with each key that may have to open it: the one in use, and the one
    /// before while keys are changed.
    pub sealed: Vec<Vec<u8>>,
    /// When it was set up, in ms since the Unix epoch.
    pub created_at: u64,
    /// The step of the newest code that was used: neither it nor an older one counts again.
    pub last_step: u64,
}

/// A passkey (WebAuthn) of a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasskeyRecord {
    /// Its id, as the authenticator named it.
    pub id: Vec<u8>,
    /// What its person calls it.
    pub name: String,
    /// The COSE number of its algorithm.
    pub algorithm: i32,
    /// The public key: an uncompressed point, 32 bytes of Ed25519, or modulus and exponent
    /// behind the modulus' length in two bytes.
    pub public_key: Vec<u8>,
    /// How often it has signed, as it says; 0 where it does not count.
    pub sign_count: u32,
    /// When it was added, in ms since the Unix epoch.
    pub created_at: u64,
    /// When it was used last, in ms since the Unix epoch.
    pub used_at: Option<u64>,
}

/// A session in the console.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsoleSessionRecord {
    /// Whose it is.
    pub user: UserSerial,
    /// When the password was given, in ms since the Unix epoch.
    pub created_at: u64,
    /// When it was used last; some seconds may be missing.
    pub used_at: u64,
    /// The network address of the sign-in.
    pub address: String,
    /// What the browser called itself.
    pub user_agent: Option<String>,
    /// Whether a second factor was given as well. Until then it opens nothing else.
    pub is_raised: bool,
}

/// A named token with an end, with which a program administers in somebody's name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramTokenRecord {
    /// What its person calls the program.
    pub name: String,
    /// The device that the token belongs to.
    pub device_id: String,
    /// When it was made, in ms since the Unix epoch.
    pub created_at: u64,
    /// When it ends, in ms since the Unix epoch.
    pub expires_at: u64,
}

stored! {
    CodeGeneratorRecord = 1,
    PasskeyRecord = 1,
    ConsoleSessionRecord = 1,
    ProgramTokenRecord = 1,
}
