//! What administrators do with other people's accounts by way of the client-server API
//! ("Server administration").

use accounts::{AccountSummary, Device, account_summary, devices};
use model::UserSerial;
use ruma_common::UserId;
use serde::{Deserialize, Serialize};
use store::{Snapshot, StoreError};

use crate::{Actions, Administrator, Denied, Right, people_letters};

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
    /// The caller's roles do not allow it (403 `M_FORBIDDEN`).
    #[error(transparent)]
    Denied(#[from] Denied),
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
        by: &Administrator,
        user_id: &UserId,
        restraint: Restraint,
    ) -> Result<bool, ModerationError> {
        by.must(Right::ShowRestraint)?;
        let found = self.subject(by, user_id).await?;
        match restraint {
            Restraint::Lock => Ok(found.account.is_locked),
            Restraint::Suspension => Ok(self.is_suspended(found.user).await?),
        }
    }

    /// Restrains an account, or ends that. The server tells its person so, and `told`.
    ///
    /// # Errors
    /// [`ModerationError`].
    pub async fn restrain(
        &self,
        by: &Administrator,
        user_id: &UserId,
        restraint: Restraint,
        is_restrained: bool,
        told: Option<String>,
    ) -> Result<(), ModerationError> {
        by.must(Right::RestrainPerson)?;
        let found = self.subject(by, user_id).await?;
        if Some(found.user) == by.user() {
            let text = "nobody can restrain their own account";
            return Err(ModerationError::Forbidden(text));
        }
        self.set_restraint(by, &found, restraint, is_restrained, told)
            .await?;
        Ok(())
    }

    /// Restrains an account for an administrator of whom that is known.
    pub(crate) async fn set_restraint(
        &self,
        by: &Administrator,
        found: &AccountSummary,
        restraint: Restraint,
        is_restrained: bool,
        told: Option<String>,
    ) -> Result<(), accounts::AdministrationError> {
        let was = match restraint {
            Restraint::Lock => found.account.is_locked,
            Restraint::Suspension => self.is_suspended(found.user).await?,
        };
        match restraint {
            Restraint::Lock => {
                self.accounts
                    .set_locked(by.act(), found.user, is_restrained, told.clone())
                    .await?;
            }
            Restraint::Suspension => {
                self.accounts
                    .set_suspended(by.act(), found.user, is_restrained, told.clone())
                    .await?;
            }
        }
        if was != is_restrained {
            let is_lock = restraint == Restraint::Lock;
            let text = people_letters::restraint(is_lock, is_restrained, told.as_deref());
            if let Err(error) = self.say_to(&found.user_id, text).await {
                log::warn!(user_id = found.user_id.as_str(); "a restraint was not told: {error}");
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
        by: &Administrator,
        user_id: &UserId,
    ) -> Result<Vec<Device>, ModerationError> {
        if by.user_id().as_deref() != Some(user_id.as_str()) {
            by.must(Right::ShowDevices)?;
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
        by: &Administrator,
        user_id: &UserId,
    ) -> Result<AccountSummary, ModerationError> {
        if !self.accounts.is_local(user_id) {
            return Err(ModerationError::NotLocal);
        }
        let user_id = user_id.to_owned();
        let read = move |view: &Snapshot| account_summary(view, &user_id);
        let found: Option<AccountSummary> = self.rooms.store().read(read).await?;
        let found = found
            .filter(|found| found.account.deactivated_at.is_none())
            .ok_or(ModerationError::NotFound)?;
        by.must_reach(found.account.roles)?;
        if found.account.is_admin() && Some(found.user) != by.user() {
            let text = "administrators cannot do this to each other";
            return Err(ModerationError::Forbidden(text));
        }
        Ok(found)
    }
}
