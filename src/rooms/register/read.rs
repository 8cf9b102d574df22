//! Asking the register.

use std::collections::HashMap;

use graph::{Event, PowerLevel, PowerLevels};
use model::{
    Membership, RoomSerial, RuleRecord, StayRecord, UserSerial,
    tables::{
        LISTED_ROOM, MEMBERSHIP_BY_USER, PURGED_ROOM, PURGED_ROOM_BY_ID, RULE_BY_ROOM, STAY_BY_ROOM,
    },
};
use ruma_common::UserId;
use serde::{Deserialize, Serialize};
use store::{Position, Read, StoreError};

use super::{JOIN_RULES, NAME, POWER_LEVELS, VISIBILITY};
use crate::{client_event::load_event, room_record, room_serial, user_serial};

/// Why the register has no answer.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// The room was never known here.
    #[error("this room is not known here")]
    UnknownRoom,
    /// The person was never known here.
    #[error("this person is not known here")]
    UnknownPerson,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A room at a moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomThen {
    /// The room's id.
    pub room_id: String,
    /// The moment, in ms since the Unix epoch.
    pub at: u64,
    /// What it was called.
    pub name: Option<String>,
    /// How one came in (`join_rule`).
    pub join_rule: Option<String>,
    /// Who could read what was said then (`history_visibility`): with `shared` those who came
    /// in later too, with `world_readable` everybody.
    pub history_visibility: Option<String>,
    /// Those who were in it or invited, in the order of their ids.
    pub members: Vec<MemberThen>,
}

/// Somebody in a room at a moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberThen {
    /// Who.
    pub user_id: String,
    /// Of which organisation: the one that a partner works for, or the name of their server.
    pub organisation: String,
    /// `join` or `invite`.
    pub membership: String,
    /// Since when, in ms since the Unix epoch.
    pub since: u64,
    /// Their power level; none for a creator above all levels.
    pub power: Option<i64>,
    /// Whether they were above all levels.
    pub is_creator: bool,
    /// Who had invited them.
    pub invited_by: Option<String>,
}

/// A time that somebody was in a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersonStay {
    /// The room's id.
    pub room_id: String,
    /// What it is called, or was called last.
    pub name: Option<String>,
    /// Since when, in ms since the Unix epoch.
    pub since: u64,
    /// Until when; none if they are still in it.
    pub until: Option<u64>,
    /// Who had invited them.
    pub invited_by: Option<String>,
    /// Who ended it: themselves, or who put them out.
    pub ended_by: Option<String>,
    /// How it ended: `leave` or `ban`.
    pub ended_with: Option<String>,
}

/// A part of an answer, and behind which row it goes on; none if that was all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegisterPart {
    /// The serial of the person or the room behind which the part begins; none for the first.
    pub after: Option<u64>,
    /// How many are wanted at most, of people or of rooms.
    pub limit: usize,
}

impl RegisterPart {
    /// Everything.
    pub const ALL: Self = Self {
        after: None,
        limit: usize::MAX,
    };

    fn from(&self) -> u64 {
        self.after.map_or(0, |after| after.saturating_add(1))
    }
}

/// Who was in a room at a moment, in ms since the Unix epoch, in the order of their ids; of a part
/// of them with the one behind whom it goes on.
///
/// # Errors
/// [`RegisterError`].
pub fn register_of_room(
    view: &impl Read,
    room_id: &str,
    at: u64,
    part: &RegisterPart,
) -> Result<(RoomThen, Option<u64>), RegisterError> {
    let room = room_then(view, room_id, at)?.ok_or(RegisterError::UnknownRoom)?;
    let mut names = Names::new(view);
    let levels = levels_then(view, room, at)?;
    let (present, next) = present_then(view, room, at, part)?;
    let mut members = Vec::new();
    for (user, then) in present {
        members.extend(member_then(&mut names, user, &then, levels.as_ref())?);
    }
    members.sort_by(|a, b| a.user_id.cmp(&b.user_id));
    let text = |event_type, field| text_then(view, room, (event_type, field), at);
    let then = RoomThen {
        room_id: room_id.to_owned(),
        at,
        name: text(NAME, "name")?,
        join_rule: text(JOIN_RULES, "join_rule")?,
        history_visibility: text(VISIBILITY, "history_visibility")?,
        members,
    };
    Ok((then, next))
}

/// Somebody who was in a room, as the register tells.
fn member_then<R: Read>(
    names: &mut Names<'_, R>,
    user: UserSerial,
    then: &Then,
    levels: Option<&PowerLevels>,
) -> Result<Option<MemberThen>, StoreError> {
    let (Some(step), Some(user_id)) = (then.now, names.of(user)?) else {
        return Ok(None);
    };
    let power = UserId::parse(user_id.as_str()).ok().zip(levels);
    let power = power.map(|(user_id, levels)| levels.user(&user_id));
    let invited_by = then.invited_by.map(|user| names.of(user)).transpose()?;
    Ok(Some(MemberThen {
        organisation: organisation(names.view, user, &user_id)?,
        membership: step.membership.name().to_owned(),
        since: then.since,
        power: match power {
            Some(PowerLevel::Level(level)) => Some(level),
            Some(PowerLevel::Infinite) => None,
            None => Some(0),
        },
        is_creator: power == Some(PowerLevel::Infinite),
        invited_by: invited_by.flatten(),
        user_id,
    }))
}

/// The room that had an id at a moment: the one of now, or one that was removed since.
fn room_then(view: &impl Read, room_id: &str, at: u64) -> Result<Option<RoomSerial>, StoreError> {
    let mut last = None;
    for row in view.scan(&PURGED_ROOM_BY_ID, &(room_id.to_owned(),)) {
        let ((_, room), ()) = row?;
        let purged = view.get(&PURGED_ROOM, &room)?;
        if purged.is_some_and(|purged| at < purged.at) {
            return Ok(Some(room));
        }
        last = Some(room);
    }
    Ok(room_serial(view, room_id)?.or(last))
}

/// All times that somebody was in a room, the oldest first; of a part of the rooms with the one
/// behind which it goes on.
///
/// # Errors
/// [`RegisterError`].
pub fn register_of_person(
    view: &impl Read,
    user_id: &str,
    part: &RegisterPart,
) -> Result<(Vec<PersonStay>, Option<u64>), RegisterError> {
    let user = user_serial(view, user_id)?.ok_or(RegisterError::UnknownPerson)?;
    let mut names = Names::new(view);
    let mut stays = Vec::new();
    let (mut rooms, mut last, mut next) = (0, None, None);
    let from = (user, RoomSerial(part.from()));
    for row in view.scan_from(&MEMBERSHIP_BY_USER, &(user,), &from) {
        let ((_, room), _) = row?;
        if rooms == part.limit {
            next = last;
            break;
        }
        let found = stays_of(&mut names, room, user)?;
        rooms += usize::from(!found.is_empty());
        last = Some(room.0);
        stays.extend(found);
    }
    stays.sort_by(|a, b| (a.since, &a.room_id).cmp(&(b.since, &b.room_id)));
    Ok((stays, next))
}

/// All times that somebody was in one room.
fn stays_of<R: Read>(
    names: &mut Names<'_, R>,
    room: RoomSerial,
    user: UserSerial,
) -> Result<Vec<PersonStay>, StoreError> {
    let view = names.view;
    let steps: Result<Vec<StayRecord>, StoreError> = view
        .scan(&STAY_BY_ROOM, &(room, user))
        .map(|row| row.map(|(_, step)| step))
        .collect();
    let mut found = stays_in(&steps?);
    if found.is_empty() {
        return Ok(Vec::new());
    }
    // What became of those of other servers when the room was removed nobody here knows.
    if let Some(purged) = view.get(&PURGED_ROOM, &room)?
        && let Some((_, _, end @ None)) = found.last_mut()
    {
        *end = Some(StayRecord {
            membership: Membership::Leave,
            since: purged.at,
            // Nobody who is known here.
            sender: UserSerial(0),
            event: model::EventSerial(0),
        });
    }
    let room_id = model::room_id(view, room)?.unwrap_or_default();
    let name = match view.get(&LISTED_ROOM, &room)? {
        Some(known) => known.name,
        None => text_then(view, room, (NAME, "name"), u64::MAX)?,
    };
    let mut stays = Vec::new();
    for (since, invited_by, end) in found {
        let mut named = |user: Option<UserSerial>| match user {
            Some(user) => names.of(user),
            None => Ok(None),
        };
        stays.push(PersonStay {
            room_id: room_id.clone(),
            name: name.clone(),
            since,
            until: end.map(|end| end.since),
            invited_by: named(invited_by)?,
            ended_by: named(end.map(|end| end.sender))?,
            ended_with: end.map(|end| end.membership.name().to_owned()),
        });
    }
    Ok(stays)
}

/// Each time from a join to what ended it: since when, invited by whom, the end.
fn stays_in(steps: &[StayRecord]) -> Vec<(u64, Option<UserSerial>, Option<StayRecord>)> {
    let (mut stays, mut then) = (Vec::new(), Then::default());
    for step in steps {
        let was_in = then.is_in();
        let (since, invited_by) = (then.since, then.invited_by);
        then.take(step);
        if was_in && !then.is_in() {
            stays.push((since, invited_by, Some(*step)));
        }
    }
    if then.is_in() {
        stays.push((then.since, then.invited_by, None));
    }
    stays
}

/// What somebody's membership has come to.
#[derive(Default)]
struct Then {
    now: Option<StayRecord>,
    since: u64,
    invited_by: Option<UserSerial>,
}

impl Then {
    fn is_in(&self) -> bool {
        self.now
            .is_some_and(|now| now.membership == Membership::Join)
    }

    fn is_present(&self) -> bool {
        let is = |membership| matches!(membership, Membership::Join | Membership::Invite);
        self.now.is_some_and(|now| is(now.membership))
    }

    fn take(&mut self, step: &StayRecord) {
        match step.membership {
            Membership::Invite => self.invited_by = Some(step.sender),
            // Whoever was let in after a knock was let in by that invitation.
            Membership::Join => {}
            Membership::Leave | Membership::Ban | Membership::Knock => self.invited_by = None,
        }
        if self.now.map(|now| now.membership) != Some(step.membership) {
            self.since = step.since;
        }
        self.now = Some(*step);
    }
}

/// People with what their memberships had come to.
type Present = Vec<(UserSerial, Then)>;

/// What the memberships of those had come to who were in a room at a moment or invited, and behind
/// whom it goes on.
fn present_then(
    view: &impl Read,
    room: RoomSerial,
    at: u64,
    part: &RegisterPart,
) -> Result<(Present, Option<u64>), StoreError> {
    let mut present: Present = Vec::new();
    let mut current: Option<(UserSerial, Then)> = None;
    let from = (room, UserSerial(part.from()), Position(0));
    for row in view.scan_from(&STAY_BY_ROOM, &(room,), &from) {
        let ((_, user, _), step) = row?;
        if current.as_ref().is_none_or(|(of, _)| *of != user) {
            let before = current.replace((user, Then::default()));
            present.extend(before.filter(|(_, then)| then.is_present()));
            // The one of this row may not be there then: a page may follow that has nobody.
            if present.len() == part.limit {
                let last = present.last().map(|(user, _)| user.0);
                return Ok((present, last));
            }
        }
        if let Some((_, then)) = &mut current
            && step.since <= at
        {
            then.take(&step);
        }
    }
    present.extend(current.filter(|(_, then)| then.is_present()));
    Ok((present, None))
}

/// The event of a type that was in force at a moment.
fn event_then(
    view: &impl Read,
    room: RoomSerial,
    event_type: &str,
    at: u64,
) -> Result<Option<Event>, StoreError> {
    let rules = (room, event_type.to_owned());
    for row in view.scan_back(&RULE_BY_ROOM, &rules, None) {
        let (_, rule): (_, RuleRecord) = row?;
        let event = match rule.event {
            Some(serial) => load_event(view, serial).ok(),
            None => None,
        };
        let since = match &event {
            // Of what was there before this server came the event says when it was.
            Some(event) if rule.is_earlier => event.origin_server_ts().min(rule.since),
            _ => rule.since,
        };
        if since <= at {
            return Ok(event);
        }
    }
    Ok(None)
}

fn text_then(
    view: &impl Read,
    room: RoomSerial,
    (event_type, field): (&str, &str),
    at: u64,
) -> Result<Option<String>, StoreError> {
    let event = event_then(view, room, event_type, at)?;
    let content = event.and_then(|event| event.content_as::<serde_json::Value>().ok());
    Ok(content.and_then(|content| content[field].as_str().map(str::to_owned)))
}

fn levels_then(
    view: &impl Read,
    room: RoomSerial,
    at: u64,
) -> Result<Option<PowerLevels>, StoreError> {
    let Ok((record, _)) = room_record(view, room) else {
        return Ok(None);
    };
    // Of a room in which nobody of this server was there is no creation.
    let Ok(create) = load_event(view, record.create_event) else {
        return Ok(None);
    };
    let event = event_then(view, room, POWER_LEVELS, at)?;
    Ok(PowerLevels::new(&create, event.as_ref()).ok())
}

fn organisation(view: &impl Read, user: UserSerial, user_id: &str) -> Result<String, StoreError> {
    if let Some(organisation) = accounts::person(view, user)?.organisation {
        return Ok(organisation);
    }
    let server = user_id.split_once(':').map(|(_, server)| server);
    Ok(server.unwrap_or_default().to_owned())
}

/// The ids of people, each looked up once.
struct Names<'a, R> {
    view: &'a R,
    known: HashMap<UserSerial, Option<String>>,
}

impl<'a, R: Read> Names<'a, R> {
    fn new(view: &'a R) -> Self {
        Self {
            view,
            known: HashMap::new(),
        }
    }

    fn of(&mut self, user: UserSerial) -> Result<Option<String>, StoreError> {
        if let Some(known) = self.known.get(&user) {
            return Ok(known.clone());
        }
        let name = model::user_id(self.view, user)?;
        self.known.insert(user, name.clone());
        Ok(name)
    }
}

#[cfg(test)]
mod tests {
    use model::EventSerial;

    use super::*;

    fn step(membership: Membership, since: u64, sender: u64) -> StayRecord {
        StayRecord {
            membership,
            since,
            sender: UserSerial(sender),
            event: EventSerial(since),
        }
    }

    #[test]
    fn stays_begin_with_a_join_and_end_with_what_is_none() {
        use Membership::{Ban, Invite, Join, Leave};
        assert!(stays_in(&[]).is_empty());
        assert!(stays_in(&[step(Invite, 1, 9), step(Leave, 2, 9)]).is_empty());
        let all = [
            step(Invite, 1, 9),
            step(Join, 2, 5),
            step(Leave, 3, 5),
            step(Join, 4, 5),
            step(Ban, 5, 9),
            step(Leave, 6, 9),
            step(Join, 7, 5),
        ];
        let stays: Vec<_> = stays_in(&all)
            .into_iter()
            .map(|(since, by, end)| {
                (
                    since,
                    by.map(|by| by.0),
                    end.map(|end| (end.since, end.sender.0)),
                )
            })
            .collect();
        assert_eq!(
            stays,
            [
                (2, Some(9), Some((3, 5))),
                (4, None, Some((5, 9))),
                (7, None, None),
            ]
        );
    }
}
