//! Access and refresh tokens: 256 random bits, of which the database knows the SHA-256.

use std::time::Duration;

use model::{
    AccessTokenRecord, DeviceSerial, RefreshTokenRecord, TokenHash, UserSerial,
    tables::{ACCESS_TOKEN_BY_HASH, REFRESH_TOKEN_BY_HASH, TOKEN_BY_DEVICE},
};
use ruma_common::DeviceId;
use sha2::{Digest as _, Sha256};
use store::{Batch, Latest, Read as _, StoreError};

use crate::Accounts;

/// The kinds of tokens in [`TOKEN_BY_DEVICE`].
const ACCESS: u8 = 0;
const REFRESH: u8 = 1;

/// What a token is known by.
pub(crate) fn token_hash(token: &str) -> TokenHash {
    Sha256::digest(token.as_bytes()).into()
}

/// Newly drawn tokens, in clear for the client and as hashes for the database.
#[derive(Clone)]
pub(crate) struct Tokens {
    pub(crate) access: String,
    access_hash: TokenHash,
    pub(crate) refresh: Option<(String, TokenHash)>,
    /// How long the access token works, and until when, in ms since the Unix epoch.
    pub(crate) lifetime: Option<(Duration, u64)>,
}

impl Accounts {
    /// Draws the tokens of a session; with a refresh token the access token has an end.
    pub(crate) fn draw_tokens(&self, with_refresh: bool) -> Tokens {
        let access = self.inner.random.token();
        let refresh = with_refresh.then(|| self.inner.random.token());
        let lifetime = Duration::from_secs(self.inner.options.access_token_lifetime);
        Tokens {
            access_hash: token_hash(&access),
            access,
            refresh: refresh.map(|token| {
                let hash = token_hash(&token);
                (token, hash)
            }),
            lifetime: with_refresh.then(|| (lifetime, self.inner.clock.now().plus(lifetime).0)),
        }
    }
}

impl Tokens {
    /// What the access token is known by.
    pub(crate) fn access_hash(&self) -> TokenHash {
        self.access_hash
    }

    /// The hashes of both, if there are both.
    pub(crate) fn hashes(&self) -> Option<(TokenHash, TokenHash)> {
        let (_, refresh) = self.refresh.as_ref()?;
        Some((self.access_hash, *refresh))
    }

    /// Writes the rows of these tokens. `ends` is the refresh token that made them, which ends with the first use of either.
    pub(crate) fn write(
        &self,
        batch: &mut Batch,
        user: UserSerial,
        device: DeviceSerial,
        device_id: &DeviceId,
        ends: Option<TokenHash>,
    ) {
        let access = AccessTokenRecord {
            user,
            device,
            device_id: device_id.to_string(),
            expires_at: self.lifetime.map(|(_, at)| at),
            ends,
        };
        batch.put(&ACCESS_TOKEN_BY_HASH, &self.access_hash, &access);
        batch.put(&TOKEN_BY_DEVICE, &(device, ACCESS, self.access_hash), &());
        let Some((_, hash)) = &self.refresh else {
            return;
        };
        let refresh = RefreshTokenRecord {
            user,
            device,
            device_id: device_id.to_string(),
            access: self.access_hash,
            ends,
            made: None,
        };
        batch.put(&REFRESH_TOKEN_BY_HASH, hash, &refresh);
        batch.put(&TOKEN_BY_DEVICE, &(device, REFRESH, *hash), &());
    }
}

/// Removes one access token.
pub(crate) fn delete_access(batch: &mut Batch, device: DeviceSerial, hash: &TokenHash) {
    batch.delete(&ACCESS_TOKEN_BY_HASH, hash);
    batch.delete(&TOKEN_BY_DEVICE, &(device, ACCESS, *hash));
}

/// Removes one refresh token.
pub(crate) fn delete_refresh(batch: &mut Batch, device: DeviceSerial, hash: &TokenHash) {
    batch.delete(&REFRESH_TOKEN_BY_HASH, hash);
    batch.delete(&TOKEN_BY_DEVICE, &(device, REFRESH, *hash));
}

/// Removes all tokens of a device. The caller also evicts them from the session cache.
pub(crate) fn delete_all(
    latest: &Latest,
    batch: &mut Batch,
    device: DeviceSerial,
) -> Result<(), StoreError> {
    for row in latest.scan(&TOKEN_BY_DEVICE, &(device,)) {
        let ((_, kind, hash), ()) = row?;
        if kind == ACCESS {
            delete_access(batch, device, &hash);
        } else {
            delete_refresh(batch, device, &hash);
        }
    }
    Ok(())
}

/// Removes the access tokens of a device that ended before `now`, but not `kept`: its holder shall still be told to refresh it.
pub(crate) fn delete_expired(
    latest: &Latest,
    batch: &mut Batch,
    device: DeviceSerial,
    kept: &TokenHash,
    now: u64,
) -> Result<(), StoreError> {
    for row in latest.scan(&TOKEN_BY_DEVICE, &(device, ACCESS)) {
        let ((_, _, hash), ()) = row?;
        let record = latest.get(&ACCESS_TOKEN_BY_HASH, &hash)?;
        let expired = record.is_some_and(|record| record.expires_at.is_some_and(|end| end <= now));
        if expired && hash != *kept {
            delete_access(batch, device, &hash);
        }
    }
    Ok(())
}
