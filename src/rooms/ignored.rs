//! Whom a user ignores (client-server API, "Ignoring Users").

use std::collections::HashSet;

use model::UserSerial;
use store::{Read, StoreError};

use crate::user_serial;

/// The most users that are looked up; those beyond are not ignored.
const MAX_IGNORED: usize = 1000;

/// The users whom `user` ignores, of those that this server has heard of.
///
/// # Errors
/// If the database fails.
pub(crate) fn ignored_users(
    view: &impl Read,
    user: UserSerial,
) -> Result<HashSet<UserSerial>, StoreError> {
    let mut ignored = HashSet::new();
    let ids = accounts::ignored_users(view, user)?;
    for user_id in ids.iter().take(MAX_IGNORED) {
        ignored.extend(user_serial(view, user_id)?);
    }
    Ok(ignored)
}
