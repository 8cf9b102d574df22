//! Pushers: where a user's clients want notifications sent (client-server API, "Push Notifications").

use model::{
    DeviceSerial, LogEntry, PusherRecord, PusherSerial, UserSerial, pushers_scope,
    tables::{PUSH_BY_PUSHER, PUSHER_BY_KEY, PUSHER_BY_USER, TOLD_COUNT_BY_PUSHER},
};
use serde_json::{Map, Value};
use store::{Batch, DecodeError, Latest, Position, Read, StoreError};
use url::Url;

use crate::{Accounts, Session, devices::is_current};

/// The longest `app_id`, in characters.
const MAX_APP_ID: usize = 64;
/// The longest `pushkey`, in bytes.
const MAX_PUSHKEY: usize = 512;
/// The longest name, language or profile tag, in bytes.
const MAX_TEXT: usize = 255;
/// The longest URL of a gateway, in bytes.
const MAX_URL: usize = 2_048;
/// The longest data, in bytes.
const MAX_DATA: usize = 4_096;
/// The most pushers of one user.
const MAX_PUSHERS: usize = 100;
/// The path that every push gateway has.
const GATEWAY_PATH: &str = "/_matrix/push/v1/notify";

/// Why a pusher was not set.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PusherError {
    /// A value is empty or too long (`M_INVALID_PARAM`).
    #[error("{name} is empty or longer than {limit}")]
    Length {
        /// Which.
        name: &'static str,
        /// How long it may be.
        limit: usize,
    },
    /// Not the URL of a push gateway (`M_INVALID_PARAM`).
    #[error("the url must begin with https:// and its path must be /_matrix/push/v1/notify")]
    Url,
    /// The user has as many pushers as one may have.
    #[error("this user has too many pushers")]
    TooMany,
    /// The device was deleted meanwhile.
    #[error("the device was deleted")]
    NoDevice,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What tells a user's pushers apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PusherKey {
    /// The application.
    pub app_id: String,
    /// Where the push provider sends it.
    pub pushkey: String,
}

/// A pusher as a client sets it. All of them speak to an HTTP gateway.
#[derive(Clone, Debug)]
pub struct NewPusher {
    /// Application and push key.
    pub key: PusherKey,
    /// The name of the application.
    pub app_display_name: String,
    /// The name of the device.
    pub device_display_name: String,
    /// Which device-specific rules are meant.
    pub profile_tag: Option<String>,
    /// The language of notifications.
    pub lang: String,
    /// Where the gateway listens.
    pub url: String,
    /// The rest of `data`.
    pub data: Map<String, Value>,
    /// Whether pushers of other users with the same key stay.
    pub append: bool,
}

/// A pusher that is set.
#[derive(Clone, Debug, PartialEq)]
pub struct Pusher {
    /// Application and push key.
    pub key: PusherKey,
    /// Its serial.
    pub serial: PusherSerial,
    /// The device that it goes with.
    pub device: DeviceSerial,
    /// The commit that made it: what came before is not pushed.
    pub since: Position,
    /// When it was last set, in ms since the Unix epoch.
    pub updated_at: u64,
    /// The name of the application.
    pub app_display_name: String,
    /// The name of the device.
    pub device_display_name: String,
    /// Which device-specific rules are meant.
    pub profile_tag: Option<String>,
    /// The language of notifications.
    pub lang: String,
    /// Where the gateway listens.
    pub url: String,
    /// `data` without `url`.
    pub data: Map<String, Value>,
}

impl Pusher {
    /// Whether the gateway wants the event's id alone (`event_id_only`).
    pub fn wants_id_only(&self) -> bool {
        self.data.get("format").and_then(Value::as_str) == Some("event_id_only")
    }
}

/// The pushers of a user, for that user alone.
///
/// # Errors
/// If the database fails.
pub fn pushers(view: &impl Read, user: UserSerial) -> Result<Vec<Pusher>, StoreError> {
    view.scan(&PUSHER_BY_USER, &(user,))
        .map(|row| {
            let ((_, app_id, pushkey), record) = row?;
            shown(PusherKey { app_id, pushkey }, record)
        })
        .collect()
}

/// One pusher of a user.
///
/// # Errors
/// If the database fails.
pub fn pusher(
    view: &impl Read,
    user: UserSerial,
    key: &PusherKey,
) -> Result<Option<Pusher>, StoreError> {
    view.get(&PUSHER_BY_USER, &row(user, key))?
        .map(|record| shown(key.clone(), record))
        .transpose()
}

/// Everybody's pushers.
///
/// # Errors
/// If the database fails.
pub fn all_pushers(view: &impl Read) -> Result<Vec<(UserSerial, Pusher)>, StoreError> {
    view.scan(&PUSHER_BY_USER, &())
        .map(|row| {
            let ((user, app_id, pushkey), record) = row?;
            Ok((user, shown(PusherKey { app_id, pushkey }, record)?))
        })
        .collect()
}

fn row(user: UserSerial, key: &PusherKey) -> (UserSerial, String, String) {
    (user, key.app_id.clone(), key.pushkey.clone())
}

fn shown(key: PusherKey, record: PusherRecord) -> Result<Pusher, StoreError> {
    let data = serde_json::from_slice(&record.data).map_err(|_| StoreError::Corrupt {
        table: PUSHER_BY_USER.name,
        reason: DecodeError("the stored JSON"),
    })?;
    Ok(Pusher {
        key,
        serial: record.serial,
        device: record.device,
        since: Position(record.since),
        updated_at: record.updated_at,
        app_display_name: record.app_display_name,
        device_display_name: record.device_display_name,
        profile_tag: record.profile_tag,
        lang: record.lang,
        url: record.url,
        data,
    })
}

impl NewPusher {
    /// Checks every value. Plain HTTP is taken where `plain_http` says that this server reaches private networks: it never goes anywhere else.
    fn check(&self, plain_http: bool) -> Result<(), PusherError> {
        let within = |name, length: usize, limit| {
            if length == 0 || length > limit {
                return Err(PusherError::Length { name, limit });
            }
            Ok(())
        };
        within("app_id", self.key.app_id.chars().count(), MAX_APP_ID)?;
        within("pushkey", self.key.pushkey.len(), MAX_PUSHKEY)?;
        // A name may be empty; an empty one counts as one byte here.
        let text = |name, text: &str| within(name, text.len().max(1), MAX_TEXT);
        text("app_display_name", &self.app_display_name)?;
        text("device_display_name", &self.device_display_name)?;
        text("lang", &self.lang)?;
        text("profile_tag", self.profile_tag.as_deref().unwrap_or(""))?;
        within("url", self.url.len(), MAX_URL)?;
        within("data", self.data_json().len(), MAX_DATA)?;
        is_gateway(&self.url, plain_http)
            .then_some(())
            .ok_or(PusherError::Url)
    }

    fn data_json(&self) -> Vec<u8> {
        // Text keys and JSON values: always writable.
        serde_json::to_vec(&self.data).unwrap_or_default()
    }
}

/// Whether a URL is one that a push gateway has.
fn is_gateway(url: &str, plain_http: bool) -> bool {
    Url::parse(url).is_ok_and(|url| {
        let scheme = url.scheme() == "https" || (plain_http && url.scheme() == "http");
        let is_bare =
            url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
        scheme && is_bare && url.has_host() && url.path() == GATEWAY_PATH
    })
}

impl Accounts {
    /// Sets a pusher of the session's user, in place of the one with the same key; it goes with the session's device. Unless it is to be appended, other
    /// users' pushers with the same key go. A new pusher begins with what happens from now on.
    ///
    /// `plain_http`: whether gateways without TLS are taken, which are reached in private networks alone.
    ///
    /// # Errors
    /// [`PusherError`].
    pub async fn set_pusher(
        &self,
        session: &Session,
        new: NewPusher,
        plain_http: bool,
    ) -> Result<(), PusherError> {
        new.check(plain_http)?;
        let session = session.clone();
        let (serial, now) = (PusherSerial(self.store().next_serial()), self.now());
        self.store()
            .commit(move |latest, position, batch| {
                let (user, device) = (session.user, session.device);
                if !is_current(latest, user, &session.device_id, device)? {
                    return Err(PusherError::NoDevice);
                }
                let key = row(user, &new.key);
                let earlier = latest.get(&PUSHER_BY_USER, &key)?;
                let number = latest.scan(&PUSHER_BY_USER, &(user,)).count();
                if earlier.is_none() && number >= MAX_PUSHERS {
                    return Err(PusherError::TooMany);
                }
                if !new.append {
                    remove_of_others(latest, batch, user, &new.key)?;
                }
                let (serial, since) = earlier.map_or((serial, position.0), |earlier| {
                    (earlier.serial, earlier.since)
                });
                let record = PusherRecord {
                    serial,
                    device,
                    since,
                    updated_at: now,
                    data: new.data_json(),
                    app_display_name: new.app_display_name,
                    device_display_name: new.device_display_name,
                    profile_tag: new.profile_tag,
                    lang: new.lang,
                    url: new.url,
                };
                batch.put(&PUSHER_BY_USER, &key, &record);
                batch.put(&PUSHER_BY_KEY, &(key.1, key.2, user), &());
                LogEntry::Pushers { user }.write(batch);
                batch.wake(pushers_scope());
                Ok(())
            })
            .await
    }

    /// Deletes a pusher of a user, if there is one. With `serial` only if it is still that one.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn delete_pusher(
        &self,
        user: UserSerial,
        key: PusherKey,
        serial: Option<PusherSerial>,
    ) -> Result<(), StoreError> {
        self.store()
            .commit(move |latest, _, batch| {
                let record = latest.get(&PUSHER_BY_USER, &row(user, &key))?;
                let is_meant = |record: &PusherRecord| serial.is_none_or(|of| of == record.serial);
                if let Some(record) = record.filter(is_meant) {
                    remove(batch, user, &key, record.serial);
                }
                Ok(())
            })
            .await
    }
}

/// Removes the pushers of other users with the same key.
fn remove_of_others(
    latest: &Latest,
    batch: &mut Batch,
    user: UserSerial,
    key: &PusherKey,
) -> Result<(), StoreError> {
    let same = (key.app_id.clone(), key.pushkey.clone());
    for found in latest.scan(&PUSHER_BY_KEY, &same) {
        let ((_, _, other), ()) = found?;
        if other == user {
            continue;
        }
        if let Some(record) = latest.get(&PUSHER_BY_USER, &row(other, key))? {
            remove(batch, other, key, record.serial);
        }
    }
    Ok(())
}

/// Removes the pushers of a device that is deleted.
pub(crate) fn remove_of_device(
    latest: &Latest,
    batch: &mut Batch,
    user: UserSerial,
    device: DeviceSerial,
) -> Result<(), StoreError> {
    for found in latest.scan(&PUSHER_BY_USER, &(user,)) {
        let ((_, app_id, pushkey), record) = found?;
        if record.device == device {
            let key = PusherKey { app_id, pushkey };
            remove(batch, user, &key, record.serial);
        }
    }
    Ok(())
}

/// Removes a pusher with everything that waits for it.
fn remove(batch: &mut Batch, user: UserSerial, key: &PusherKey, serial: PusherSerial) {
    batch.delete(&PUSHER_BY_USER, &row(user, key));
    let by_key = (key.app_id.clone(), key.pushkey.clone(), user);
    batch.delete(&PUSHER_BY_KEY, &by_key);
    batch.delete_prefix(&PUSH_BY_PUSHER, &(serial,));
    batch.delete(&TOLD_COUNT_BY_PUSHER, &serial);
    LogEntry::Pushers { user }.write(batch);
    batch.wake(pushers_scope());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateways_have_one_path_and_speak_https() {
        for (url, plain_http, expected) in [
            ("https://push.test/_matrix/push/v1/notify", false, true),
            ("https://push.test:8443/_matrix/push/v1/notify", false, true),
            ("https://192.0.2.1/_matrix/push/v1/notify", false, true),
            ("HTTPS://push.test/_matrix/push/v1/notify", false, true),
            ("http://push.test/_matrix/push/v1/notify", false, false),
            ("http://10.0.0.7/_matrix/push/v1/notify", true, true),
            ("ftp://push.test/_matrix/push/v1/notify", true, false),
            ("https://push.test/_matrix/push/v1/notify/", false, false),
            (
                "https://push.test/_matrix/push/v1/../v1/notify",
                false,
                true,
            ),
            ("https://push.test/", false, false),
            ("https://a:b@push.test/_matrix/push/v1/notify", false, false),
            ("https:///_matrix/push/v1/notify", false, false),
            ("https://push.test/_matrix/push/v1/notify#x", false, false),
            ("/_matrix/push/v1/notify", false, false),
            ("", false, false),
        ] {
            assert_eq!(is_gateway(url, plain_http), expected, "{url} {plain_http}");
        }
    }
}
