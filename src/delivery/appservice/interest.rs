//! Which services are interested in what happens in a room (application service API,
//! "Registration").

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use model::{
    EventSerial, Membership, MembershipRecord, RoomSerial, UserSerial,
    tables::{ALIAS_BY_ROOM, EVENT_BY_SERIAL, MEMBER_BY_ROOM, MEMBERSHIP_BY_USER, USER_BY_ID},
};
use ruma_common::UserId;
use serde::Deserialize;
use services::Service;
use store::{Position, Read as _, Snapshot, StoreError};

/// Rooms whose interesting members are kept in memory.
const MAX_ROOMS: usize = 10_000;

/// Services by their place among all of them.
pub(super) type Interested = BTreeSet<usize>;

/// What is known about rooms, so that not every event costs a walk through all members.
#[derive(Default)]
pub(super) struct Interest {
    rooms: HashMap<RoomSerial, Known>,
}

/// What does not change with every event.
struct Known {
    /// The services in whose namespaces the room's id is.
    by_id: Interested,
    /// The members, past and present, who are users of services, with those.
    members: Vec<(UserSerial, Interested)>,
}

/// What must be known of an event.
#[derive(Deserialize)]
struct Header {
    #[serde(rename = "type")]
    event_type: String,
    state_key: Option<String>,
}

impl Interest {
    /// Forgets everything: there are other services.
    pub(super) fn clear(&mut self) {
        self.rooms.clear();
    }

    /// Who is interested in an event that came at `at`.
    pub(super) fn in_event(
        &mut self,
        view: &Snapshot,
        services: &[Arc<Service>],
        room: RoomSerial,
        event: EventSerial,
        at: Position,
    ) -> Result<Interested, StoreError> {
        let target = match view.get(&EVENT_BY_SERIAL, &event)? {
            Some(stored) => target(&stored.json),
            None => return Ok(Interested::new()),
        };
        let mut interested = Interested::new();
        if let Some(target) = target {
            interested = of_user(services, &target);
            // It may be one who was no member before.
            if !interested.is_empty()
                && let Some(known) = self.rooms.get_mut(&room)
                && let Some(user) = view.get(&USER_BY_ID, &target)?
                && known.members.iter().all(|(member, _)| *member != user)
            {
                known.members.push((user, interested.clone()));
            }
        }
        interested.extend(self.in_room(view, services, room, at)?);
        Ok(interested)
    }

    /// Who is interested in a room, as it was at `at`.
    pub(super) fn in_room(
        &mut self,
        view: &Snapshot,
        services: &[Arc<Service>],
        room: RoomSerial,
        at: Position,
    ) -> Result<Interested, StoreError> {
        let known = self.known(view, services, room)?;
        let mut interested = known.by_id.clone();
        for (user, of) in &known.members {
            if of.is_subset(&interested) {
                continue;
            }
            let record = view.get(&MEMBERSHIP_BY_USER, &(*user, room))?;
            if record.is_some_and(|record| was_joined(&record, at)) {
                interested.extend(of);
            }
        }
        for row in view.scan(&ALIAS_BY_ROOM, &(room,)) {
            let ((_, alias), ()) = row?;
            interested.extend(matching(services, |service| service.has_alias(&alias)));
        }
        Ok(interested)
    }

    /// Who is interested in a user: those whose user it is, and those that are interested in
    /// a room of the user's.
    pub(super) fn in_user(
        &mut self,
        view: &Snapshot,
        services: &[Arc<Service>],
        user: UserSerial,
        at: Position,
    ) -> Result<Interested, StoreError> {
        let user_id = model::user_id(view, user)?.unwrap_or_default();
        let mut interested = of_user(services, &user_id);
        for row in view.scan(&MEMBERSHIP_BY_USER, &(user,)) {
            if interested.len() == services.len() {
                break;
            }
            let ((_, room), record) = row?;
            if record.membership == Membership::Join {
                interested.extend(self.in_room(view, services, room, at)?);
            }
        }
        Ok(interested)
    }

    fn known(
        &mut self,
        view: &Snapshot,
        services: &[Arc<Service>],
        room: RoomSerial,
    ) -> Result<&Known, StoreError> {
        if self.rooms.len() >= MAX_ROOMS && !self.rooms.contains_key(&room) {
            self.rooms.clear();
        }
        match self.rooms.entry(room) {
            std::collections::hash_map::Entry::Occupied(entry) => Ok(entry.into_mut()),
            std::collections::hash_map::Entry::Vacant(entry) => {
                Ok(entry.insert(read(view, services, room)?))
            }
        }
    }
}

fn read(view: &Snapshot, services: &[Arc<Service>], room: RoomSerial) -> Result<Known, StoreError> {
    let room_id = model::room_id(view, room)?.unwrap_or_default();
    let mut members = Vec::new();
    for row in view.scan(&MEMBER_BY_ROOM, &(room,)) {
        let ((_, user), _) = row?;
        let user_id = model::user_id(view, user)?.unwrap_or_default();
        let of = of_user(services, &user_id);
        if !of.is_empty() {
            members.push((user, of));
        }
    }
    Ok(Known {
        by_id: matching(services, |service| service.has_room(&room_id)),
        members,
    })
}

/// The user whom an event is about, if it is a membership.
fn target(json: &[u8]) -> Option<String> {
    let header: Header = serde_json::from_slice(json).ok()?;
    let is_member = header.event_type == "m.room.member";
    header.state_key.filter(|_| is_member)
}

pub(super) fn of_user(services: &[Arc<Service>], user_id: &str) -> Interested {
    match UserId::parse(user_id) {
        Ok(user_id) => matching(services, |service| service.has_user(&user_id)),
        Err(_) => Interested::new(),
    }
}

fn matching(services: &[Arc<Service>], is_it: impl Fn(&Service) -> bool) -> Interested {
    let places = services.iter().enumerate();
    places
        // Who cannot be told anything is interested in nothing.
        .filter(|(_, service)| service.registration.url.is_some() && is_it(service))
        .map(|(place, _)| place)
        .collect()
}

/// Whether a member was in the room when something came. What came with the join itself
/// was sent to somebody who was.
fn was_joined(record: &MembershipRecord, at: Position) -> bool {
    record.last_join > 0
        && record.last_join <= at.0
        && (record.left_at == 0 || at.0 <= record.left_at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_memberships_have_a_target() {
        for (json, expected) in [
            (
                r#"{"type":"m.room.member","state_key":"@a:b"}"#,
                Some("@a:b"),
            ),
            (r#"{"type":"m.room.message"}"#, None),
            (r#"{"type":"m.room.topic","state_key":"@a:b"}"#, None),
            ("", None),
        ] {
            assert_eq!(target(json.as_bytes()).as_deref(), expected, "{json}");
        }
    }

    #[test]
    fn a_stay_has_a_beginning_and_an_end() {
        for (last_join, left_at, at, expected) in [
            (0, 0, 5, false),
            (4, 0, 5, true),
            (5, 0, 5, true),
            (6, 0, 5, false),
            (4, 5, 5, true),
            (3, 4, 5, false),
        ] {
            let record = MembershipRecord {
                membership: Membership::Join,
                event: EventSerial(1),
                position: 1,
                sender: UserSerial(1),
                forgotten: false,
                last_join,
                left_at,
            };
            let joined = was_joined(&record, Position(at));
            assert_eq!(joined, expected, "{last_join} {left_at} {at}");
        }
    }
}
