//! Profiles: what a user shows to everybody.

use std::collections::BTreeMap;

use audit::{Act, Verb};
use model::{Changes, LogEntry, UserSerial, tables::PROFILE_FIELD_BY_USER};
use ruma_common::MxcUri;
use serde_json::{Value, value::RawValue};
use store::{Latest, Read, StoreError};

use crate::{Accounts, audited, is_active, json, people_lists, standing, user_directory};

/// The longest field name, in bytes.
const MAX_NAME_BYTES: usize = 255;
/// The largest profile, names included, in bytes.
const MAX_PROFILE_BYTES: usize = 64 * 1_024;
/// The longest display name and time zone, in bytes.
const MAX_TEXT_BYTES: usize = 1_024;
/// The longest avatar URL, in bytes.
const MAX_URL_BYTES: usize = 1_000;

pub(crate) const DISPLAY_NAME: &str = "displayname";
const AVATAR_URL: &str = "avatar_url";
const TIME_ZONE: &str = "m.tz";

/// Why a profile was not changed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ProfileError {
    /// Not a field name (`M_INVALID_PARAM`).
    #[error("a profile field is displayname, avatar_url or has a name like org.example.field")]
    InvalidName,
    /// The name is too long (`M_KEY_TOO_LARGE`).
    #[error("the name of a profile field has at most 255 bytes")]
    NameTooLarge,
    /// The value is not what this field takes (`M_BAD_JSON`).
    #[error("{0}")]
    InvalidValue(&'static str),
    /// The whole profile would be too large (`M_PROFILE_TOO_LARGE`).
    #[error("a profile has at most 65536 bytes")]
    TooLarge,
    /// There is no such account (`M_NOT_FOUND`).
    #[error("there is no such account")]
    NotFound,
    /// An administrator has suspended the account (403 `M_USER_SUSPENDED`).
    #[error("you cannot change your profile while your account is suspended")]
    Suspended,
    /// A guest has a name and nothing else (`M_FORBIDDEN`).
    #[error("guests may change their name only")]
    Guest,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A user's whole profile by field name. Everybody may see it.
///
/// # Errors
/// If the database fails.
pub fn profile(
    view: &impl Read,
    user: UserSerial,
) -> Result<BTreeMap<String, Box<RawValue>>, StoreError> {
    view.scan(&PROFILE_FIELD_BY_USER, &(user,))
        .map(|row| {
            let ((_, name), value) = row?;
            Ok((name, json::raw(value, PROFILE_FIELD_BY_USER.name)?))
        })
        .collect()
}

/// One field of a user's profile. Everybody may see it.
///
/// # Errors
/// If the database fails.
pub fn profile_field(
    view: &impl Read,
    user: UserSerial,
    name: &str,
) -> Result<Option<Box<RawValue>>, StoreError> {
    view.get(&PROFILE_FIELD_BY_USER, &(user, name.to_owned()))?
        .map(|value| json::raw(value, PROFILE_FIELD_BY_USER.name))
        .transpose()
}

/// What of a user's profile is repeated in its memberships: display name and avatar URL.
///
/// # Errors
/// If the database fails.
pub fn display_name_and_avatar(
    view: &impl Read,
    user: UserSerial,
) -> Result<(Option<String>, Option<String>), StoreError> {
    let text = |name: &str| {
        view.get(&PROFILE_FIELD_BY_USER, &(user, name.to_owned()))?
            .map(|value| json::parse(&value, PROFILE_FIELD_BY_USER.name))
            .transpose()
    };
    Ok((text(DISPLAY_NAME)?, text(AVATAR_URL)?))
}

/// The pictures of all users, as `mxc://` URIs: for administrators, in the lane for long reads.
///
/// # Errors
/// If the database fails.
pub fn avatars(view: &impl Read) -> Result<Vec<String>, StoreError> {
    let mut avatars = Vec::new();
    for row in view.scan(&PROFILE_FIELD_BY_USER, &()) {
        let ((_, name), value) = row?;
        if name == AVATAR_URL {
            avatars.extend(serde_json::from_slice::<String>(&value).ok());
        }
    }
    Ok(avatars)
}

/// The display name of a new account as it is stored; none for an empty one.
///
/// # Errors
/// [`ProfileError::InvalidValue`] if it is too long.
pub(crate) fn new_display_name(name: &str) -> Result<Option<Vec<u8>>, ProfileError> {
    let name = Value::from(name);
    Ok(checked(DISPLAY_NAME, &name)?.map(|name| name.to_string().into_bytes()))
}

impl Accounts {
    /// Sets a field of a profile (`PUT /profile/{userId}/{keyName}`). An empty or null display name or avatar URL removes it. Returns whether anything changed,
    /// so that the user's memberships need to.
    ///
    /// # Errors
    /// [`ProfileError`].
    pub async fn set_profile_field(
        &self,
        user: UserSerial,
        name: &str,
        value: &Value,
    ) -> Result<bool, ProfileError> {
        check_name(name)?;
        let value = checked(name, value)?.map(|value| value.to_string().into_bytes());
        self.put_profile_field(user, name.to_owned(), value, None)
            .await
    }

    /// Sets a field of somebody's profile in the name of an administrator, which the audit trail
    /// is told in the same commit. As [`Accounts::set_profile_field`] otherwise.
    ///
    /// # Errors
    /// [`ProfileError`].
    pub async fn set_profile_field_of(
        &self,
        act: &Act,
        user: UserSerial,
        name: &str,
        value: &Value,
    ) -> Result<bool, ProfileError> {
        check_name(name)?;
        let json = checked(name, value)?.map(|value| value.to_string().into_bytes());
        let told = serde_json::json!({ name: value });
        self.put_profile_field(user, name.to_owned(), json, Some((act.clone(), told)))
            .await
    }

    /// Removes a field of a profile (`DELETE /profile/{userId}/{keyName}`). Returns whether there was one.
    ///
    /// # Errors
    /// [`ProfileError`].
    pub async fn remove_profile_field(
        &self,
        user: UserSerial,
        name: &str,
    ) -> Result<bool, ProfileError> {
        check_name(name)?;
        self.put_profile_field(user, name.to_owned(), None, None)
            .await
    }

    async fn put_profile_field(
        &self,
        user: UserSerial,
        name: String,
        value: Option<Vec<u8>>,
        told: Option<(Act, Value)>,
    ) -> Result<bool, ProfileError> {
        let now = self.now();
        self.store()
            .commit(move |latest, position, batch| {
                if !is_active(latest, user)? {
                    return Err(ProfileError::NotFound);
                }
                let standing = standing(latest, user)?;
                if standing.is_suspended && told.is_none() {
                    return Err(ProfileError::Suspended);
                }
                if standing.is_guest && name != DISPLAY_NAME {
                    return Err(ProfileError::Guest);
                }
                let key = (user, name);
                if latest.get(&PROFILE_FIELD_BY_USER, &key)? == value {
                    return Ok(false);
                }
                if key.1 == DISPLAY_NAME {
                    let name = value.as_deref().and_then(display_name);
                    // Guests are nobody whom one looks for.
                    if !standing.is_guest {
                        user_directory::rename(latest, batch, user, name.as_deref())?;
                    }
                    people_lists::relist(latest, batch, user, |known| known.display_name = name)?;
                }
                match value {
                    Some(value) => {
                        check_size(latest, user, &key.1, value.len())?;
                        batch.put(&PROFILE_FIELD_BY_USER, &key, &value);
                    }
                    None => batch.delete(&PROFILE_FIELD_BY_USER, &key),
                }
                if let Some((act, told)) = told {
                    let deed = audited::deed(latest, &act, Verb::ProfileChanged, user)?;
                    audit::record(latest, batch, now, &[deed.after(told)])?;
                }
                Changes::at(position).log(batch, &LogEntry::Account { user });
                Ok(true)
            })
            .await
    }
}

/// A display name of its JSON.
fn display_name(json: &[u8]) -> Option<String> {
    serde_json::from_slice(json).ok()
}

fn check_name(name: &str) -> Result<(), ProfileError> {
    if name.len() > MAX_NAME_BYTES {
        return Err(ProfileError::NameTooLarge);
    }
    // The Common Namespaced Identifier Grammar, with at least one namespace.
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.');
    let is_namespaced = name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.contains('.')
        && name.bytes().all(allowed);
    if is_namespaced || name == DISPLAY_NAME || name == AVATAR_URL {
        Ok(())
    } else {
        Err(ProfileError::InvalidName)
    }
}

/// The value as it is stored; `None` removes the field.
fn checked<'a>(name: &str, value: &'a Value) -> Result<Option<&'a Value>, ProfileError> {
    let (DISPLAY_NAME | AVATAR_URL | TIME_ZONE) = name else {
        return Ok(Some(value));
    };
    let text = match value {
        Value::Null if name != TIME_ZONE => return Ok(None),
        Value::String(text) => text,
        _ => return Err(ProfileError::InvalidValue("the value must be text")),
    };
    match name {
        DISPLAY_NAME | AVATAR_URL if text.is_empty() => Ok(None),
        AVATAR_URL if text.len() > MAX_URL_BYTES || !<&MxcUri>::from(text.as_str()).is_valid() => {
            Err(ProfileError::InvalidValue(
                "the value must be an mxc:// URI",
            ))
        }
        _ if text.len() > MAX_TEXT_BYTES => Err(ProfileError::InvalidValue(
            "the value has at most 1024 bytes",
        )),
        _ => Ok(Some(value)),
    }
}

/// Whether the profile stays within its limit with a value of `length` bytes in that field.
fn check_size(
    latest: &Latest,
    user: UserSerial,
    name: &str,
    length: usize,
) -> Result<(), ProfileError> {
    let mut total = name.len() + length;
    for row in latest.scan(&PROFILE_FIELD_BY_USER, &(user,)) {
        let ((_, other), value) = row?;
        if other != name {
            total += other.len() + value.len();
        }
    }
    if total > MAX_PROFILE_BYTES {
        return Err(ProfileError::TooLarge);
    }
    Ok(())
}
