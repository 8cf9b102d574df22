//! Sessions: who is behind a token, signing out, when a device was used last.

use std::{collections::HashMap, mem, sync::Arc};

use audit::Act;
use model::{
    AccessTokenRecord, DeviceSerial, LastSeenRecord, Role, Roles, TokenHash, UserSerial,
    tables::{
        ACCESS_TOKEN_BY_HASH, ACCOUNT_BY_USER, DEVICE_BY_USER, LAST_SEEN_BY_DEVICE,
        LAST_SEEN_BY_USER, REFRESH_TOKEN_BY_HASH,
    },
};
use ruma_common::{OwnedDeviceId, OwnedUserId};
use store::{Read, StoreError};

use crate::{
    Accounts, Barrier, OwnRate,
    person::person,
    program_tokens, second_factors, standing,
    tokens::{self, token_hash},
    validity,
};

/// How old a device's last-seen time may get before it is written again, in ms.
const SEEN_EVERY: u64 = 5 * 60 * 1_000;
/// For how many devices the last-seen time is remembered in memory, at least; at most twice as many.
const SEEN_DEVICES: usize = 8_192;
/// The longest user agent and address kept, in bytes.
const MAX_SEEN_BYTES: usize = 255;

/// A signed-in user on a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The user's id.
    pub user_id: OwnedUserId,
    /// The user's serial.
    pub user: UserSerial,
    /// The device's id.
    pub device_id: OwnedDeviceId,
    /// The device's serial.
    pub device: DeviceSerial,
    /// What the user may do to the whole server.
    pub roles: Roles,
    /// Whether this is a guest.
    pub is_guest: bool,
    /// Whether the user's roles count for sessions alone that a second factor has raised, and
    /// this is none.
    pub lacks_second_factor: bool,
    /// The id of the application service that acts as the user, if one does.
    pub service: Option<Arc<str>>,
    /// How fast the user may ask, where that is not as everybody.
    pub own_rate: Option<OwnRate>,
}

impl Session {
    /// Whether the user administers the server.
    pub fn is_admin(&self) -> bool {
        self.roles.has(Role::Administrator)
    }

    /// Whether there is a device: an application service may act as a user without one.
    pub fn has_device(&self) -> bool {
        !self.device_id.as_str().is_empty()
    }
}

/// Why a token opens nothing.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AuthenticateError {
    /// It is not known, or its time is over.
    #[error("the access token is unknown or has expired")]
    UnknownToken {
        /// Whether the client can get another one with its refresh token, and keeps its keys meanwhile.
        soft_logout: bool,
    },
    /// The account cannot be used for a while (`M_USER_LOCKED`).
    #[error(transparent)]
    Barred(#[from] Barrier),
    /// An application service wants to act as somebody who is not in its namespaces, or
    /// is not registered (403 `M_FORBIDDEN`).
    #[error("the application service cannot act as {0}")]
    NotTheirs(String),
    /// The user that an application service acts as has no such device (400
    /// `M_UNKNOWN_DEVICE`).
    #[error("the user has no such device")]
    UnknownDevice,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Accounts {
    /// Who is behind an access token.
    ///
    /// # Errors
    /// [`AuthenticateError`].
    pub async fn authenticate(&self, token: &str) -> Result<Session, AuthenticateError> {
        let (hash, now) = (token_hash(token), self.now());
        let demands = self.inner.options.second_factor_for_roles;
        if let Some(session) = self.inner.sessions.get(&hash, now) {
            return Ok(session);
        }
        let (session, record, end, read_at) = self
            .store()
            .read(move |view| {
                let (session, record, end) = session_of(view, &hash, now, demands)?;
                Ok::<_, AuthenticateError>((session, record, end, view.position()))
            })
            .await?;
        if let Some(ends) = record.ends {
            match self.end_predecessors(hash, ends).await {
                // People read on when nothing can be written; the next use ends them.
                Err(StoreError::DiskFull) => return Ok(session),
                ended => ended?,
            }
        }
        self.inner
            .sessions
            .insert(hash, session.clone(), end, read_at);
        Ok(session)
    }

    /// Who is behind an access token, also where the account is locked or has ended: for what
    /// such a user may do, which is to sign out (client-server API, "Account locking").
    ///
    /// # Errors
    /// [`AuthenticateError`], never [`AuthenticateError::Barred`].
    pub async fn authenticate_locked(&self, token: &str) -> Result<Session, AuthenticateError> {
        let (hash, now) = (token_hash(token), self.now());
        let demands = self.inner.options.second_factor_for_roles;
        self.store()
            .read(move |view| Ok(any_session_of(view, &hash, now, demands)?.0))
            .await
    }

    /// The first use of an access token: the refresh token that made it ends. If a power cut takes this back, it ends with the next use.
    async fn end_predecessors(&self, hash: TokenHash, ends: TokenHash) -> Result<(), StoreError> {
        self.store()
            .commit_later(move |latest, _, batch| {
                let Some(mut access) = latest.get(&ACCESS_TOKEN_BY_HASH, &hash)? else {
                    return Ok(());
                };
                let Some(old) = latest.get(&REFRESH_TOKEN_BY_HASH, &ends)? else {
                    return Ok(());
                };
                access.ends = None;
                batch.put(&ACCESS_TOKEN_BY_HASH, &hash, &access);
                if let Some((_, refresh_hash)) = old.made
                    && let Some(mut refresh) = latest.get(&REFRESH_TOKEN_BY_HASH, &refresh_hash)?
                {
                    refresh.ends = None;
                    batch.put(&REFRESH_TOKEN_BY_HASH, &refresh_hash, &refresh);
                }
                tokens::delete_refresh(batch, old.device, &ends);
                Ok(())
            })
            .await
    }

    /// Signs a device out (`POST /logout`): it is deleted with its keys and queue.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn logout(&self, act: &Act, session: &Session) -> Result<(), StoreError> {
        self.remove_devices(act, session.user, vec![session.device_id.clone()])
            .await
    }

    /// Signs all devices of a user out (`POST /logout/all`).
    ///
    /// # Errors
    /// If the database fails.
    pub async fn logout_all(&self, act: &Act, session: &Session) -> Result<(), StoreError> {
        self.remove_all_devices(act, session.user, None).await
    }

    /// Notes that a device was just used. Writes only once in some minutes, and without waiting for the disk; to be called with every request.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn saw(
        &self,
        session: &Session,
        address: &str,
        user_agent: Option<&str>,
    ) -> Result<(), StoreError> {
        let now = self.now();
        if !session.has_device() || !self.inner.seen.lock().is_due(session.device, now) {
            return Ok(());
        }
        let record = LastSeenRecord {
            at: now,
            address: shortened(address),
            user_agent: user_agent.map(shortened),
        };
        let device = session.device;
        let key = (session.user, session.device_id.to_string());
        self.store()
            .commit_later(move |latest, _, batch| {
                let known = latest.get(&DEVICE_BY_USER, &key)?;
                if known.is_some_and(|known| known.serial == device) {
                    batch.put(&LAST_SEEN_BY_DEVICE, &device, &record);
                    batch.put(&LAST_SEEN_BY_USER, &key.0, &record.at);
                }
                Ok(())
            })
            .await
    }
}

/// The session behind the hash of an access token, and when it ends: with the token or with
/// the account.
fn session_of(
    view: &impl Read,
    hash: &TokenHash,
    now: u64,
    demands: bool,
) -> Result<(Session, AccessTokenRecord, Option<u64>), AuthenticateError> {
    let (session, record, barrier) = any_session_of(view, hash, now, demands)?;
    if let Some(barrier) = barrier {
        return Err(barrier.into());
    }
    let ends = [record.expires_at, person(view, session.user)?.expires_at];
    let end = ends.into_iter().flatten().min();
    Ok((session, record, end))
}

/// The same, and what keeps the user from using the account.
fn any_session_of(
    view: &impl Read,
    hash: &TokenHash,
    now: u64,
    demands: bool,
) -> Result<(Session, AccessTokenRecord, Option<Barrier>), AuthenticateError> {
    const UNKNOWN: AuthenticateError = AuthenticateError::UnknownToken { soft_logout: false };
    let record = view.get(&ACCESS_TOKEN_BY_HASH, hash)?.ok_or(UNKNOWN)?;
    let account = view.get(&ACCOUNT_BY_USER, &record.user)?.ok_or(UNKNOWN)?;
    if account.deactivated_at.is_some() {
        return Err(UNKNOWN);
    }
    let person = person(view, record.user)?;
    let barrier = validity::barrier_of(&account, &person, now);
    if barrier.is_none() && record.expires_at.is_some_and(|end| end <= now) {
        return Err(AuthenticateError::UnknownToken { soft_logout: true });
    }
    let user_id = model::user_id(view, record.user)?
        .and_then(|user_id| OwnedUserId::try_from(user_id).ok())
        .ok_or(UNKNOWN)?;
    let session = Session {
        user_id,
        user: record.user,
        device_id: record.device_id.clone().into(),
        device: record.device,
        roles: account.roles,
        is_guest: standing(view, record.user)?.is_guest,
        lacks_second_factor: !account.roles.is_empty()
            && !program_tokens::is_programs(view, record.user, hash)?
            && (demands || second_factors::is_enrolled(view, record.user)?),
        service: None,
        own_rate: OwnRate::of(&person.limits),
    };
    Ok((session, record, barrier))
}

/// When each device was last written down as seen.
#[derive(Default)]
pub(crate) struct SeenTimes {
    young: HashMap<DeviceSerial, u64>,
    old: HashMap<DeviceSerial, u64>,
}

impl SeenTimes {
    /// Whether the device's last-seen time is to be written; if so, it counts as written.
    fn is_due(&mut self, device: DeviceSerial, now: u64) -> bool {
        let last = self.young.get(&device).or_else(|| self.old.get(&device));
        if last.is_some_and(|last| now < last + SEEN_EVERY) {
            return false;
        }
        if self.young.len() >= SEEN_DEVICES {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(device, now);
        true
    }
}

/// The text, cut to what is kept of it.
fn shortened(text: &str) -> String {
    text[..text.floor_char_boundary(MAX_SEEN_BYTES)].to_owned()
}
