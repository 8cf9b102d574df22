//! Who is and was in a room.

use model::{EventSerial, Membership, tables};
use ruma_common::RoomId;
use serde::Deserialize;
use serde_json::value::RawValue;
use store::Read;

use crate::{
    Access, ClientEvent, EMPTY_STATE, EventReader, PlaceToken, ReadError, Rooms, StateAt, Viewer,
    Visibility, form::quoted, state::visible_state, visibility::not_in_the_room,
};

/// How many events are read together.
const STEP: usize = 500;

/// Which memberships are wanted. With both fields, either is enough.
#[derive(Clone, Copy, Debug, Default)]
pub struct MembershipFilter {
    /// Those that are this.
    pub membership: Option<Membership>,
    /// Those that are not this.
    pub not_membership: Option<Membership>,
}

impl MembershipFilter {
    fn allows(&self, event: &ClientEvent) -> bool {
        match (self.membership, self.not_membership) {
            (None, None) => true,
            (Some(is), None) => event.membership() == Some(is),
            (None, Some(not)) => event.membership() != Some(not),
            (Some(is), Some(not)) => {
                let membership = event.membership();
                membership == Some(is) || membership != Some(not)
            }
        }
    }
}

#[derive(Deserialize)]
struct Profile<'a> {
    #[serde(borrow)]
    displayname: Option<&'a RawValue>,
    #[serde(borrow)]
    avatar_url: Option<&'a RawValue>,
}

impl Rooms {
    /// The memberships of a room, now or at a gap of its timeline, each event as JSON.
    /// Those who have left see the room as it was then.
    ///
    /// # Errors
    /// [`ReadError::Forbidden`] for those who were never in the room, and for a time that
    /// the viewer may not see.
    pub fn members<R: Read>(
        &self,
        view: &R,
        room_id: &RoomId,
        viewer: Viewer,
        at: Option<PlaceToken>,
        filter: MembershipFilter,
    ) -> Result<Vec<String>, ReadError> {
        let reader = self.reader(view, room_id, viewer)?;
        let state = match at {
            None => visible_state(&reader)?,
            Some(at) => state_at(&reader, at)?,
        };
        let state = state.of_type(&reader, "m.room.member")?;
        let mut members = Vec::with_capacity(state.len());
        for some in state.chunks(STEP) {
            for event in reader.load_many(&serials(some))? {
                if filter.allows(&event) {
                    members.push(reader.listed_json(&event)?);
                }
            }
        }
        Ok(members)
    }

    /// Who is in the room, for those who are: a JSON object of user ids with their
    /// profiles in this room.
    ///
    /// # Errors
    /// [`ReadError::Forbidden`] for everybody else.
    pub fn joined_members<R: Read>(
        &self,
        view: &R,
        room_id: &RoomId,
        viewer: Viewer,
    ) -> Result<String, ReadError> {
        let reader = self.reader(view, room_id, viewer)?;
        let Access::Joined(_) = Access::of(view, reader.room, viewer.user)? else {
            return Err(not_in_the_room());
        };
        let mut out = String::from("{");
        let state = StateAt::Current.of_type(&reader, "m.room.member")?;
        for some in state.chunks(STEP) {
            let mut events = reader.load_many(&serials(some))?.into_iter().peekable();
            for (user_id, serial) in some {
                let Some(event) = events.next_if(|event| event.serial == *serial) else {
                    continue;
                };
                if event.membership() != Some(Membership::Join) {
                    continue;
                }
                if out.len() > 1 {
                    out.push(',');
                }
                out.push_str(&quoted(user_id));
                out.push(':');
                out.push_str(&profile(&reader, &event)?);
            }
        }
        out.push('}');
        Ok(out)
    }
}

fn serials(state: &[(String, EventSerial)]) -> Vec<EventSerial> {
    state.iter().map(|(_, serial)| *serial).collect()
}

/// The profile that a membership gives, under the names that this one answer has.
fn profile<R: Read>(reader: &EventReader<'_, R>, event: &ClientEvent) -> Result<String, ReadError> {
    let content = reader.content(event)?;
    let profile: Option<Profile<'_>> = serde_json::from_str(&content).ok();
    let mut fields = Vec::new();
    if let Some(profile) = profile {
        let named = [
            ("display_name", profile.displayname),
            ("avatar_url", profile.avatar_url),
        ];
        for (name, value) in named {
            // Memberships of others may hold anything: only text is passed on.
            if let Some(value) = value.filter(|value| value.get().starts_with('"')) {
                fields.push(format!("\"{name}\":{value}"));
            }
        }
    }
    Ok(format!("{{{}}}", fields.join(",")))
}

/// The event with which a room has its first member, whose token stands for what is before it: a client that holds
/// the whole timeline asks by that token who was there.
fn beginning<R: Read>(reader: &EventReader<'_, R>) -> Result<Option<ClientEvent>, ReadError> {
    let rows = reader.view.scan(&tables::EVENT_BY_PLACE, &(reader.room,));
    // The creation comes first, then who has made it.
    match rows.take(2).last().transpose()? {
        Some((_, serial)) => reader.load(serial),
        None => Ok(None),
    }
}

/// The state at a gap of the timeline: that after the event below it.
fn state_at<R: Read>(reader: &EventReader<'_, R>, at: PlaceToken) -> Result<StateAt, ReadError> {
    let visible = visible_state(reader)?;
    let key = (reader.room, at.depth, at.tie_break);
    let below = reader
        .view
        .scan_back(&tables::EVENT_BY_PLACE, &(reader.room,), Some(&key))
        .next()
        .transpose()?;
    let event = match below {
        Some((_, serial)) => reader.load(serial)?,
        None => None,
    };
    let event = match event {
        Some(event) => Some(event),
        None => beginning(reader)?,
    };
    let Some(event) = event else {
        return Ok(StateAt::Past {
            root: EMPTY_STATE,
            change: None,
        });
    };
    if Visibility::new(reader)?.allows(&event)? {
        return Ok(StateAt::after(&event));
    }
    // The present of those who have left is their leaving.
    if visible != StateAt::Current {
        return Ok(visible);
    }
    Err(ReadError::Forbidden(
        "you may not see the room as it was then".to_owned(),
    ))
}
