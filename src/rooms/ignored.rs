//! Whom a user ignores (client-server API, "Ignoring Users").

use std::collections::{BTreeMap, HashSet};

use model::UserSerial;
use serde::Deserialize;
use serde_json::value::RawValue;
use store::{Read, StoreError};

use crate::user_serial;

const EVENT_TYPE: &str = "m.ignored_user_list";
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
    #[derive(Deserialize)]
    struct Content<'a> {
        #[serde(borrow)]
        ignored_users: BTreeMap<String, &'a RawValue>,
    }
    let Some(data) = accounts::account_data(view, user, None, EVENT_TYPE)? else {
        return Ok(HashSet::new());
    };
    // A list of another form ignores nobody.
    let Ok(content) = serde_json::from_slice::<Content<'_>>(&data.json) else {
        return Ok(HashSet::new());
    };
    let mut ignored = HashSet::new();
    for user_id in content.ignored_users.keys().take(MAX_IGNORED) {
        ignored.extend(user_serial(view, user_id)?);
    }
    // Nobody can ignore oneself.
    ignored.remove(&user);
    Ok(ignored)
}
