//! Changing passwords.

use audit::{Act, Verb};
use model::{Changes, DeviceSerial, TokenHash, UserSerial, tables::PASSWORD_BY_USER};
use runtime::LaneError;
use serde_json::json;
use store::StoreError;

use crate::{
    Accounts, EmailError, Session, audited, confirmations, console_sessions, device_lists, devices,
    hashing::MAX_PASSWORD_BYTES, is_active,
};

/// Why a password is not taken (`M_WEAK_PASSWORD`, but `M_INVALID_PARAM` if it is too long).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// It is too easy to guess.
    #[error("a password has at least {minimum} characters")]
    TooShort {
        /// The fewest characters.
        minimum: usize,
    },
    /// Nobody can type this.
    #[error("a password has at most 1024 bytes")]
    TooLong,
}

/// Why a password was not changed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ChangePasswordError {
    /// The new one is not taken.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// There is no such account, or it was deactivated.
    #[error("there is no such account")]
    NoAccount,
    /// The e-mail address that was to prove who it is does not, any more (403
    /// `M_FORBIDDEN`).
    #[error("this e-mail address was not confirmed for a new password")]
    NotConfirmed,
    /// Too many passwords wait to be hashed; later it may work.
    #[error("too many passwords are changed at the same time")]
    Busy,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<LaneError> for ChangePasswordError {
    fn from(_: LaneError) -> Self {
        Self::Busy
    }
}

impl From<EmailError> for ChangePasswordError {
    fn from(error: EmailError) -> Self {
        match error {
            EmailError::Store(error) => Self::Store(error),
            EmailError::NotConfirmed | EmailError::InUse | EmailError::TooMany => {
                Self::NotConfirmed
            }
        }
    }
}

impl Accounts {
    /// Changes the password of the session's user (`POST /account/password`), whom a user-interactive authentication has confirmed.
    /// `logout_devices` signs all other devices out.
    ///
    /// # Errors
    /// [`ChangePasswordError`].
    pub async fn change_password(
        &self,
        act: &Act,
        session: &Session,
        new_password: String,
        logout_devices: bool,
    ) -> Result<(), ChangePasswordError> {
        let out = logout_devices.then_some(Some(session.device));
        self.set_password(act, session.user, new_password, out, None)
            .await
    }

    /// Gives a user a new password in the name of an administrator, and signs all devices out.
    ///
    /// # Errors
    /// [`ChangePasswordError`].
    pub async fn reset_password(
        &self,
        act: &Act,
        user: UserSerial,
        new_password: String,
    ) -> Result<(), ChangePasswordError> {
        self.set_password(act, user, new_password, Some(None), None)
            .await
    }

    /// The same, where devices may stay signed in.
    ///
    /// # Errors
    /// [`ChangePasswordError`].
    pub async fn replace_password(
        &self,
        act: &Act,
        user: UserSerial,
        new_password: String,
        keeps_devices: bool,
    ) -> Result<(), ChangePasswordError> {
        let out = (!keeps_devices).then_some(None);
        self.set_password(act, user, new_password, out, None).await
    }

    /// A password that nobody can guess, to be shown once.
    pub fn draw_password(&self) -> String {
        self.inner.random.token()
    }

    /// The fewest characters of a new password.
    pub fn password_min_length(&self) -> usize {
        self.inner.options.password_min_length
    }

    /// Whether a new password is taken. To be asked before a user-interactive authentication begins.
    ///
    /// # Errors
    /// [`PasswordError`] if it is not.
    pub fn check_new_password(&self, password: &str) -> Result<(), PasswordError> {
        let minimum = self.password_min_length();
        if password.len() > MAX_PASSWORD_BYTES {
            return Err(PasswordError::TooLong);
        }
        if password.chars().count() < minimum {
            return Err(PasswordError::TooShort { minimum });
        }
        Ok(())
    }

    /// `logout`: whether to sign out all devices, and but for which. `confirmation` ends
    /// with it, and must be good for it.
    pub(crate) async fn set_password(
        &self,
        act: &Act,
        user: UserSerial,
        new_password: String,
        logout: Option<Option<DeviceSerial>>,
        confirmation: Option<TokenHash>,
    ) -> Result<(), ChangePasswordError> {
        self.check_new_password(&new_password)?;
        let hash = self.inner.hasher.hash(new_password).await?;
        let (sessions, now, act) = (self.inner.sessions.clone(), self.now(), act.clone());
        self.store()
            .commit(move |latest, position, batch| {
                if !is_active(latest, user)? {
                    return Err(ChangePasswordError::NoAccount);
                }
                if let Some(id) = &confirmation {
                    confirmations::take_for_reset(latest, batch, id, user, now)?;
                }
                batch.put(&PASSWORD_BY_USER, &user, &hash);
                let deed = audited::deed(latest, &act, Verb::PasswordChanged, user)?
                    .after(json!({ "signed_out": logout.is_some() }));
                audit::record(latest, batch, now, &[deed])?;
                // Who is in the console proves anew who it is, with the new one.
                console_sessions::remove_all(latest, batch, user, None)?;
                if let Some(kept) = logout {
                    let mut changes = Changes::at(position);
                    if !devices::remove_all(latest, batch, &mut changes, user, kept)?.is_empty() {
                        device_lists::announce(latest, batch, &mut changes, user)?;
                    }
                    sessions.evict_user(user, position);
                }
                Ok(())
            })
            .await
    }
}
