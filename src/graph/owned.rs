//! State that is owned (MSC3757): its state key begins with a user id, and nobody else sets it but who has more power.

use std::sync::Arc;

use ruma_common::{MilliSecondsSinceUnixEpoch, OwnedEventId, OwnedUserId, RoomId, UserId};
use ruma_events::TimelineEventType;
use serde_json::value::RawValue;

use crate::{Event, PowerLevels, Reason};

/// An event as the rules of versions without owned state must see it once its own rule has allowed its state key: as its sender's state.
pub(crate) struct AsOwnState<'a>(pub(crate) &'a Event);

/// Whether the rule for owned state is asked: for state of a key that begins with a user id. Memberships and what is no state have their own.
pub(crate) fn is_owned(event: &Event) -> bool {
    event.version().has_owned_state()
        && !matches!(event.event_type(), "m.room.member" | "m.room.create")
        && event
            .state_key()
            .is_some_and(|key| key.starts_with('@') && key != event.sender().as_str())
}

/// Whether the sender may set the state of this key: the owner, and whoever has more power. The other rules must have allowed the event
/// otherwise.
///
/// # Errors
/// [`Reason::BadFormat`] if the key begins with no user id, [`Reason::Forbidden`] if the sender may not.
pub(crate) fn may_set(
    event: &Event,
    fetch_state: impl Fn(&str, &str) -> Option<Arc<Event>>,
) -> Result<(), Reason> {
    let owner = event.state_key().and_then(owner).ok_or_else(|| {
        let text = "the state key begins with @, and not with a user id and an underscore";
        Reason::BadFormat(text.to_owned())
    })?;
    if owner == event.sender() {
        return Ok(());
    }
    let create = fetch_state("m.room.create", "")
        .ok_or_else(|| Reason::Forbidden("the room has no create event".to_owned()))?;
    let levels = fetch_state("m.room.power_levels", "");
    let levels = PowerLevels::new(&create, levels.as_deref())?;
    if levels.user(event.sender()) > levels.user(&owner) {
        Ok(())
    } else {
        Err(Reason::Forbidden(format!("the state is that of {owner}")))
    }
}

/// Whose state it is: what stands before the first underscore after the first colon.
fn owner(state_key: &str) -> Option<OwnedUserId> {
    let colon = state_key.find(':')?;
    let end = state_key[colon..].find('_').map(|at| colon + at);
    let user_id = &state_key[..end.unwrap_or(state_key.len())];
    UserId::parse(user_id).ok()
}

impl ruma_state_res::Event for AsOwnState<'_> {
    type Id = OwnedEventId;

    fn event_id(&self) -> &OwnedEventId {
        ruma_state_res::Event::event_id(self.0)
    }

    fn room_id(&self) -> Option<&RoomId> {
        ruma_state_res::Event::room_id(self.0)
    }

    fn sender(&self) -> &UserId {
        self.0.sender()
    }

    fn origin_server_ts(&self) -> MilliSecondsSinceUnixEpoch {
        ruma_state_res::Event::origin_server_ts(self.0)
    }

    fn event_type(&self) -> &TimelineEventType {
        ruma_state_res::Event::event_type(self.0)
    }

    fn content(&self) -> &RawValue {
        ruma_state_res::Event::content(self.0)
    }

    fn state_key(&self) -> Option<&str> {
        Some(self.0.sender().as_str())
    }

    fn prev_events(&self) -> Box<dyn DoubleEndedIterator<Item = &OwnedEventId> + '_> {
        ruma_state_res::Event::prev_events(self.0)
    }

    fn auth_events(&self) -> Box<dyn DoubleEndedIterator<Item = &OwnedEventId> + '_> {
        ruma_state_res::Event::auth_events(self.0)
    }

    fn redacts(&self) -> Option<&OwnedEventId> {
        ruma_state_res::Event::redacts(self.0)
    }

    fn rejected(&self) -> bool {
        self.0.rejected()
    }
}

#[cfg(test)]
mod tests {
    use super::owner;

    #[test]
    fn an_owner_ends_at_the_underscore_after_the_colon() {
        for (state_key, expected) in [
            ("@a:b", Some("@a:b")),
            ("@a:b_", Some("@a:b")),
            ("@a_b:c:8448_d_e:f", Some("@a_b:c:8448")),
            ("@p_@a:b_c", Some("@p_@a:b")),
            ("@a:bsuffix:!@#", None),
            ("@a:b@c_d", None),
            ("@oops", None),
        ] {
            let found = owner(state_key);
            assert_eq!(
                found.as_ref().map(|id| id.as_str()),
                expected,
                "{state_key}"
            );
        }
    }
}
