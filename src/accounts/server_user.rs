//! The user in whose name the server itself speaks.

use model::{
    UserSerial, intern_user,
    tables::{PROFILE_FIELD_BY_USER, USER_BY_ID},
};
use ruma_common::OwnedUserId;
use store::{Read, Snapshot, StoreError};

use crate::{Accounts, UsernameError};

/// The localpart: none that anybody can register begins with `_`.
const LOCALPART: &str = "_server";
/// The name that people read, as JSON.
const NAME: &[u8] = b"\"Server notices\"";

impl Accounts {
    /// The user in whose name the server speaks. It has no account: nobody can sign in as it.
    ///
    /// # Errors
    /// [`UsernameError::Store`] if the database fails.
    pub async fn server_user(&self) -> Result<(OwnedUserId, UserSerial), UsernameError> {
        let user_id = self
            .local_user_id(LOCALPART)
            .ok_or(UsernameError::Invalid)?;
        let name = user_id.to_string();
        let known = move |view: &Snapshot| view.get(&USER_BY_ID, &name);
        if let Some(user) = self.store().read(known).await? {
            return Ok((user_id, user));
        }
        let (name, candidate) = (user_id.to_string(), self.store().next_serial());
        let user = self
            .store()
            .commit(move |latest, _, batch| {
                let user = intern_user(latest, batch, &name, candidate)?;
                let field = (user, "displayname".to_owned());
                batch.put(&PROFILE_FIELD_BY_USER, &field, &NAME.to_vec());
                Ok::<_, StoreError>(user)
            })
            .await?;
        Ok((user_id, user))
    }
}
