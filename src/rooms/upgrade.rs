//! Replacing a room by one of another version (client-server API, "Room Upgrades").
//!
//! The new room, the end of the old one, and what moves beside them (aliases, the place
//! in the directory) are one commit: there is never a room without its predecessor's
//! tombstone, nor a tombstone that leads nowhere.

use std::sync::Arc;

use audit::Act;
use graph::{Event, PowerLevels, Reason, Version};
use model::{AliasRecord, Membership, RoomSerial, tables};
use ruma_common::{
    CanonicalJsonObject, CanonicalJsonValue, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId,
};
use serde::Deserialize;
use store::{Batch, Latest, Read, Writing, Written};

use crate::{
    AppendError, MARKING, NewEvent, PolicyServer, ReadError, Rooms, Sender,
    aliases::{publish, unpublish},
    create::{contradiction, object},
    department_rooms,
    membership::member_event,
    power_levels, profile,
    queue::RoomEnd,
    room_serial,
    rows::{self, Context, Extra, Progress},
    send::named_aliases,
    staging::Staging,
    summary::current_content,
};

/// The state that a new room takes over, in the order in which it is set. The power
/// levels come after all else: before them the creator may set everything.
const TRANSFERRED: [&str; 9] = [
    "m.room.join_rules",
    "m.room.history_visibility",
    "m.room.guest_access",
    "m.room.encryption",
    MARKING,
    "m.room.server_acl",
    "m.room.name",
    "m.room.topic",
    "m.room.avatar",
];
const CANONICAL_ALIAS: &str = "m.room.canonical_alias";
const POWER_LEVELS: &str = "m.room.power_levels";
const TOMBSTONE: &str = "m.room.tombstone";
/// The most bans that a new room takes over.
const MAX_BANS: usize = 2000;
/// The most children that a new space takes over, and the most parents of a new room.
const MAX_LINKS: usize = 1000;

/// What a new room takes from the old one.
struct Legacy {
    room_id: OwnedRoomId,
    /// The content of the create event.
    creation: CanonicalJsonObject,
    /// State but for the power levels, in the order in which it is set.
    state: Vec<NewEvent>,
    power_levels: Option<CanonicalJsonObject>,
    levels: Arc<PowerLevels>,
    /// The canonical alias event, with only those aliases that move.
    moved_aliases: CanonicalJsonObject,
    /// The canonical alias event of the old room, without those.
    left_aliases: Option<CanonicalJsonObject>,
}

/// What a writer leaves.
enum Outcome {
    /// Both rooms.
    Done(Written),
    /// Nothing yet: the old room's policy server has to look at the events that end it.
    Unjudged(Arc<PolicyServer>, Vec<Arc<Event>>, Box<Staging>),
}

/// A room that is to be replaced, and by what.
struct Upgrade {
    version: Version,
    creator: Sender,
    additional_creators: Vec<OwnedUserId>,
    new: RoomSerial,
}

impl Rooms {
    /// Replaces a room by a new one of that version, and returns the new one's id. Who is
    /// in the old room is not taken along: clients follow its tombstone.
    ///
    /// `additional_creators` matter only to versions that know them.
    ///
    /// # Errors
    /// - [`AppendError::Refused`] with [`Reason::UnsupportedVersion`].
    /// - [`AppendError::Forbidden`] for those who may not send a tombstone.
    /// - [`AppendError::InvalidRoomState`] if the old room's state is nothing that a room
    ///   of the new version can begin with.
    pub async fn upgrade(
        &self,
        sender: &Sender,
        room_id: &RoomId,
        version: &str,
        additional_creators: Vec<OwnedUserId>,
    ) -> Result<OwnedRoomId, AppendError> {
        let upgrade = Upgrade {
            version: Version::parse(version)?,
            creator: sender.clone(),
            additional_creators,
            new: RoomSerial(self.inner.store.next_serial()),
        };
        let room = self.room(room_id).await?;
        let rooms = self.clone();
        let (replacement, outcome) = self
            .inner
            .queues
            .write(&self.inner.store, room, move |writing, end| {
                rooms.upgrade_now(writing, room, end, upgrade)
            })
            .await?;
        let written = match outcome {
            Outcome::Done(written) => written,
            Outcome::Unjudged(policy, events, new) => {
                self.upgrade_judged(room, sender, (&policy, events), *new)
                    .await?
            }
        };
        written.durable().await?;
        Ok(replacement)
    }

    fn upgrade_now(
        &self,
        writing: &Writing,
        room: RoomSerial,
        end: &mut Option<RoomEnd>,
        upgrade: Upgrade,
    ) -> Result<(OwnedRoomId, Outcome), AppendError> {
        let (latest, sender) = (writing.latest(), upgrade.creator.clone());
        let now = self.inner.clock.now().0;
        let mut old = match end.take() {
            Some(end) => Staging::on(end, room, now),
            None => Staging::load(latest, room, now)?,
        };
        // Before anything is staged: the room as it is now names who has to look at it.
        let policy = old.policy_server(self, latest)?;
        let (old, new) = self.stage_upgrade(latest, old, upgrade)?;
        let replacement = new.room_id.clone().ok_or(AppendError::UnknownRoom)?;
        let outcome = match policy {
            // The end as it was staged is no end of the room.
            Some(policy) => {
                let events = old.events.into_iter().map(|staged| staged.event);
                Outcome::Unjudged(policy, events.collect(), Box::new(new))
            }
            None => Outcome::Done(self.write_both(writing, &sender, old, new, end)?),
        };
        Ok((replacement, outcome))
    }

    /// Asks the old room's policy server, and writes what it recommends: the tombstone, which
    /// is the first, together with the new room.
    async fn upgrade_judged(
        &self,
        room: RoomSerial,
        sender: &Sender,
        (policy, events): (&PolicyServer, Vec<Arc<Event>>),
        new: Staging,
    ) -> Result<Written, AppendError> {
        let mut judged = Vec::with_capacity(events.len());
        for event in events {
            judged.push(self.recommended_by(policy, &event).await?);
        }
        let (rooms, sender) = (self.clone(), sender.clone());
        self.inner
            .queues
            .write(&self.inner.store, room, move |writing, end| {
                let mut judged = judged.into_iter();
                let tombstone = judged.next().ok_or(AppendError::UnknownRoom)?;
                let old = rooms.stage_judged(writing.latest(), room, end, tombstone)?;
                let mut written = rooms.write_both(writing, &sender, old, new, end)?;
                for event in judged {
                    match rooms.stage_judged(writing.latest(), room, end, event) {
                        Ok(old) => {
                            let none = Extra::none();
                            let staged =
                                rooms.write_staging(writing, old, &sender, None, none, end);
                            written = staged?.1;
                        }
                        Err(AppendError::Forbidden(text)) => {
                            log::debug!("an upgraded room keeps some of its state: {text}");
                        }
                        Err(error) => return Err(error),
                    }
                }
                Ok(written)
            })
            .await
    }

    /// Writes both rooms in one commit. Of the new one nobody else knows yet.
    fn write_both(
        &self,
        writing: &Writing,
        sender: &Sender,
        old: Staging,
        new: Staging,
        end: &mut Option<RoomEnd>,
    ) -> Result<Written, AppendError> {
        let room = old.room;
        let context = Context::of_sender(self, sender, None);
        let (old, written) = writing.write(|latest, position, batch| {
            let mut progress = Progress::at(position, &context);
            let act = Act::person(sender.user_id.as_str(), None);
            let old_id = old.record.room_id.clone();
            let moved = Extra::beside(move |latest, new, batch| {
                move_aliases(latest, batch, room, new.room)?;
                move_publication(latest, batch, room, new.room)?;
                let (old, by) = ((room, old_id.as_str()), (new.room, &*new.record.room_id));
                let deeds = department_rooms::replace(latest, batch, &act, old, by, new.now)?;
                match deeds.is_empty() {
                    true => Ok(()),
                    false => Ok(audit::record(latest, batch, new.now, &deeds)?),
                }
            });
            rows::write_room(new, &context, moved, &mut progress, latest, batch)?;
            let none = Extra::none();
            rows::write_room(old, &context, none, &mut progress, latest, batch)
        })?;
        *end = Some(old.into_end());
        Ok(written)
    }

    fn stage_upgrade(
        &self,
        latest: &Latest,
        mut old: Staging,
        upgrade: Upgrade,
    ) -> Result<(Staging, Staging), AppendError> {
        may_upgrade(latest, &mut old, &upgrade.creator)?;
        let legacy = Legacy::of(latest, &mut old)?;
        let sender = &upgrade.creator;
        if upgrade.version.room_id_is_create_event() {
            let new = self.stage_replacement(latest, &legacy, &upgrade, None, None)?;
            let room_id = new.room_id.clone().ok_or(AppendError::UnknownRoom)?;
            self.stage_end(latest, &mut old, sender, &legacy, &room_id)?;
            return Ok((old, new));
        }
        let room_id = self.new_room_id()?;
        let tombstone = self.stage_end(latest, &mut old, sender, &legacy, &room_id)?;
        let (room_id, tombstone) = (Some(room_id), Some(tombstone));
        let new = self.stage_replacement(latest, &legacy, &upgrade, room_id, tombstone)?;
        Ok((old, new))
    }

    /// The events that end the old room. Returns the tombstone's id.
    fn stage_end(
        &self,
        latest: &Latest,
        old: &mut Staging,
        sender: &Sender,
        legacy: &Legacy,
        replacement: &RoomId,
    ) -> Result<OwnedEventId, AppendError> {
        let content = object([
            ("body", "This room has been replaced.".to_owned().into()),
            ("replacement_room", replacement.to_string().into()),
        ]);
        let tombstone = NewEvent::state(TOMBSTONE, "", content);
        old.stage(self, latest, sender, tombstone)?;
        let appended = old.appended();
        let tombstone = appended.last().map(|appended| appended.event_id.clone());
        if let Some(aliases) = &legacy.left_aliases {
            let event = NewEvent::state(CANONICAL_ALIAS, "", aliases.clone());
            self.stage_if_allowed(latest, old, sender, event)?;
        }
        if let Some(content) = &legacy.power_levels
            && let Some(quiet) = power_levels::quiet(content, &legacy.levels)
        {
            let event = NewEvent::state(POWER_LEVELS, "", quiet);
            self.stage_if_allowed(latest, old, sender, event)?;
        }
        tombstone.ok_or(AppendError::UnknownRoom)
    }

    /// Who may end a room need not have the power for all that belongs to it.
    fn stage_if_allowed(
        &self,
        latest: &Latest,
        staging: &mut Staging,
        sender: &Sender,
        event: NewEvent,
    ) -> Result<(), AppendError> {
        match staging.stage(self, latest, sender, event) {
            Err(AppendError::Refused(Reason::Forbidden(text))) => {
                log::debug!("an upgraded room keeps some of its state: {text}");
                Ok(())
            }
            other => other,
        }
    }

    fn stage_replacement(
        &self,
        latest: &Latest,
        legacy: &Legacy,
        upgrade: &Upgrade,
        room_id: Option<OwnedRoomId>,
        tombstone: Option<OwnedEventId>,
    ) -> Result<Staging, AppendError> {
        let now = self.creation_time();
        let mut new = Staging::new_room(upgrade.version, upgrade.new, room_id, now);
        new.keeps_marking = true;
        for event in first_events(latest, legacy, upgrade, tombstone)? {
            new.stage(self, latest, &upgrade.creator, event)
                .map_err(contradiction)?;
        }
        Ok(new)
    }
}

/// Only members with the power to send a tombstone may replace a room.
fn may_upgrade(latest: &Latest, old: &mut Staging, sender: &Sender) -> Result<(), AppendError> {
    if old.membership(latest, &sender.user_id)? != Some(Membership::Join) {
        return Err(AppendError::UnknownRoom);
    }
    let levels = old.power_levels(latest)?.ok_or(AppendError::UnknownRoom)?;
    let power = levels.user(&sender.user_id);
    if power.reaches(levels.to_send_state(TOMBSTONE)) {
        return Ok(());
    }
    Err(AppendError::Forbidden(
        "you do not have the power to replace this room".to_owned(),
    ))
}

impl Legacy {
    fn of(latest: &Latest, old: &mut Staging) -> Result<Self, AppendError> {
        let creation = content(latest, old, "m.room.create", "")?;
        let creation = creation.ok_or(AppendError::UnknownRoom)?;
        let mut state = Vec::new();
        for event_type in TRANSFERRED {
            if let Some(content) = content(latest, old, event_type, "")?
                && !content.is_empty()
            {
                state.push(NewEvent::state(event_type, "", content));
            }
        }
        if creation.get("type").and_then(CanonicalJsonValue::as_str) == Some("m.space") {
            state.extend(links(latest, old, "m.space.child")?);
        }
        state.extend(links(latest, old, "m.space.parent")?);
        state.extend(bans(latest, old)?);
        let canonical = content(latest, old, CANONICAL_ALIAS, "")?.unwrap_or_default();
        let aliases = aliases_of(latest, old.room)?;
        let left = split_aliases(&canonical, |alias| !aliases.iter().any(|one| one == alias));
        Ok(Self {
            room_id: old.room_id.clone().ok_or(AppendError::UnknownRoom)?,
            creation,
            state,
            power_levels: content(latest, old, POWER_LEVELS, "")?,
            levels: old.power_levels(latest)?.ok_or(AppendError::UnknownRoom)?,
            moved_aliases: split_aliases(&canonical, |alias| {
                aliases.iter().any(|one| one == alias)
            }),
            left_aliases: (left != canonical).then_some(left),
        })
    }
}

/// The content of a current state event, or what its redaction has left of it.
fn content(
    latest: &Latest,
    old: &mut Staging,
    event_type: &str,
    state_key: &str,
) -> Result<Option<CanonicalJsonObject>, AppendError> {
    let Some(kept) = old.state_event(latest, event_type, state_key)? else {
        return Ok(None);
    };
    if latest.contains(&tables::REDACTION_BY_EVENT, &kept.serial)? {
        return Ok(Some(graph::redact(&kept.event)?.content_as()?));
    }
    Ok(Some(kept.event.content_as()?))
}

/// What links the room to its spaces, or a space to what is in it, and still holds.
fn links(
    latest: &Latest,
    old: &mut Staging,
    event_type: &str,
) -> Result<Vec<NewEvent>, AppendError> {
    let mut links = Vec::new();
    let rows = latest.scan(&tables::STATE_BY_ROOM, &(old.room, event_type.to_owned()));
    let rows = rows.take(MAX_LINKS).collect::<Result<Vec<_>, _>>()?;
    for ((_, _, state_key), _) in rows {
        if let Some(content) = content(latest, old, event_type, &state_key)?
            && content.contains_key("via")
        {
            links.push(NewEvent::state(event_type, &state_key, content));
        }
    }
    Ok(links)
}

/// The bans of the old room, with their reasons.
fn bans(latest: &Latest, old: &mut Staging) -> Result<Vec<NewEvent>, AppendError> {
    #[derive(Deserialize)]
    struct Content {
        reason: Option<String>,
    }
    let mut bans = Vec::new();
    for row in latest.scan(&tables::MEMBER_BY_ROOM, &(old.room,)) {
        let ((_, user), membership) = row?;
        if membership != Membership::Ban {
            continue;
        }
        if bans.len() == MAX_BANS {
            log::warn!("a room with more than {MAX_BANS} bans is upgraded without the others");
            break;
        }
        let user_id = model::user_id(latest, user)?.and_then(|id| OwnedUserId::try_from(id).ok());
        let Some(user_id) = user_id else {
            continue;
        };
        let ban = old.state_event(latest, "m.room.member", user_id.as_str())?;
        let reason = ban
            .and_then(|ban| ban.event.content_as::<Content>().ok())
            .and_then(|content| content.reason);
        bans.push(member_event(&user_id, profile::membership("ban", reason)));
    }
    Ok(bans)
}

fn aliases_of(latest: &Latest, room: RoomSerial) -> Result<Vec<String>, AppendError> {
    let mut aliases = Vec::new();
    for row in latest.scan(&tables::ALIAS_BY_ROOM, &(room,)) {
        aliases.push(row?.0.1);
    }
    Ok(aliases)
}

/// What remains of a canonical alias event with some of its aliases.
fn split_aliases(
    content: &CanonicalJsonObject,
    is_kept: impl Fn(&str) -> bool,
) -> CanonicalJsonObject {
    let mut kept = content.clone();
    let is_kept = |value: &CanonicalJsonValue| value.as_str().is_some_and(&is_kept);
    kept.retain(|name, value| match (name.as_str(), value) {
        ("alias", value) => is_kept(value),
        ("alt_aliases", CanonicalJsonValue::Array(aliases)) => {
            aliases.retain(is_kept);
            !aliases.is_empty()
        }
        _ => false,
    });
    kept
}

/// The first events of the new room.
fn first_events(
    latest: &Latest,
    legacy: &Legacy,
    upgrade: &Upgrade,
    tombstone: Option<OwnedEventId>,
) -> Result<Vec<NewEvent>, AppendError> {
    let creator = &upgrade.creator;
    let mut member = profile::membership("join", None);
    profile::add(latest, creator.user, &mut member)?;
    let mut events = vec![
        create_event(legacy, upgrade, tombstone),
        member_event(&creator.user_id, member),
    ];
    for event in &legacy.state {
        let mut event = event.clone();
        if event.event_type == "m.room.join_rules" {
            keep_open(&mut event.content, upgrade.version);
        }
        events.push(event);
    }
    if !named_aliases(&legacy.moved_aliases)?.is_empty() {
        let content = legacy.moved_aliases.clone();
        events.push(NewEvent::state(CANONICAL_ALIAS, "", content));
    }
    if let Some(content) = &legacy.power_levels {
        let creators: Vec<OwnedUserId> = [creator.user_id.clone()]
            .into_iter()
            .chain(upgrade.additional_creators.iter().cloned())
            .collect();
        let content = power_levels::moved(content, &legacy.levels, upgrade.version, &creators);
        events.push(NewEvent::state(POWER_LEVELS, "", content));
    }
    Ok(events)
}

fn create_event(legacy: &Legacy, upgrade: &Upgrade, tombstone: Option<OwnedEventId>) -> NewEvent {
    let mut content = CanonicalJsonObject::new();
    for name in ["type", "m.federate"] {
        if let Some(value) = legacy.creation.get(name) {
            content.insert(name.to_owned(), value.clone());
        }
    }
    let mut predecessor = object([("room_id", legacy.room_id.to_string().into())]);
    if let Some(tombstone) = tombstone {
        predecessor.insert("event_id".to_owned(), tombstone.to_string().into());
    }
    content.insert("predecessor".to_owned(), predecessor.into());
    if upgrade.version.creators_are_privileged() && !upgrade.additional_creators.is_empty() {
        let mut creators: Vec<CanonicalJsonValue> = Vec::new();
        for user_id in &upgrade.additional_creators {
            let user_id = CanonicalJsonValue::String(user_id.to_string());
            if !creators.contains(&user_id) {
                creators.push(user_id);
            }
        }
        content.insert("additional_creators".to_owned(), creators.into());
    }
    let creator = &upgrade.creator.user_id;
    upgrade
        .version
        .complete_create_content(&mut content, creator);
    NewEvent::state("m.room.create", "", content)
}

/// Nobody could join a room whose version does not know its join rule, not even the
/// invited: the nearest rule that it knows takes its place.
fn keep_open(content: &mut CanonicalJsonObject, version: Version) {
    let rule = content
        .get("join_rule")
        .and_then(CanonicalJsonValue::as_str);
    let nearest = match rule {
        Some("knock_restricted") if version.knows_knock_restricted_joins() => return,
        Some("knock_restricted" | "restricted") if version.knows_restricted_joins() => "restricted",
        Some("knock_restricted" | "knock") if version.knows_knocking() => "knock",
        Some("knock_restricted" | "restricted" | "knock") => "invite",
        _ => return,
    };
    content.insert("join_rule".to_owned(), nearest.to_owned().into());
}

/// Lets the old room's aliases name the new one. Runs inside the commit's closure.
fn move_aliases(
    latest: &Latest,
    batch: &mut Batch,
    old: RoomSerial,
    new: RoomSerial,
) -> Result<(), AppendError> {
    for alias in aliases_of(latest, old)? {
        let Some(record) = latest.get(&tables::ALIAS_BY_NAME, &alias)? else {
            continue;
        };
        let record = AliasRecord {
            room: new,
            ..record
        };
        batch.put(&tables::ALIAS_BY_NAME, &alias, &record);
        batch.delete(&tables::ALIAS_BY_ROOM, &(old, alias.clone()));
        batch.put(&tables::ALIAS_BY_ROOM, &(new, alias), &());
    }
    Ok(())
}

/// Puts the new room into the directory in the old one's place. Runs inside the commit's
/// closure.
fn move_publication(
    latest: &Latest,
    batch: &mut Batch,
    old: RoomSerial,
    new: RoomSerial,
) -> Result<(), AppendError> {
    if latest.contains(&tables::PUBLISHED_ROOM, &old)? {
        unpublish(batch, old);
        publish(batch, new);
    }
    // Partners follow into the room in which all goes on.
    if let Some(opened) = latest.get(&tables::OPENED_ROOM, &old)? {
        batch.put(&tables::OPENED_ROOM, &new, &opened);
    }
    Ok(())
}

/// The room that `room` replaces, if both say so.
///
/// # Errors
/// If the database fails.
pub fn predecessor(view: &impl Read, room: RoomSerial) -> Result<Option<RoomSerial>, ReadError> {
    #[derive(Deserialize)]
    struct Creation {
        predecessor: Option<Predecessor>,
    }
    #[derive(Deserialize)]
    struct Predecessor {
        room_id: String,
    }
    #[derive(Deserialize)]
    struct Tombstone {
        replacement_room: String,
    }
    let Some(creation) = current_content::<Creation>(view, room, "m.room.create")? else {
        return Ok(None);
    };
    let Some(predecessor) = creation.predecessor else {
        return Ok(None);
    };
    let Some(old) = room_serial(view, &predecessor.room_id)? else {
        return Ok(None);
    };
    let tombstone = current_content::<Tombstone>(view, old, TOMBSTONE)?;
    let replaced = match tombstone {
        Some(tombstone) => room_serial(view, &tombstone.replacement_room)? == Some(room),
        None => false,
    };
    Ok(Some(old).filter(|_| replaced))
}
