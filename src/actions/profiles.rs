//! A profile is the account's, and stands in the memberships of all its rooms.

use accounts::{ProfileError, Session};
use audit::Act;
use rooms::AppendError;
use serde_json::Value;

use crate::{Actions, sender};

/// Why a profile was not changed, or not in every room.
#[derive(Debug, thiserror::Error)]
pub enum SetProfileError {
    /// The profile itself was not changed.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// It was changed, and a room could not be told.
    #[error(transparent)]
    Room(#[from] AppendError),
}

/// The fields that memberships repeat.
const SHOWN_IN_ROOMS: [&str; 2] = ["displayname", "avatar_url"];

impl Actions {
    /// Sets a field of the caller's profile, and tells the caller's rooms.
    ///
    /// # Errors
    /// [`SetProfileError`].
    pub async fn set_profile_field(
        &self,
        session: &Session,
        name: &str,
        value: &Value,
    ) -> Result<(), SetProfileError> {
        let changed = self
            .accounts
            .set_profile_field(session.user, name, value)
            .await?;
        self.tell_rooms(session, name, changed).await
    }

    /// Removes a field of the caller's profile, and tells the caller's rooms.
    ///
    /// # Errors
    /// [`SetProfileError`].
    pub async fn remove_profile_field(
        &self,
        session: &Session,
        name: &str,
    ) -> Result<(), SetProfileError> {
        let changed = self
            .accounts
            .remove_profile_field(session.user, name)
            .await?;
        self.tell_rooms(session, name, changed).await
    }

    /// Sets a field of somebody's profile in the name of an administrator, and tells their rooms.
    pub(crate) async fn set_profile_field_of(
        &self,
        act: &Act,
        session: &Session,
        name: &str,
        value: &Value,
    ) -> Result<(), SetProfileError> {
        let set = self
            .accounts
            .set_profile_field_of(act, session.user, name, value);
        let changed = set.await?;
        self.tell_rooms(session, name, changed).await
    }

    async fn tell_rooms(
        &self,
        session: &Session,
        name: &str,
        changed: bool,
    ) -> Result<(), SetProfileError> {
        if changed && SHOWN_IN_ROOMS.contains(&name) {
            self.rooms.profile_changed(&sender(session)).await?;
        }
        Ok(())
    }
}
