//! What a service needs whose users talk encrypted, in its transactions: messages to their
//! devices (MSC4203), whose devices changed, and how many keys are left (MSC3202). Both
//! proposals are not accepted yet, so the fields have their unstable names.

use std::collections::{BTreeMap, BTreeSet};

use accounts::QueuedMessage;
use model::{DeviceSerial, UserSerial, tables::DEVICE_BY_USER};
use ruma_common::UserId;
use serde_json::{Map, Value, json};
use services::Service;
use store::{Position, Read as _, Snapshot, StoreError};

/// The kind of one-time keys that every device has.
const USUAL: &str = "signed_curve25519";

/// Things by user id and device id.
type ByDevice = BTreeMap<String, Map<String, Value>>;

/// The part of a transaction to be.
#[derive(Default)]
pub(super) struct Encryption {
    /// Messages to devices, as JSON.
    messages: Vec<String>,
    /// Those of them that wait for nobody else.
    pub(super) told: Vec<QueuedMessage>,
    changed: BTreeSet<String>,
    one_time_keys: ByDevice,
    unused_fallback_keys: ByDevice,
}

impl Encryption {
    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.changed.is_empty() && self.one_time_keys.is_empty()
    }

    /// Adds the messages that came for a device with a commit. If the service alone has the
    /// user, they are its; else the device gets them too, with its next sync. Returns how
    /// many bytes they are.
    pub(super) fn messages(
        &mut self,
        view: &Snapshot,
        service: &Service,
        (user, device): (UserSerial, DeviceSerial),
        position: Position,
    ) -> Result<usize, StoreError> {
        let Some((user_id, device_id)) = names(view, user, device)? else {
            return Ok(0);
        };
        let is_alone = UserId::parse(user_id.as_str()).is_ok_and(|id| service.has_user_alone(&id));
        let mut bytes = 0;
        let (to_user, to_device) = (Value::from(user_id), Value::from(device_id));
        for (key, json) in accounts::to_device_at(view, device, position)? {
            let json = String::from_utf8_lossy(&json);
            let Some(open) = json.strip_suffix('}') else {
                continue;
            };
            let to = format!(r#""to_user_id":{to_user},"to_device_id":{to_device}"#);
            let message = format!("{open},{to}}}");
            bytes += message.len();
            self.messages.push(message);
            if is_alone {
                self.told.push(key);
            }
        }
        self.keys(view, user, device)?;
        Ok(bytes)
    }

    /// Adds how many keys of a device are left.
    pub(super) fn keys(
        &mut self,
        view: &Snapshot,
        user: UserSerial,
        device: DeviceSerial,
    ) -> Result<(), StoreError> {
        let Some((user_id, device_id)) = names(view, user, device)? else {
            return Ok(());
        };
        let counts = accounts::key_counts(view, device)?;
        let mut one_time = json!(counts.one_time);
        if one_time[USUAL].is_null() {
            // A missing count is taken for an unknown one.
            one_time[USUAL] = 0.into();
        }
        let of_user = self.one_time_keys.entry(user_id.clone()).or_default();
        of_user.insert(device_id.clone(), one_time);
        let of_user = self.unused_fallback_keys.entry(user_id).or_default();
        of_user.insert(device_id, json!(counts.unused_fallback));
        Ok(())
    }

    /// Adds that somebody's devices changed.
    pub(super) fn device_list(
        &mut self,
        view: &Snapshot,
        user: UserSerial,
    ) -> Result<(), StoreError> {
        self.changed.extend(model::user_id(view, user)?);
        Ok(())
    }

    /// Adds what there is to a transaction's body, which is open.
    pub(super) fn write(&self, body: &mut String) {
        if !self.messages.is_empty() {
            let messages = self.messages.join(",");
            body.push_str(&format!(r#","de.sorunome.msc2409.to_device":[{messages}]"#));
        }
        let mut field = |name: &str, value: Value| {
            body.push_str(&format!(r#","org.matrix.msc3202.{name}":{value}"#));
        };
        if !self.changed.is_empty() {
            let lists = json!({ "changed": self.changed, "left": [] });
            field("device_lists", lists);
        }
        if !self.one_time_keys.is_empty() {
            field("device_one_time_keys_count", json!(self.one_time_keys));
            let unused = json!(self.unused_fallback_keys);
            field("device_unused_fallback_key_types", unused);
        }
    }
}

/// The user's and the device's id, if the device is still there.
fn names(
    view: &Snapshot,
    user: UserSerial,
    device: DeviceSerial,
) -> Result<Option<(String, String)>, StoreError> {
    let Some(user_id) = model::user_id(view, user)? else {
        return Ok(None);
    };
    for row in view.scan(&DEVICE_BY_USER, &(user,)) {
        let ((_, device_id), record) = row?;
        if record.serial == device {
            return Ok(Some((user_id, device_id)));
        }
    }
    Ok(None)
}
