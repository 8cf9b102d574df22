//! What administrators do with other people's accounts by way of the client-server API
//! ("Server administration").

use accounts::{AccountSummary, Device, Session, account_summary, devices};
use model::UserSerial;
use ruma_common::UserId;
use serde::{Deserialize, Serialize};
use store::{Snapshot, StoreError};

use crate::Actions;

/// What an administrator can do to an account, and undo.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Restraint {
    /// Its tokens open nothing.
    Lock,
    /// Its user reads and says nothing.
    Suspension,
}

/// Why an account was not looked at or restrained.
#[derive(Debug, thiserror::Error)]
pub enum ModerationError {
    /// The caller does not administer the server, or means their own or another
    /// administrator's account (`M_FORBIDDEN`).
    #[error("{0}")]
    Forbidden(&'static str),
    /// The user is of another server (`M_INVALID_PARAM`).
    #[error("this user does not belong to this server")]
    NotLocal,
    /// There is no such user, or not any more (`M_NOT_FOUND`).
    #[error("there is no such user on this server")]
    NotFound,
    /// The account cannot be changed.
    #[error(transparent)]
    Account(#[from] accounts::AdministrationError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Actions {
    /// Whether an account is restrained.
    ///
    /// # Errors
    /// [`ModerationError`].
    pub async fn is_restrained(
        &self,
        administrator: &Session,
        user_id: &UserId,
        restraint: Restraint,
    ) -> Result<bool, ModerationError> {
        let found = self.subject(administrator, user_id).await?;
        match restraint {
            Restraint::Lock => Ok(found.account.is_locked),
            Restraint::Suspension => Ok(self.is_suspended(found.user).await?),
        }
    }

    /// Restrains an account, or ends that.
    ///
    /// # Errors
    /// [`ModerationError`].
    pub async fn restrain(
        &self,
        administrator: &Session,
        user_id: &UserId,
        restraint: Restraint,
        is_restrained: bool,
    ) -> Result<(), ModerationError> {
        let found = self.subject(administrator, user_id).await?;
        if found.user == administrator.user {
            let text = "nobody can restrain their own account";
            return Err(ModerationError::Forbidden(text));
        }
        self.set_restraint(&found, restraint, is_restrained).await?;
        Ok(())
    }

    /// Restrains an account for an administrator of whom that is known.
    pub(crate) async fn set_restraint(
        &self,
        found: &AccountSummary,
        restraint: Restraint,
        is_restrained: bool,
    ) -> Result<(), accounts::AdministrationError> {
        match restraint {
            Restraint::Lock => self.accounts.set_locked(found.user, is_restrained).await?,
            Restraint::Suspension => {
                self.accounts
                    .set_suspended(found.user, is_restrained)
                    .await?;
            }
        }
        let user_id = found.user_id.as_str();
        match restraint {
            Restraint::Lock => {
                log::info!(user_id, locked = is_restrained; "account locked or unlocked by an administrator");
            }
            Restraint::Suspension => {
                log::info!(user_id, suspended = is_restrained; "account suspended or not any more by an administrator");
            }
        }
        Ok(())
    }

    pub(crate) async fn is_suspended(&self, user: UserSerial) -> Result<bool, StoreError> {
        let read = move |view: &Snapshot| Ok(accounts::standing(view, user)?.is_suspended);
        self.rooms.store().read(read).await
    }

    /// From where somebody has used their devices: for themself and for administrators.
    ///
    /// # Errors
    /// [`ModerationError`].
    pub async fn whois(
        &self,
        caller: &Session,
        user_id: &UserId,
    ) -> Result<Vec<Device>, ModerationError> {
        if caller.user_id != user_id && !caller.is_admin {
            let text = "only administrators can look at others";
            return Err(ModerationError::Forbidden(text));
        }
        let user_id = user_id.to_owned();
        let read = move |view: &Snapshot| match accounts::find(view, &user_id)? {
            Some((user, _)) => Ok(devices(view, user)?),
            None => Err(ModerationError::NotFound),
        };
        self.rooms.store().read(read).await
    }

    /// The account that an administrator means. Whoever is none learns nothing of it.
    async fn subject(
        &self,
        administrator: &Session,
        user_id: &UserId,
    ) -> Result<AccountSummary, ModerationError> {
        if !administrator.is_admin {
            let text = "only administrators can do this";
            return Err(ModerationError::Forbidden(text));
        }
        if !self.accounts.is_local(user_id) {
            return Err(ModerationError::NotLocal);
        }
        let user_id = user_id.to_owned();
        let read = move |view: &Snapshot| account_summary(view, &user_id);
        let found: Option<AccountSummary> = self.rooms.store().read(read).await?;
        let found = found
            .filter(|found| found.account.deactivated_at.is_none())
            .ok_or(ModerationError::NotFound)?;
        if found.account.is_admin && found.user != administrator.user {
            let text = "administrators cannot do this to each other";
            return Err(ModerationError::Forbidden(text));
        }
        Ok(found)
    }
}
