//! Password hashing: argon2id in a lane of its own, PHC strings.

use std::sync::Arc;

use argon2::{Algorithm, Argon2, Params, Version};
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use runtime::{Lane, LaneError, Random};
use subtle::ConstantTimeEq as _;

use crate::{AccountsOptions, OptionsError};

/// How many passwords may wait to be hashed.
const QUEUE: usize = 256;
/// A longer password is nobody's.
pub(crate) const MAX_PASSWORD_BYTES: usize = 1_024;
const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;

/// Hashes passwords, a few at a time.
pub(crate) struct Hasher {
    lane: Lane,
    params: Params,
    random: Random,
    /// The hash of nobody's password, for users that do not exist.
    dummy: Arc<str>,
}

impl Hasher {
    pub(crate) fn new(options: &AccountsOptions, random: &Random) -> Result<Self, OptionsError> {
        let params = Params::new(
            options.password_hash_memory,
            options.password_hash_passes,
            1,
            Some(HASH_BYTES),
        )
        .map_err(|error| OptionsError::Hashing(error.to_string()))?;
        let dummy = encode(
            &params,
            &random.bytes::<SALT_BYTES>(),
            &random.bytes::<HASH_BYTES>(),
        );
        let width = options.password_hash_lanes.clamp(1, 8);
        Ok(Self {
            lane: Lane::new("passwords", width, QUEUE),
            params,
            random: random.clone(),
            dummy: dummy.into(),
        })
    }

    /// The PHC string of a new password.
    pub(crate) async fn hash(&self, password: String) -> Result<String, LaneError> {
        let (params, salt) = (self.params.clone(), self.random.bytes::<SALT_BYTES>());
        self.lane
            .run(move || {
                compute(&params, password.as_bytes(), &salt)
                    .map(|hash| encode(&params, &salt, &hash))
            })
            .await?
            .ok_or(LaneError::Stopped)
    }

    /// Whether `password` is the one behind `stored`. Without `stored` the answer is no and takes as long.
    pub(crate) async fn verify(
        &self,
        stored: Option<String>,
        password: String,
    ) -> Result<bool, LaneError> {
        let exists = stored.is_some();
        let stored = stored.unwrap_or_else(|| self.dummy.to_string());
        let matches = self.lane.run(move || matches(&stored, &password)).await?;
        Ok(matches && exists)
    }
}

fn compute(params: &Params, password: &[u8], salt: &[u8]) -> Option<[u8; HASH_BYTES]> {
    let mut hash = [0; HASH_BYTES];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone())
        .hash_password_into(password, salt, &mut hash)
        .ok()?;
    Some(hash)
}

fn matches(stored: &str, password: &str) -> bool {
    if password.len() > MAX_PASSWORD_BYTES {
        return false;
    }
    let Some((params, salt, expected)) = decode(stored) else {
        log::error!("a stored password hash cannot be read");
        return false;
    };
    compute(&params, password.as_bytes(), &salt)
        .is_some_and(|hash| bool::from(hash.as_slice().ct_eq(&expected)))
}

/// `$argon2id$v=19$m=19456,t=2,p=1$<salt>$<hash>`
fn encode(params: &Params, salt: &[u8], hash: &[u8]) -> String {
    format!(
        "$argon2id$v=19$m={},t={},p={}${}${}",
        params.m_cost(),
        params.t_cost(),
        params.p_cost(),
        STANDARD_NO_PAD.encode(salt),
        STANDARD_NO_PAD.encode(hash)
    )
}

fn decode(text: &str) -> Option<(Params, Vec<u8>, Vec<u8>)> {
    let mut parts = text.strip_prefix("$argon2id$v=19$")?.split('$');
    let (costs, salt, hash) = (parts.next()?, parts.next()?, parts.next()?);
    let mut numbers = costs
        .split(',')
        .zip(["m=", "t=", "p="])
        .map(|(cost, name)| cost.strip_prefix(name)?.parse::<u32>().ok());
    let (memory, passes, lanes) = (numbers.next()??, numbers.next()??, numbers.next()??);
    let params = Params::new(memory, passes, lanes, Some(HASH_BYTES)).ok()?;
    let salt = STANDARD_NO_PAD.decode(salt).ok()?;
    Some((params, salt, STANDARD_NO_PAD.decode(hash).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_known_by_its_hash() {
        let options = AccountsOptions {
            password_hash_memory: 64,
            ..AccountsOptions::default()
        };
        let hasher = Hasher::new(&options, &Random::seeded(1)).unwrap();
        let stored = hasher.hash("correct horse".to_owned()).await.unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=64,t=2,p=1$"));
        for (stored, password, expected) in [
            (Some(stored.clone()), "correct horse", true),
            (Some(stored), "battery staple", false),
            (Some("$5$old".to_owned()), "correct horse", false),
            (None, "correct horse", false),
        ] {
            let verified = hasher.verify(stored, password.to_owned()).await;
            assert_eq!(verified, Ok(expected), "{password}");
        }
    }

    #[test]
    fn other_programs_hashes_can_be_read() {
        // Made with the argon2 command line tool of the reference implementation.
        let stored = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        assert!(matches(stored, "password"));
        assert!(!matches(stored, "Password"));
    }
}
