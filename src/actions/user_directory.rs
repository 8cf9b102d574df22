//! Who finds whom: people are the accounts', who knows whom is the rooms'.

use accounts::{FoundUsers, Session, UserDirectory, search_users};
use rooms::Acquaintances;
use store::{Snapshot, StoreError};

use crate::Actions;

impl Actions {
    /// Looks for people of this server by name, as far as the server's configuration lets them be found.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn search_users(
        &self,
        session: &Session,
        typed: String,
        limit: usize,
    ) -> Result<FoundUsers, StoreError> {
        let (accounts, searcher) = (self.accounts.clone(), session.user);
        let search =
            move |view: &Snapshot| {
                let server_name = accounts.server_name();
                match accounts.user_directory() {
                    UserDirectory::Everyone => search_users(
                        view,
                        server_name,
                        &typed,
                        limit,
                        |user| Ok(user != searcher),
                    ),
                    UserDirectory::SharedRooms => {
                        let mut known = Acquaintances::of(view, searcher)?;
                        search_users(view, server_name, &typed, limit, |user| {
                            Ok(user != searcher && known.include(user)?)
                        })
                    }
                }
            };
        self.rooms.store().read_long(search).await
    }
}
