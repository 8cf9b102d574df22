//! Sessions: signing in, who is behind a token, refreshing, signing out.

use std::{collections::HashMap, mem, sync::Arc, time::Duration};

use audit::{Act, Verb, Who};
use model::{
    AccessTokenRecord, DeviceRecord, DeviceSerial, LastSeenRecord, RefreshTokenRecord, Role, Roles,
    TokenHash, UserSerial,
    tables::{
        ACCESS_TOKEN_BY_HASH, ACCOUNT_BY_USER, DEVICE_BY_USER, LAST_SEEN_BY_DEVICE,
        PASSWORD_BY_USER, REFRESH_TOKEN_BY_HASH,
    },
};
use ruma_common::{OwnedDeviceId, OwnedUserId};
use runtime::LaneError;
use serde_json::json;
use store::{Batch, Latest, Read, StoreError};

use crate::{
    Accounts, DeviceError, account, audited,
    cross_signing::is_key_id,
    dehydrated_devices,
    devices::{self, check_device_id, check_display_name, check_number},
    find, program_tokens, second_factors, standing,
    tokens::{self, Tokens, token_hash},
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
    /// An administrator has locked the account (`M_USER_LOCKED`).
    #[error("the account is locked")]
    Locked,
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

/// Somebody who wants to sign in (`POST /login`, `m.login.password`).
#[derive(Clone)]
pub struct Login {
    /// A localpart or a whole user id, as typed.
    pub user: String,
    /// The password.
    pub password: String,
    /// The device to sign in; a new one if `None` or unknown.
    pub device_id: Option<OwnedDeviceId>,
    /// The name of the device if it is new.
    pub initial_device_display_name: Option<String>,
    /// Whether the client can refresh tokens.
    pub refresh_token: bool,
    /// The network address, for the audit trail.
    pub from: Option<String>,
}

/// Why nobody was signed in.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LoginError {
    /// No such user, or not this password: nobody can tell which.
    #[error("the user name or the password is wrong")]
    Forbidden,
    /// The account was closed for ever (`M_USER_DEACTIVATED`). Told only to who has the password, which an erased account has no more.
    #[error("this account was deactivated")]
    Deactivated,
    /// An administrator has locked the account (`M_USER_LOCKED`). Told only to who has the password.
    #[error("the account is locked")]
    Locked,
    /// The user does not belong to the application service that signs in (`M_EXCLUSIVE`).
    #[error("the user is not in the namespaces of this application service")]
    NotTheirs,
    /// The device cannot be used.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// Too many passwords wait to be checked; later it may work.
    #[error("too many people sign in at the same time")]
    Busy,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<LaneError> for LoginError {
    fn from(_: LaneError) -> Self {
        Self::Busy
    }
}

/// A session that was just made.
#[derive(Clone)]
pub struct SignedIn {
    /// The user's id.
    pub user_id: OwnedUserId,
    /// The device's id.
    pub device_id: OwnedDeviceId,
    /// The access token.
    pub access_token: String,
    /// The refresh token, if one was asked for.
    pub refresh_token: Option<String>,
    /// How long the access token works, if it has an end.
    pub expires_in: Option<Duration>,
}

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

/// A session that is about to be written: all that is drawn and computed before the commit.
#[derive(Clone)]
pub(crate) struct SessionDraft {
    pub(crate) device_id: OwnedDeviceId,
    pub(crate) display_name: Option<String>,
    pub(crate) tokens: Tokens,
    /// The device's serial if it is new.
    pub(crate) candidate: DeviceSerial,
    pub(crate) now: u64,
}

impl SessionDraft {
    /// Writes the session of a user: the device if it is new, and tokens in place of all that it had.
    pub(crate) fn write(
        &self,
        latest: &Latest,
        batch: &mut Batch,
        user: UserSerial,
    ) -> Result<DeviceSerial, StoreError> {
        let key = (user, self.device_id.to_string());
        let device = match latest.get(&DEVICE_BY_USER, &key)? {
            Some(known) => {
                tokens::delete_all(latest, batch, known.serial)?;
                dehydrated_devices::forget(latest, batch, user, known.serial)?;
                known.serial
            }
            None => {
                let record = DeviceRecord {
                    serial: self.candidate,
                    display_name: self.display_name.clone(),
                    created_at: self.now,
                };
                batch.put(&DEVICE_BY_USER, &key, &record);
                self.candidate
            }
        };
        self.tokens
            .write(batch, user, device, &self.device_id, None);
        Ok(device)
    }

    /// Tells the audit trail of the session, which [`Self::write`] writes in the same commit.
    pub(crate) fn tell(
        &self,
        latest: &Latest,
        batch: &mut Batch,
        act: &Act,
        user: UserSerial,
    ) -> Result<(), StoreError> {
        let is_known = latest.contains(&DEVICE_BY_USER, &(user, self.device_id.to_string()))?;
        let deed = audited::deed(latest, act, Verb::SessionOpened, user)?.after(json!({
            "device_id": self.device_id,
            "is_new_device": !is_known,
        }));
        audit::record(latest, batch, self.now, &[deed])
    }

    pub(crate) fn into_signed_in(self, user_id: OwnedUserId) -> SignedIn {
        SignedIn {
            user_id,
            device_id: self.device_id,
            access_token: self.tokens.access,
            refresh_token: self.tokens.refresh.map(|(token, _)| token),
            expires_in: self.tokens.lifetime.map(|(lifetime, _)| lifetime),
        }
    }
}

impl Accounts {
    /// Draws what a new session needs, and checks the device's id and name.
    pub(crate) fn draft_session(
        &self,
        device_id: Option<OwnedDeviceId>,
        display_name: Option<String>,
        refresh_token: bool,
    ) -> Result<SessionDraft, DeviceError> {
        let device_id = device_id.unwrap_or_else(|| devices::draw_device_id(&self.inner.random));
        check_device_id(&device_id)?;
        check_display_name(display_name.as_deref())?;
        Ok(SessionDraft {
            device_id,
            display_name,
            tokens: self.draw_tokens(refresh_token),
            candidate: DeviceSerial(self.store().next_serial()),
            now: self.now(),
        })
    }

    /// Signs somebody in with a password.
    ///
    /// # Errors
    /// [`LoginError`]. An unknown user, a wrong password and an erased account are told in the same words after the same time.
    pub async fn login(&self, login: Login) -> Result<SignedIn, LoginError> {
        let draft = self.draft_session(
            login.device_id,
            login.initial_device_display_name,
            login.refresh_token,
        )?;
        let typed = self.typed_user_id(&login.user);
        let signed_in = async {
            let checked = self.check_password(typed.clone(), login.password).await?;
            let (user_id, user, password) = checked;
            let act = Act::person(user_id.as_str(), login.from.clone());
            self.open_session(draft, &act, user_id, user, Some(password))
                .await
        };
        let signed_in = signed_in.await;
        if let Err(error @ (LoginError::Forbidden | LoginError::Deactivated | LoginError::Locked)) =
            &signed_in
        {
            self.refused(typed, login.from, error).await?;
        }
        signed_in
    }

    /// Tells the audit trail that somebody was not signed in. A name that nobody has is not
    /// repeated: it may be a password in the wrong field.
    pub(crate) async fn refused(
        &self,
        typed: Option<OwnedUserId>,
        from: Option<String>,
        error: &(dyn std::error::Error + Sync),
    ) -> Result<(), StoreError> {
        let known = match typed {
            Some(user_id) => {
                let named = user_id.clone();
                let read = move |view: &store::Snapshot| find(view, &named);
                let found: Option<_> = self.store().read(read).await?;
                found.map(|_| user_id)
            }
            None => None,
        };
        let account = known.as_ref().map_or("", |user_id| user_id.as_str());
        let (address, now) = (from.as_deref().unwrap_or_default(), self.now());
        let attempts = self.inner.failures.lock().count(account, address, now);
        let Some(attempts) = attempts else {
            return Ok(());
        };
        let told = json!({ "attempts": attempts, "because": error.to_string() });
        let deed = Act::of(Who::Nobody, from)
            .did(Verb::SessionRefused)
            .after(told);
        let deed = match known {
            Some(user_id) => deed.on(user_id),
            None => deed,
        };
        self.store()
            .commit_later(move |latest, _, batch| audit::record(latest, batch, now, &[deed]))
            .await
    }

    /// Opens a session of somebody who has proved who they are; where a password proved
    /// it, only if that is the user's still.
    pub(crate) async fn open_session(
        &self,
        draft: SessionDraft,
        act: &Act,
        user_id: OwnedUserId,
        user: UserSerial,
        password: Option<String>,
    ) -> Result<SignedIn, LoginError> {
        let device_id = draft.device_id.clone();
        self.store()
            .read(move |view| check_number(view, user, &device_id).map_err(LoginError::from))
            .await?;
        let (sessions, written, act) = (self.inner.sessions.clone(), draft.clone(), act.clone());
        self.store()
            .commit(move |latest, position, batch| {
                // What was checked before may have changed since.
                let account = account(latest, user)?.ok_or(LoginError::Forbidden)?;
                if password.is_some() && latest.get(&PASSWORD_BY_USER, &user)? != password {
                    return Err(LoginError::Forbidden);
                }
                if account.deactivated_at.is_some() {
                    return Err(LoginError::Deactivated);
                }
                if account.is_locked {
                    return Err(LoginError::Locked);
                }
                if is_key_id(latest, user, &written.device_id)? {
                    return Err(DeviceError::IsKeyId.into());
                }
                let device = written.write(latest, batch, user)?;
                written.tell(latest, batch, &act, user)?;
                sessions.evict_device(device, position);
                Ok(())
            })
            .await?;
        Ok(draft.into_signed_in(user_id))
    }

    /// Checks the password of a user who may not exist. Returns who it is, and the hash that was checked.
    pub(crate) async fn check_password(
        &self,
        user_id: Option<OwnedUserId>,
        password: String,
    ) -> Result<(OwnedUserId, UserSerial, String), LoginError> {
        let found = self
            .store()
            .read(move |view| -> Result<_, StoreError> {
                let Some(user_id) = user_id else {
                    return Ok(None);
                };
                let Some((user, _)) = find(view, &user_id)? else {
                    return Ok(None);
                };
                let stored = view.get(&PASSWORD_BY_USER, &user)?;
                Ok(stored.map(|stored| (user_id, user, stored)))
            })
            .await?;
        let stored = found.as_ref().map(|(_, _, stored)| stored.clone());
        if !self.inner.hasher.verify(stored, password).await? {
            return Err(LoginError::Forbidden);
        }
        found.ok_or(LoginError::Forbidden)
    }

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
        let (session, record, read_at) = self
            .store()
            .read(move |view| {
                let (session, record) = session_of(view, &hash, now, demands)?;
                Ok::<_, AuthenticateError>((session, record, view.position()))
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
            .insert(hash, session.clone(), record.expires_at, read_at);
        Ok(session)
    }

    /// Who is behind an access token, also where the account is locked: for what a locked
    /// user may do, which is to sign out (client-server API, "Account locking").
    ///
    /// # Errors
    /// [`AuthenticateError`], never [`AuthenticateError::Locked`].
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
                }
                Ok(())
            })
            .await
    }
}

/// The session behind the hash of an access token.
fn session_of(
    view: &impl Read,
    hash: &TokenHash,
    now: u64,
    demands: bool,
) -> Result<(Session, AccessTokenRecord), AuthenticateError> {
    let (session, record, is_locked) = any_session_of(view, hash, now, demands)?;
    if is_locked {
        return Err(AuthenticateError::Locked);
    }
    Ok((session, record))
}

/// The same, and whether the account is locked.
fn any_session_of(
    view: &impl Read,
    hash: &TokenHash,
    now: u64,
    demands: bool,
) -> Result<(Session, AccessTokenRecord, bool), AuthenticateError> {
    const UNKNOWN: AuthenticateError = AuthenticateError::UnknownToken { soft_logout: false };
    let record = view.get(&ACCESS_TOKEN_BY_HASH, hash)?.ok_or(UNKNOWN)?;
    let account = view.get(&ACCOUNT_BY_USER, &record.user)?.ok_or(UNKNOWN)?;
    if account.deactivated_at.is_some() {
        return Err(UNKNOWN);
    }
    if !account.is_locked && record.expires_at.is_some_and(|end| end <= now) {
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
    };
    Ok((session, record, account.is_locked))
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
