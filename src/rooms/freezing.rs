//! Rooms that nobody administers any more: frozen when the last who does goes, and handed over by an
//! administrator of the server.
//!
//! Nobody is given power in secret: the events are those of the room's own people. Whoever froze a
//! room by leaving it, or administered it once, hands it over, coming back for the one commit that
//! does it.

use audit::Deed;
use graph::{PowerLevel, PowerLevels};
use model::{Membership, RoomSerial, RoomsList, UserSerial, tables};
use ruma_common::{CanonicalJsonObject, CanonicalJsonValue, OwnedUserId, UserId};
use store::{Latest, Read, Snapshot, StoreError};

use crate::{
    AppendError, NewEvent, Rooms, Sender,
    append::Plan,
    create::{level, object},
    lists::rooms_of_list,
    membership::member_event,
    profile, room_content,
    rows::Extra,
    staging::Staging,
    user_serial,
};

/// The type of the state event that says that a room is frozen.
pub const FROZEN: &str = "cairn.room.frozen";
const POWER_LEVELS: &str = "m.room.power_levels";
/// The field that keeps the levels of before.
const BEFORE: &str = "before";
/// The parts of power levels that freezing changes.
const CHANGED: [&str; 3] = ["events_default", "state_default", "events"];
/// The least level of those who administer a room that they were given.
const ADMINISTRATOR: i64 = 100;

/// Whether a room is frozen.
///
/// # Errors
/// If the database fails.
pub fn is_frozen(view: &impl Read, room: RoomSerial) -> Result<bool, StoreError> {
    let content = room_content(view, room, FROZEN)?;
    Ok(content.is_some_and(|content| !content.is_empty()))
}

/// A leave, and what comes with it: if nobody who administers the room is left, it is frozen.
pub(crate) fn leaving(
    rooms: &Rooms,
    latest: &Latest,
    staging: &mut Staging,
    user_id: &UserId,
    content: CanonicalJsonObject,
) -> Result<Plan, AppendError> {
    let leave = member_event(user_id, content);
    if !rooms.inner.options.freeze_abandoned || !abandons(latest, staging, user_id)? {
        return Ok(Plan::event(leave));
    }
    let before = content_of(latest, staging, POWER_LEVELS)?;
    let Some(levels) = staging.power_levels(latest)? else {
        return Ok(Plan::event(leave));
    };
    let mut events = frozen(before, &levels);
    events.push(leave);
    Ok(Plan::Events(events))
}

/// Whether somebody who goes leaves a room without anybody who administers it, and not empty.
fn abandons(latest: &Latest, staging: &mut Staging, user_id: &UserId) -> Result<bool, AppendError> {
    let is_in = staging.membership(latest, user_id)? == Some(Membership::Join);
    let is_alone = staging.head.joined <= 1;
    if !is_in || is_alone || latest.contains(&tables::DIRECT_ROOM, &staging.room)? {
        return Ok(false);
    }
    let Some(levels) = staging.power_levels(latest)? else {
        return Ok(false);
    };
    let needed = levels.to_send_state(POWER_LEVELS);
    if !levels.user(user_id).reaches(needed) || default_of(latest, staging)? >= needed {
        return Ok(false);
    }
    for other in powerful(&levels, needed) {
        if other != user_id && staging.membership(latest, &other)? == Some(Membership::Join) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Those who are named with so much power.
pub(crate) fn powerful(levels: &PowerLevels, needed: i64) -> Vec<OwnedUserId> {
    let named = levels.users().filter(|(_, level)| *level >= needed);
    let creators = levels.creators();
    let creators = creators.filter(|creator| levels.user(creator) == PowerLevel::Infinite);
    let named = named.map(|(user_id, _)| user_id);
    creators.chain(named).map(ToOwned::to_owned).collect()
}

fn default_of(latest: &Latest, staging: &mut Staging) -> Result<i64, AppendError> {
    let content = content_of(latest, staging, POWER_LEVELS)?;
    let default = content.get("users_default");
    let default = default.and_then(CanonicalJsonValue::as_integer);
    Ok(default.map_or(0, i64::from))
}

fn content_of(
    latest: &Latest,
    staging: &mut Staging,
    event_type: &str,
) -> Result<CanonicalJsonObject, AppendError> {
    let kept = staging.state_event(latest, event_type, "")?;
    let content = kept.and_then(|kept| kept.event.content_as().ok());
    Ok(content.unwrap_or_default())
}

/// The events that freeze a room with these levels: only who administers it says or changes
/// anything.
fn frozen(content: CanonicalJsonObject, levels: &PowerLevels) -> Vec<NewEvent> {
    let needed = levels.to_send_state(POWER_LEVELS);
    let mut before = CanonicalJsonObject::new();
    for name in CHANGED {
        if let Some(value) = content.get(name) {
            before.insert(name.to_owned(), value.clone());
        }
    }
    let mut quiet = content;
    quiet.insert("events_default".to_owned(), level(needed));
    quiet.insert("state_default".to_owned(), level(needed));
    if let Some(CanonicalJsonValue::Object(events)) = quiet.get_mut("events") {
        for value in events.values_mut() {
            let now = value.as_integer().map_or(0, i64::from);
            *value = level(now.max(needed));
        }
    }
    let marker = object([(BEFORE, before.into())]);
    vec![
        NewEvent::state(FROZEN, "", marker),
        NewEvent::state(POWER_LEVELS, "", quiet),
    ]
}

/// The levels of a room as they are when it is given to somebody: those of before it was frozen,
/// with the new one among them. A creator whom nothing can be given has it all.
fn handed_over(
    mut content: CanonicalJsonObject,
    marker: &CanonicalJsonObject,
    levels: &PowerLevels,
    to: (&UserId, i64),
) -> CanonicalJsonObject {
    if let Some(CanonicalJsonValue::Object(before)) = marker.get(BEFORE) {
        for name in CHANGED {
            match before.get(name) {
                Some(value) => content.insert(name.to_owned(), value.clone()),
                None => content.remove(name),
            };
        }
    }
    if levels.user(to.0) != PowerLevel::Infinite {
        let users = content.entry("users".to_owned());
        let users = users.or_insert_with(|| CanonicalJsonObject::new().into());
        if let CanonicalJsonValue::Object(users) = users {
            users.insert(to.0.to_string(), level(to.1));
        }
    }
    content
}

/// Who can hand a room over.
struct Keeper {
    sender: Sender,
    /// What they can give.
    level: i64,
    is_in: bool,
}

impl Rooms {
    /// Gives a room to a user of this server, who is invited if they are not in it, in the name of
    /// somebody of this server who administers the room, or did. A frozen room is thawed. `deed` is
    /// what the audit trail is told.
    ///
    /// # Errors
    /// [`AppendError::NotFound`] if nobody of this server ever administered the room, or who did
    /// cannot come back; [`AppendError`].
    pub async fn hand_over(
        &self,
        room: RoomSerial,
        target: &UserId,
        reason: Option<String>,
        deed: Deed,
    ) -> Result<OwnedUserId, AppendError> {
        let (rooms, target) = (self.clone(), target.to_owned());
        let find = {
            let (rooms, target) = (rooms.clone(), target.clone());
            move |latest: &Latest| rooms.keeper(latest, room, &target)
        };
        let keeper: Option<Keeper> = self.inner.store.prepare(find).await?;
        let nobody = "nobody of this server administers this room, or did";
        let keeper = keeper.ok_or_else(|| AppendError::NotFound(nobody.to_owned()))?;
        let now = self.inner.clock.now().0;
        let deed = deed.after(serde_json::json!({
            "level": keeper.level,
            "in_the_name_of": keeper.sender.user_id,
        }));
        let extra =
            Extra::rows(move |latest, _, batch| Ok(audit::record(latest, batch, now, &[deed])?));
        let who = keeper.sender.clone();
        let plan = move |latest: &Latest, staging: &mut Staging| {
            staging.is_administered = true;
            rooms.stage_hand_over(latest, staging, &keeper, &target, reason)?;
            Ok(Plan::Events(Vec::new()))
        };
        let (_, written) = self.append_beside(room, &who, None, extra, plan).await?;
        match written {
            Some(written) => written.durable().await?,
            None => self.wait_for_earlier().await?,
        }
        Ok(who.user_id)
    }

    fn stage_hand_over(
        &self,
        latest: &Latest,
        staging: &mut Staging,
        keeper: &Keeper,
        target: &UserId,
        reason: Option<String>,
    ) -> Result<(), AppendError> {
        let host = &keeper.sender;
        if !keeper.is_in {
            self.stage_return(latest, staging, host)?;
        }
        let levels = staging
            .power_levels(latest)?
            .ok_or(AppendError::UnknownRoom)?;
        let marker = content_of(latest, staging, FROZEN)?;
        let before = content_of(latest, staging, POWER_LEVELS)?;
        let after = handed_over(before.clone(), &marker, &levels, (target, keeper.level));
        if after != before {
            let event = NewEvent::state(POWER_LEVELS, "", after);
            staging.stage(self, latest, host, event)?;
        }
        if !marker.is_empty() {
            let event = NewEvent::state(FROZEN, "", CanonicalJsonObject::new());
            staging.stage(self, latest, host, event)?;
        }
        let is_in = matches!(
            staging.membership(latest, target)?,
            Some(Membership::Join | Membership::Invite)
        );
        if !is_in && target != host.user_id {
            let mut content = profile::membership("invite", reason);
            if let Some(user) = user_serial(latest, target.as_str())? {
                profile::add(latest, user, &mut content)?;
            }
            staging.stage(self, latest, host, member_event(target, content))?;
        }
        if !keeper.is_in && target != host.user_id {
            let content = profile::membership("leave", None);
            staging.stage(self, latest, host, member_event(&host.user_id, content))?;
        }
        Ok(())
    }

    /// Has somebody come back into a room, invited where one needs that.
    fn stage_return(
        &self,
        latest: &Latest,
        staging: &mut Staging,
        host: &Sender,
    ) -> Result<(), AppendError> {
        let join = || -> Result<NewEvent, AppendError> {
            let mut content = profile::membership("join", None);
            profile::add(latest, host.user, &mut content)?;
            Ok(member_event(&host.user_id, content))
        };
        if staging.stage(self, latest, host, join()?).is_ok() {
            return Ok(());
        }
        let levels = staging
            .power_levels(latest)?
            .ok_or(AppendError::UnknownRoom)?;
        for (user, user_id) in self.joined_here(latest, staging.room)? {
            if !levels.user(&user_id).reaches(levels.to_invite()) {
                continue;
            }
            let inviter = sender(user_id, user);
            let content = profile::membership("invite", None);
            let invited = member_event(&host.user_id, content);
            if staging.stage(self, latest, &inviter, invited).is_ok() {
                return staging.stage(self, latest, host, join()?);
            }
        }
        Err(AppendError::NotFound(
            "who administered this room cannot come back: nobody of this server who is in it may invite"
                .to_owned(),
        ))
    }

    fn joined_here(
        &self,
        view: &impl Read,
        room: RoomSerial,
    ) -> Result<Vec<(UserSerial, OwnedUserId)>, StoreError> {
        let mut found = Vec::new();
        for row in view.scan(&tables::MEMBER_BY_ROOM, &(room,)) {
            let ((_, user), membership) = row?;
            if membership != Membership::Join {
                continue;
            }
            let user_id = model::user_id(view, user)?.unwrap_or_default();
            if let Ok(user_id) = UserId::parse(user_id)
                && self.is_local(&user_id)
            {
                found.push((user, user_id));
            }
        }
        Ok(found)
    }

    /// Of those of this server who administer a room, or did, the one who gives it to `target`:
    /// rather one who is in it.
    fn keeper(
        &self,
        latest: &Latest,
        room: RoomSerial,
        target: &UserId,
    ) -> Result<Option<Keeper>, AppendError> {
        let mut staging = Staging::load(latest, room, self.inner.clock.now().0)?;
        let levels = staging
            .power_levels(latest)?
            .ok_or(AppendError::UnknownRoom)?;
        let needed = levels.to_send_state(POWER_LEVELS);
        let mut named = powerful(&levels, needed);
        if default_of(latest, &mut staging)? >= needed {
            let here = self.joined_here(latest, room)?;
            named.extend(here.into_iter().map(|(_, user_id)| user_id));
        }
        let mut best: Option<Keeper> = None;
        for user_id in named.into_iter().filter(|user_id| self.is_local(user_id)) {
            let membership = staging.membership(latest, &user_id)?;
            let Some(user) = user_serial(latest, user_id.as_str())? else {
                continue;
            };
            if membership == Some(Membership::Ban) {
                continue;
            }
            let keeper = Keeper {
                level: match levels.user(&user_id) {
                    PowerLevel::Level(level) => level,
                    PowerLevel::Infinite => ADMINISTRATOR.max(needed),
                },
                is_in: membership == Some(Membership::Join),
                sender: sender(user_id, user),
            };
            // Who is in it, then who has most, then rather another than the one who gets it.
            let rank = |keeper: &Keeper| {
                let is_other = keeper.sender.user_id != target;
                (keeper.is_in, keeper.level, is_other)
            };
            if best.as_ref().is_none_or(|best| rank(&keeper) > rank(best)) {
                best = Some(keeper);
            }
        }
        Ok(best)
    }

    /// The rooms of this server's people that nobody administers who is in them, by name, from the
    /// one behind `after` on: frozen or not.
    ///
    /// # Errors
    /// If the database fails.
    pub fn abandoned(
        &self,
        view: &Snapshot,
        after: Option<RoomSerial>,
        limit: usize,
    ) -> Result<Vec<(RoomSerial, String)>, StoreError> {
        let mut found = Vec::new();
        for room in rooms_of_list(view, RoomsList::Abandoned, after)?.take(limit) {
            let room = room?;
            found.extend(model::room_id(view, room)?.map(|room_id| (room, room_id)));
        }
        Ok(found)
    }
}

fn sender(user_id: OwnedUserId, user: UserSerial) -> Sender {
    Sender {
        user_id,
        user,
        device: None,
        sent_at: None,
    }
}
