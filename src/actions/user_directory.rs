//! Who finds whom: people are the accounts', who knows whom is the rooms'.

use accounts::{FoundUser, FoundUsers, Session, UserDirectory, UserSearch};
use rooms::{Acquaintances, Neighbour};
use store::{Snapshot, StoreError};

use crate::Actions;

impl Actions {
    /// Looks for people by name: those of this server, as far as its configuration lets them be found, and those of other servers whom the caller may know of.
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
        let search = move |view: &Snapshot| {
            let server_name = accounts.server_name();
            let finds_all = accounts.user_directory() == UserDirectory::Everyone;
            let mut known = Acquaintances::of(view, searcher)?;
            let search = UserSearch {
                server_name,
                typed: &typed,
                limit,
                may_see: |user| match finds_all {
                    true => Ok(user != searcher),
                    false => known.include(user),
                },
                others: |visit: &mut dyn FnMut(FoundUser)| {
                    rooms::visit_neighbours(view, server_name, searcher, |neighbour| {
                        visit(found(neighbour));
                    })
                },
            };
            search.run(view)
        };
        self.rooms.store().read_long(search).await
    }
}

fn found(neighbour: Neighbour) -> FoundUser {
    FoundUser {
        user_id: neighbour.user_id,
        display_name: neighbour.display_name,
        avatar_url: neighbour.avatar_url,
    }
}
