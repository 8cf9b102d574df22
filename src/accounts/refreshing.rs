//! Refreshing: a device gets new tokens for an old one.

use std::time::Duration;

use model::{
    DeviceSerial, RefreshTokenRecord, TokenHash,
    tables::{ACCESS_TOKEN_BY_HASH, REFRESH_TOKEN_BY_HASH},
};
use ruma_common::OwnedDeviceId;
use store::{Batch, Latest, Read as _, StoreError};

use crate::{
    Accounts, account,
    tokens::{self, Tokens, token_hash},
};

/// Why a refresh token does not work.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RefreshError {
    /// It is not known, or its successor is already in use (401 `M_UNKNOWN_TOKEN`).
    #[error("the refresh token is unknown or was used before")]
    UnknownToken,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// New tokens for an old refresh token.
#[derive(Clone)]
pub struct Refreshed {
    /// The access token.
    pub access_token: String,
    /// The next refresh token.
    pub refresh_token: String,
    /// How long the access token works.
    pub expires_in: Duration,
}

impl Accounts {
    /// Gives new tokens for a refresh token (`POST /refresh`). The old refresh token works until one of the new tokens is used, so that a lost answer
    /// locks nobody out; asked again before that, it gives other new tokens and those before are worth nothing.
    ///
    /// # Errors
    /// [`RefreshError`].
    pub async fn refresh(&self, refresh_token: &str) -> Result<Refreshed, RefreshError> {
        let (hash, drawn, now) = (
            token_hash(refresh_token),
            self.draw_tokens(true),
            self.now(),
        );
        let (tokens, sessions) = (drawn.clone(), self.inner.sessions.clone());
        self.store()
            .commit(move |latest, position, batch| {
                let record = latest.get(&REFRESH_TOKEN_BY_HASH, &hash)?;
                let record = record.ok_or(RefreshError::UnknownToken)?;
                turn(latest, batch, hash, record, &tokens, now).map(|unused| {
                    // Nobody has used them, so no session of theirs is cached; but
                    // a first use may be under way.
                    if let Some(device) = unused {
                        sessions.evict_device(device, position);
                    }
                })
            })
            .await?;
        let (Some((refresh_token, _)), Some((expires_in, _))) = (drawn.refresh, drawn.lifetime)
        else {
            return Err(RefreshError::UnknownToken);
        };
        Ok(Refreshed {
            access_token: drawn.access,
            refresh_token,
            expires_in,
        })
    }
}

/// One turn of a refresh token: writes the new tokens and ends what ends with the use of this one. Returns the device if tokens of it were taken
/// back that nobody had used.
fn turn(
    latest: &Latest,
    batch: &mut Batch,
    hash: TokenHash,
    mut record: RefreshTokenRecord,
    tokens: &Tokens,
    now: u64,
) -> Result<Option<DeviceSerial>, RefreshError> {
    let device = record.device;
    let account = account(latest, record.user)?.ok_or(RefreshError::UnknownToken)?;
    if account.deactivated_at.is_some() {
        return Err(RefreshError::UnknownToken);
    }
    let unused = record.made.take();
    if let Some((access, refresh)) = unused {
        tokens::delete_access(batch, device, &access);
        tokens::delete_refresh(batch, device, &refresh);
    }
    // This token is being used: the one that made it ends.
    if let Some(ends) = record.ends.take() {
        tokens::delete_refresh(batch, device, &ends);
        if let Some(mut access) = latest.get(&ACCESS_TOKEN_BY_HASH, &record.access)? {
            access.ends = None;
            batch.put(&ACCESS_TOKEN_BY_HASH, &record.access, &access);
        }
    }
    tokens::delete_expired(latest, batch, device, &record.access, now)?;
    record.made = tokens.hashes();
    let device_id: OwnedDeviceId = record.device_id.as_str().into();
    tokens.write(batch, record.user, device, &device_id, Some(hash));
    batch.put(&REFRESH_TOKEN_BY_HASH, &hash, &record);
    Ok(unused.map(|_| device))
}
