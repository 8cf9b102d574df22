//! Names of users: what may be registered, and who is meant by what somebody types.

use model::tables::{ACCOUNT_BY_USER, USER_BY_ID};
use ruma_common::{OwnedUserId, UserId};
use services::ExclusiveError;
use store::{Read, StoreError};

use crate::Accounts;

/// The longest user id, in bytes.
const MAX_USER_ID_BYTES: usize = 255;

/// Why a name cannot be registered.
#[derive(Clone, Debug, thiserror::Error)]
pub enum UsernameError {
    /// Not in the grammar of user ids (appendices, "User Identifiers").
    #[error(
        "a user name consists of a-z, 0-9 and . _ = - / + and does not begin with _ (with the server's name at most 255 bytes)"
    )]
    Invalid,
    /// Somebody has it, or had it.
    #[error("this user name is taken")]
    Taken,
    /// It belongs to an application service, or not to the one that wants it (`M_EXCLUSIVE`).
    #[error(transparent)]
    Exclusive(#[from] ExclusiveError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Accounts {
    /// Whether a name can be registered (`GET /register/available`). To be asked before a user-interactive authentication begins; the answer may be
    /// another when the account is made.
    ///
    /// # Errors
    /// [`UsernameError`] if it cannot.
    pub async fn check_username(&self, username: &str) -> Result<(), UsernameError> {
        let user_id = self.new_user_id(username)?;
        self.check_free(user_id.clone()).await?;
        Ok(self.services().check_user(&user_id, None)?)
    }

    /// Refuses the id of somebody who is or was there.
    pub(crate) async fn check_free(&self, user_id: OwnedUserId) -> Result<(), UsernameError> {
        self.store()
            .read(move |view| {
                if is_taken(view, &user_id)? {
                    return Err(UsernameError::Taken);
                }
                Ok(())
            })
            .await
    }

    /// The id of a new user of that name, whether or not somebody has it. Capitals, with which telephones like to begin, count as small letters.
    ///
    /// # Errors
    /// [`UsernameError::Invalid`].
    pub fn new_user_id(&self, username: &str) -> Result<OwnedUserId, UsernameError> {
        if username.starts_with('_') {
            return Err(UsernameError::Invalid);
        }
        self.new_user_id_of_service(&username.to_ascii_lowercase())
    }

    /// The same for a user of an application service, whose names may begin with `_`: the specification keeps these for them.
    pub(crate) fn new_user_id_of_service(
        &self,
        username: &str,
    ) -> Result<OwnedUserId, UsernameError> {
        let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'=' | b'-' | b'/' | b'+');
        if username.is_empty() || !username.bytes().all(allowed) {
            return Err(UsernameError::Invalid);
        }
        self.local_user_id(username)
            .filter(|user_id| user_id.as_str().len() <= MAX_USER_ID_BYTES)
            .ok_or(UsernameError::Invalid)
    }

    /// Who is meant by what somebody typed to sign in: a localpart or a whole id. Ids of the historical grammar are understood, and the letters'
    /// case is forgiven, as every name of ours is in lower case.
    pub fn typed_user_id(&self, typed: &str) -> Option<OwnedUserId> {
        let typed = typed.trim();
        let user_id = if typed.starts_with('@') {
            OwnedUserId::try_from(typed).ok()?
        } else {
            self.local_user_id(typed)?
        };
        if !self.is_local(&user_id) {
            return None;
        }
        self.local_user_id(&user_id.localpart().to_ascii_lowercase())
    }
}

/// Whether there is or was an account of that id.
pub(crate) fn is_taken(view: &impl Read, user_id: &UserId) -> Result<bool, StoreError> {
    match view.get(&USER_BY_ID, &user_id.to_string())? {
        // Known without an account: somebody has invited it, or written it down.
        Some(user) => view.contains(&ACCOUNT_BY_USER, &user),
        None => Ok(false),
    }
}
