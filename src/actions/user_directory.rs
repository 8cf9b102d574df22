//! Who finds whom: people are the accounts', who knows whom is the rooms'.

use accounts::{FoundUsers, Session, UserDirectory, search_users};
use rooms::Acquaintances;
use store::{Snapshot, StoreError};

use crate::Actions;

/// Why nobody was looked for.
#[derive(Debug, thiserror::Error)]
pub enum FindPeopleError {
    /// The searcher is a partner (403 `M_FORBIDDEN`).
    #[error("partners do not see who else is on this server: write to people by their whole id")]
    Partner,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Actions {
    /// Looks for people of this server by name, as far as the server's configuration lets them be found.
    ///
    /// # Errors
    /// [`FindPeopleError`].
    pub async fn search_users(
        &self,
        session: &Session,
        typed: String,
        limit: usize,
    ) -> Result<FoundUsers, FindPeopleError> {
        let (accounts, searcher) = (self.accounts.clone(), session.user);
        let search =
            move |view: &Snapshot| {
                if accounts::is_partner(view, searcher)? {
                    return Err(FindPeopleError::Partner);
                }
                let server_name = accounts.server_name();
                let found =
                    match accounts.user_directory() {
                        UserDirectory::Everyone => {
                            search_users(view, server_name, &typed, limit, |user| {
                                Ok(user != searcher)
                            })
                        }
                        UserDirectory::SharedRooms => {
                            let mut known = Acquaintances::of(view, searcher)?;
                            search_users(view, server_name, &typed, limit, |user| {
                                Ok(user != searcher && known.include(user)?)
                            })
                        }
                    };
                Ok(found?)
            };
        self.rooms.store().read_long(search).await
    }
}
