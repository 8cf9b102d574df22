//! Who finds whom: people are the accounts', who knows whom is the rooms'.

use accounts::{FoundUser, FoundUsers, Session, UserDirectory, UserSearch};
use rooms::{Acquaintances, Neighbour};
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
    /// Looks for people by name: those of this server, as far as its configuration lets them be found, and those of other servers whom the caller may know of.
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
        let search = move |view: &Snapshot| {
            if accounts::is_partner(view, searcher)? {
                return Err(FindPeopleError::Partner);
            }
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
            Ok(search.run(view)?)
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
