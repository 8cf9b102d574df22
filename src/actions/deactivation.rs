//! Closing an account for ever.

use accounts::AdministrationError as AccountError;
use audit::Act;
use model::UserSerial;
use rooms::{AppendError, Sender};
use ruma_common::UserId;

use crate::Actions;

/// Why an account was not closed, or not wholly.
#[derive(Debug, thiserror::Error)]
pub enum DeactivateError {
    /// The account was not closed.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// It was closed, and is still in some room.
    #[error(transparent)]
    Room(#[from] AppendError),
}

impl Actions {
    /// Closes an account: nobody can sign in any more, and the user leaves every room
    /// and refuses every invitation. With `erase`, what the user wrote is hidden from
    /// those who join later.
    ///
    /// Can be repeated after an interruption: what was left over is done then.
    ///
    /// # Errors
    /// [`DeactivateError`]; a room that cannot be left does not open the account again.
    pub async fn deactivate(
        &self,
        act: &Act,
        user_id: &UserId,
        user: UserSerial,
        erase: bool,
    ) -> Result<(), DeactivateError> {
        match self.accounts.deactivate(act, user, erase).await {
            Ok(()) | Err(AccountError::Deactivated) => {}
            Err(error) => return Err(error.into()),
        }
        let sender = Sender {
            user_id: user_id.to_owned(),
            user,
            device: None,
            sent_at: None,
        };
        Ok(self.rooms.leave_all(&sender, None).await?)
    }
}
