//! What a membership says about its user.

use model::UserSerial;
use ruma_common::CanonicalJsonObject;
use store::{Read, StoreError};

/// The fields of a profile that stand in memberships, where they are called the same.
pub(crate) const FIELDS: [&str; 2] = ["displayname", "avatar_url"];

/// The content of a membership.
pub(crate) fn membership(membership: &str, reason: Option<String>) -> CanonicalJsonObject {
    let mut content = CanonicalJsonObject::new();
    content.insert("membership".to_owned(), membership.to_owned().into());
    if let Some(reason) = reason {
        content.insert("reason".to_owned(), reason.into());
    }
    content
}

/// Adds what the user's profile says, where the content does not say it itself.
pub(crate) fn add(
    view: &impl Read,
    user: UserSerial,
    content: &mut CanonicalJsonObject,
) -> Result<(), StoreError> {
    let (display_name, avatar_url) = accounts::display_name_and_avatar(view, user)?;
    for (name, value) in FIELDS.into_iter().zip([display_name, avatar_url]) {
        if let Some(value) = value
            && !content.contains_key(name)
        {
            content.insert(name.to_owned(), value.into());
        }
    }
    Ok(())
}
