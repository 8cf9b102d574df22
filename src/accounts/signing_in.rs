//! Signing in: a password or another proof becomes a session.

use std::time::Duration;

use audit::{Act, Verb, Who};
use model::{
    DeviceRecord, DeviceSerial, UserSerial,
    tables::{DEVICE_BY_USER, PASSWORD_BY_USER},
};
use ruma_common::{OwnedDeviceId, OwnedUserId};
use runtime::LaneError;
use serde_json::json;
use store::{Batch, Latest, Read as _, StoreError};

use crate::{
    Accounts, Barrier, DeviceError, account, audited,
    cross_signing::is_key_id,
    dehydrated_devices,
    devices::{self, check_device_id, check_display_name, check_number},
    find,
    person::person,
    tokens::{self, Tokens},
    validity::barrier_of,
};

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
    /// The account cannot be used for a while (`M_USER_LOCKED`). Told only to who has the password.
    #[error(transparent)]
    Barred(#[from] Barrier),
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
        if let Err(
            error @ (LoginError::Forbidden | LoginError::Deactivated | LoginError::Barred(_)),
        ) = &signed_in
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
                let now = written.now;
                if let Some(barrier) = barrier_of(&account, &person(latest, user)?, now) {
                    return Err(barrier.into());
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
}
