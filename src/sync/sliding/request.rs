//! What a client asks for (MSC4186, "Request Body", as it was unstable), and its limits.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Deserializer};

use super::{StickyRequest, SubscriptionsRequest};
use crate::SyncError;

/// The most lists of a request, and the most subscriptions.
const MOST_RULES: usize = 100;
/// The longest name of a list, of a connection, and of what is required, in bytes.
const LONGEST_NAME: usize = 255;
/// The most ranges of a list.
const MOST_RANGES: usize = 100;
/// The most pairs of required state of a list or subscription.
const MOST_REQUIRED: usize = 1000;
/// The most values of one filter.
const MOST_VALUES: usize = 1000;

/// The body of a request, with its query.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct SlidingRequest {
    /// The `pos` of the answer before; none begins anew.
    #[serde(skip)]
    pub pos: Option<String>,
    /// How long to wait for news.
    #[serde(skip)]
    pub timeout: Duration,
    /// Which of the device's connections this is.
    #[serde(default)]
    pub conn_id: Option<String>,
    /// Comes back in the answer.
    #[serde(default)]
    pub txn_id: Option<String>,
    /// Windows on the list of rooms, by name.
    #[serde(default, deserialize_with = "or_default")]
    pub lists: BTreeMap<String, ListRequest>,
    /// Rooms wanted by their id.
    #[serde(default, deserialize_with = "or_default")]
    pub room_subscriptions: BTreeMap<String, RoomRequest>,
    /// What is wanted beside rooms.
    #[serde(default, deserialize_with = "or_default")]
    pub extensions: Extensions,
}

/// A window on the list of rooms.
#[derive(Clone, Debug, Hash, Deserialize)]
#[serde(from = "ListFields")]
pub struct ListRequest {
    /// The first and last place of each range; all rooms if none is given.
    pub ranges: Option<Vec<(u64, u64)>>,
    /// Whether all rooms are wanted, whatever the ranges.
    pub slow_get_all_rooms: bool,
    /// Which rooms are on the list.
    pub filters: Filters,
    /// What is wanted of each room.
    pub room: RoomRequest,
}

/// A list's fields as clients send them, with those of its rooms among them.
#[derive(Deserialize)]
struct ListFields {
    #[serde(default)]
    ranges: Option<Vec<(u64, u64)>>,
    #[serde(default, deserialize_with = "or_default")]
    slow_get_all_rooms: bool,
    #[serde(default, deserialize_with = "or_default")]
    filters: Filters,
    timeline_limit: u64,
    #[serde(default, deserialize_with = "or_default")]
    required_state: Vec<(String, String)>,
}

impl From<ListFields> for ListRequest {
    fn from(fields: ListFields) -> Self {
        Self {
            ranges: fields.ranges,
            slow_get_all_rooms: fields.slow_get_all_rooms,
            filters: fields.filters,
            room: RoomRequest {
                timeline_limit: fields.timeline_limit,
                required_state: fields.required_state,
            },
        }
    }
}

/// What is wanted of a room.
#[derive(Clone, Debug, Hash, Deserialize)]
pub struct RoomRequest {
    /// The most events of its timeline.
    pub timeline_limit: u64,
    /// Event types and state keys, with `*`, `$ME` and `$LAZY`.
    #[serde(default, deserialize_with = "or_default")]
    pub required_state: Vec<(String, String)>,
}

/// Which rooms are on a list: those that meet every condition that is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
pub struct Filters {
    /// Direct chats, or none of them.
    #[serde(default)]
    pub is_dm: Option<bool>,
    /// Rooms in one of these spaces.
    #[serde(default)]
    pub spaces: Option<Vec<String>>,
    /// Encrypted rooms, or none of them.
    #[serde(default)]
    pub is_encrypted: Option<bool>,
    /// Invitations, or none of them.
    #[serde(default, alias = "is_invited")]
    pub is_invite: Option<bool>,
    /// Rooms of these types; `null` is that of most rooms.
    #[serde(default, deserialize_with = "or_default")]
    pub room_types: Vec<Option<String>>,
    /// No rooms of these types.
    #[serde(default, deserialize_with = "or_default")]
    pub not_room_types: Vec<Option<String>>,
    /// Rooms with this in their name, in capitals or not.
    #[serde(default)]
    pub room_name_like: Option<String>,
    /// Rooms with one of these tags.
    #[serde(default)]
    pub tags: Option<Vec<String>>,
    /// Rooms with none of these tags.
    #[serde(default, deserialize_with = "or_default")]
    pub not_tags: Vec<String>,
}

/// What is wanted beside rooms.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Extensions {
    /// Messages to the device (MSC3885).
    #[serde(default, deserialize_with = "or_default")]
    pub to_device: ToDeviceRequest,
    /// Device lists and key counts (MSC3884); not limited to rooms.
    #[serde(default, deserialize_with = "or_default")]
    pub e2ee: ScopedRequest,
    /// The account's own data and that of rooms (MSC3959).
    #[serde(default, deserialize_with = "or_default")]
    pub account_data: ScopedRequest,
    /// Receipts (MSC3960).
    #[serde(default, deserialize_with = "or_default")]
    pub receipts: ScopedRequest,
    /// Who types (MSC3961).
    #[serde(default, deserialize_with = "or_default")]
    pub typing: ScopedRequest,
    /// Sticky events (MSC4354).
    #[serde(
        default,
        rename = "org.matrix.msc4354.sticky_events",
        deserialize_with = "or_default"
    )]
    pub sticky: StickyRequest,
    /// Threads that the user follows (MSC4308).
    #[serde(
        default,
        rename = "io.element.msc4308.thread_subscriptions",
        deserialize_with = "or_default"
    )]
    pub subscriptions: SubscriptionsRequest,
}

/// Whether and how messages to the device are wanted.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct ToDeviceRequest {
    /// Whether they are.
    #[serde(default, deserialize_with = "or_default")]
    pub enabled: bool,
    /// At most so many at once.
    #[serde(default)]
    pub limit: Option<u64>,
    /// The `next_batch` of the answer before: all up to it has come.
    #[serde(default)]
    pub since: Option<String>,
}

/// Whether an extension is wanted, and of which rooms.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
pub struct ScopedRequest {
    /// Whether it is.
    #[serde(default, deserialize_with = "or_default")]
    pub enabled: bool,
    /// Of rooms in the windows of these lists; of all lists if not given, or `*`.
    #[serde(default)]
    pub lists: Option<Vec<String>>,
    /// Of these rooms among the subscribed ones; of all if not given, or `*`.
    #[serde(default)]
    pub rooms: Option<Vec<String>>,
}

/// Clients send `null` for what they leave out.
fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl ScopedRequest {
    /// Whether the rooms in the window of this list are meant.
    pub(crate) fn has_list(&self, name: &str) -> bool {
        named(self.lists.as_deref(), name)
    }

    /// Whether this subscribed room is meant.
    pub(crate) fn has_room(&self, room_id: &str) -> bool {
        named(self.rooms.as_deref(), room_id)
    }
}

fn named(names: Option<&[String]>, name: &str) -> bool {
    names.is_none_or(|names| names.iter().any(|one| one == name || one == "*"))
}

impl SlidingRequest {
    /// Refuses what is too much.
    ///
    /// # Errors
    /// [`SyncError::Invalid`].
    pub(crate) fn check(&self) -> Result<(), SyncError> {
        within(self.lists.len(), MOST_RULES, "lists")?;
        within(self.room_subscriptions.len(), MOST_RULES, "subscriptions")?;
        let conn_id = self.conn_id.as_ref().map_or(0, String::len);
        within(conn_id, LONGEST_NAME, "bytes of conn_id")?;
        let txn_id = self.txn_id.as_ref().map_or(0, String::len);
        within(txn_id, LONGEST_NAME, "bytes of txn_id")?;
        for (name, list) in &self.lists {
            within(name.len(), LONGEST_NAME, "bytes of a list's name")?;
            list.check()?;
        }
        for room in self.room_subscriptions.values() {
            room.check()?;
        }
        let extensions = &self.extensions;
        for scoped in [
            &extensions.account_data,
            &extensions.receipts,
            &extensions.typing,
        ] {
            for names in [&scoped.lists, &scoped.rooms].into_iter().flatten() {
                within(names.len(), MOST_VALUES, "names of an extension")?;
            }
        }
        Ok(())
    }
}

impl ListRequest {
    fn check(&self) -> Result<(), SyncError> {
        self.room.check()?;
        let ranges = self.ranges.as_deref().unwrap_or_default();
        within(ranges.len(), MOST_RANGES, "ranges")?;
        if ranges.iter().any(|(first, last)| first > last) {
            return Err(SyncError::Invalid(
                "a range ends before it begins".to_owned(),
            ));
        }
        let filters = &self.filters;
        for length in [
            filters.spaces.as_ref().map_or(0, Vec::len),
            filters.tags.as_ref().map_or(0, Vec::len),
            filters.room_types.len(),
            filters.not_room_types.len(),
            filters.not_tags.len(),
            filters.room_name_like.as_ref().map_or(0, String::len),
        ] {
            within(length, MOST_VALUES, "values of a filter")?;
        }
        Ok(())
    }

    /// Whether the room at this place of the list is in the window.
    pub(crate) fn has_place(&self, place: u64) -> bool {
        match &self.ranges {
            Some(ranges) if !self.slow_get_all_rooms => ranges
                .iter()
                .any(|(first, last)| (*first..=*last).contains(&place)),
            _ => true,
        }
    }
}

impl RoomRequest {
    fn check(&self) -> Result<(), SyncError> {
        within(
            self.required_state.len(),
            MOST_REQUIRED,
            "pairs of required_state",
        )?;
        for (event_type, state_key) in &self.required_state {
            within(event_type.len(), LONGEST_NAME, "bytes of an event type")?;
            within(state_key.len(), LONGEST_NAME, "bytes of a state key")?;
        }
        Ok(())
    }
}

fn within(length: usize, most: usize, what: &str) -> Result<(), SyncError> {
    if length > most {
        return Err(SyncError::Invalid(format!(
            "there are {length} {what}, and {most} at most"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn list(value: serde_json::Value) -> ListRequest {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn ranges_are_inclusive_and_may_be_several() {
        let two = list(json!({ "timeline_limit": 1, "ranges": [[0, 2], [5, 5]] }));
        let places: Vec<u64> = (0..9).filter(|place| two.has_place(*place)).collect();
        assert_eq!(places, [0, 1, 2, 5]);
        let none = list(json!({ "timeline_limit": 1, "ranges": [] }));
        assert!(!none.has_place(0));
        let all = list(json!({ "timeline_limit": 1 }));
        assert!(all.has_place(1_000_000));
        let all = json!({ "timeline_limit": 1, "ranges": [[0, 0]], "slow_get_all_rooms": true });
        assert!(list(all).has_place(7));
        let backwards = list(json!({ "timeline_limit": 1, "ranges": [[2, 1]] }));
        assert!(backwards.check().is_err());
    }

    #[test]
    fn what_is_null_or_unknown_is_as_if_left_out() {
        let body = json!({
            "conn_id": null, "lists": null, "room_subscriptions": null, "more": 1,
            "extensions": { "typing": null, "e2ee": { "enabled": null }, "other": {} },
        });
        let request: SlidingRequest = serde_json::from_value(body).unwrap();
        request.check().unwrap();
        assert!(!request.extensions.e2ee.enabled);
        let body = json!({ "lists": { "a": { "ranges": [[0, 1]] } } });
        assert!(serde_json::from_value::<SlidingRequest>(body).is_err());
    }

    #[test]
    fn too_much_is_refused() {
        let room = json!({ "timeline_limit": 1 });
        let many: serde_json::Map<_, _> = (0..101)
            .map(|number| (number.to_string(), room.clone()))
            .collect();
        for body in [
            json!({ "lists": many }),
            json!({ "room_subscriptions": many }),
            json!({ "conn_id": "c".repeat(256) }),
            json!({ "lists": { ("l".repeat(256)): room } }),
            json!({ "lists": { "a": {
                "timeline_limit": 1, "required_state": vec![["a", "b"]; 1001],
            } } }),
        ] {
            let request: SlidingRequest = serde_json::from_value(body).unwrap();
            assert!(matches!(request.check(), Err(SyncError::Invalid(_))));
        }
    }

    #[test]
    fn an_extension_names_its_rooms() {
        let scoped = |value| serde_json::from_value::<ScopedRequest>(value).unwrap();
        let all = scoped(json!({ "enabled": true }));
        assert!(all.has_list("a") && all.has_room("!b:c"));
        let none = scoped(json!({ "lists": [], "rooms": [] }));
        assert!(!none.has_list("a") && !none.has_room("!b:c"));
        let some = scoped(json!({ "lists": ["a"], "rooms": ["*"] }));
        assert!(some.has_list("a") && !some.has_list("b") && some.has_room("!b:c"));
    }
}
