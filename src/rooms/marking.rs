//! The protective marking of a room: OFFICIAL, for instance. It is a state event of its own type,
//! which says with the marking what it means, so that every reader of the room's state (clients,
//! other servers, the parts of this one that know no configuration) sees both.

use std::collections::BTreeSet;

use audit::Deed;
use model::{Membership, RoomSerial, UserSerial, tables};
use ruma_common::{CanonicalJsonObject, CanonicalJsonValue, OwnedEventId, OwnedUserId, UserId};
use serde_json::{Map, Value};
use store::{Latest, Read, StoreError};

use crate::{
    AppendError, CreateRoom, NewEvent, Rooms, Sender,
    append::Plan,
    create::object,
    membership::member_event,
    options::{Encryption, Marking, RoomsOptions},
    profile, room_content,
    rows::Extra,
    rules::{ENCRYPTION, Wanted, is_external},
    send::last,
    staging::Staging,
};

/// The type of the state event that marks a room.
pub const MARKING: &str = "cairn.room.marking";
/// The field with the marking's name.
const NAME: &str = "marking";

/// How an administrator wants a room to be marked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedMarking {
    /// The marking's name.
    pub marking: String,
    /// Whether those go out whom it keeps out: people of other servers, guests.
    pub puts_out: bool,
    /// Why, as those are told who go out.
    pub reason: Option<String>,
}

/// The marking of a room, by name.
///
/// # Errors
/// If the database fails.
pub fn marking_of(view: &impl Read, room: RoomSerial) -> Result<Option<String>, StoreError> {
    let content: Option<Map<String, Value>> = room_content(view, room, MARKING)?;
    let name = content.and_then(|mut content| content.remove(NAME));
    Ok(name.and_then(|name| name.as_str().map(str::to_owned)))
}

/// The marking of a room as it is staged, if it is one of the configuration.
pub(crate) fn of_staged<'a>(
    options: &'a RoomsOptions,
    latest: &Latest,
    staging: &mut Staging,
) -> Result<Option<(usize, &'a Marking)>, AppendError> {
    if options.markings.is_empty() {
        return Ok(None);
    }
    let Some(kept) = staging.state_event(latest, MARKING, "")? else {
        return Ok(None);
    };
    let content: CanonicalJsonObject = kept.event.content_as().unwrap_or_default();
    let name = content.get(NAME).and_then(CanonicalJsonValue::as_str);
    Ok(name.and_then(|name| options.marking(name)))
}

fn content_of(marking: &Marking) -> CanonicalJsonObject {
    let encryption = match marking.encryption {
        Encryption::Optional => "optional",
        Encryption::Required => "required",
        Encryption::Forbidden => "forbidden",
    };
    object([
        (NAME, marking.name.clone().into()),
        ("federation", marking.federation.into()),
        ("external_members", marking.external_members.into()),
        ("public", marking.public.into()),
        ("encryption", encryption.to_owned().into()),
    ])
}

/// Writes into a marking what it means; one that a room keeps from the one that it replaces says
/// that already, be it known to the configuration or not.
///
/// # Errors
/// [`AppendError::Invalid`] for one that the configuration does not know.
pub(crate) fn complete(
    rooms: &Rooms,
    is_kept: bool,
    new: &mut NewEvent,
) -> Result<(), AppendError> {
    if new.event_type != MARKING || new.state_key.as_deref() != Some("") {
        return Ok(());
    }
    let name = new.content.get(NAME).and_then(CanonicalJsonValue::as_str);
    let name = name.unwrap_or_default();
    match rooms.inner.options.marking(name) {
        Some((_, marking)) => new.content = content_of(marking),
        None if is_kept => {}
        None => return Err(unknown(&rooms.inner.options, name)),
    }
    Ok(())
}

fn unknown(options: &RoomsOptions, name: &str) -> AppendError {
    let names = options.markings.iter().map(|marking| marking.name.as_str());
    let names: Vec<&str> = names.collect();
    AppendError::Invalid(match names.is_empty() {
        true => "this server has no markings".to_owned(),
        false => format!(
            "there is no marking {name:?}: there are {}",
            names.join(", ")
        ),
    })
}

/// Gives a new room its marking: the one that it begins with, or that of the configuration.
pub(crate) fn complete_new<'a>(
    options: &'a RoomsOptions,
    wish: &mut CreateRoom,
) -> Result<Option<&'a Marking>, AppendError> {
    let is_marking = |event: &&NewEvent| event.event_type == MARKING;
    let named = wish.initial_state.iter().find(is_marking);
    let named = named.map(|event| event.content.get(NAME).and_then(CanonicalJsonValue::as_str));
    let name = match &named {
        Some(name) => name.unwrap_or_default().to_owned(),
        None if options.default_marking.is_empty() => return Ok(None),
        None => options.default_marking.clone(),
    };
    let Some((_, marking)) = options.marking(&name) else {
        return Err(unknown(options, &name));
    };
    if named.is_none() {
        let event = NewEvent::state(MARKING, "", content_of(marking));
        wish.initial_state.push(event);
    }
    Ok(Some(marking))
}

/// Refuses a marking that a room cannot get: a lower one, but for administrators, and one to
/// which the room does not keep.
///
/// # Errors
/// [`AppendError::Ruled`].
pub(crate) fn check(
    rooms: &Rooms,
    latest: &Latest,
    staging: &mut Staging,
    new: &NewEvent,
) -> Result<(), AppendError> {
    let options = &rooms.inner.options;
    let name = new.content.get(NAME).and_then(CanonicalJsonValue::as_str);
    let Some((rank, marking)) = name.and_then(|name| options.marking(name)) else {
        if staging.keeps_marking {
            return Ok(());
        }
        return Err(unknown(options, name.unwrap_or_default()));
    };
    let before = of_staged(options, latest, staging)?;
    if before.is_some_and(|(before, _)| before > rank) && !staging.is_administered {
        return Err(AppendError::Ruled(
            "only administrators of this server can give a room a lower marking".to_owned(),
        ));
    }
    if staging.new_room {
        return Ok(());
    }
    let wanted = Wanted::marking(marking);
    let text = |staging: &mut Staging, event_type: &str, field: &str| {
        let kept = staging.state_event(latest, event_type, "")?;
        let content = kept.and_then(|kept| kept.event.content_as::<CanonicalJsonObject>().ok());
        let value = content.and_then(|mut content| content.remove(field));
        Ok::<_, AppendError>(value.and_then(|value| value.as_str().map(str::to_owned)))
    };
    let is_encrypted = text(staging, ENCRYPTION, "algorithm")?.is_some();
    match wanted.encryption {
        Encryption::Required if !is_encrypted => {
            return Err(wanted.refuses("are encrypted: encrypt the room before"));
        }
        Encryption::Forbidden if is_encrypted => return Err(wanted.refuses("are not encrypted")),
        _ => {}
    }
    if !wanted.public {
        let join_rule = text(staging, "m.room.join_rules", "join_rule")?;
        let visibility = text(staging, "m.room.history_visibility", "history_visibility")?;
        let is_public = join_rule.as_deref() == Some("public")
            || visibility.as_deref() == Some("world_readable")
            || latest.contains(&tables::PUBLISHED_ROOM, &staging.room)?;
        if is_public {
            return Err(wanted.refuses("are not public: close the room to the public before"));
        }
    }
    // Who is put out in the same commit is counted with those who are still in.
    if staging.is_administered {
        return Ok(());
    }
    match kept_out(rooms, latest, staging.room, marking)?.len() {
        0 => Ok(()),
        number => Err(wanted.refuses(&format!(
            "take nobody of other servers and no guests, of whom {number} are in this room"
        ))),
    }
}

/// Those in a room, or invited, whom a marking keeps out.
fn kept_out(
    rooms: &Rooms,
    latest: &Latest,
    room: RoomSerial,
    marking: &Marking,
) -> Result<Vec<(UserSerial, OwnedUserId)>, StoreError> {
    let mut found = Vec::new();
    if marking.federation && marking.external_members {
        return Ok(found);
    }
    for row in latest.scan(&tables::MEMBER_BY_ROOM, &(room,)) {
        let ((_, user), membership) = row?;
        if matches!(membership, Membership::Leave | Membership::Ban) {
            continue;
        }
        let user_id = model::user_id(latest, user)?.unwrap_or_default();
        let Ok(user_id) = UserId::parse(user_id) else {
            continue;
        };
        let is_out = match rooms.is_local(&user_id) {
            true => !marking.external_members && is_external(latest, user)?,
            false => !marking.federation,
        };
        if is_out {
            found.push((user, user_id));
        }
    }
    Ok(found)
}

impl Rooms {
    /// Marks a room, in the name of `host` and by an administrator's will. Those whom the marking
    /// keeps out go in the same commit, or it is refused as long as there are any. `deed` is what
    /// the audit trail is told.
    ///
    /// # Errors
    /// [`AppendError`].
    pub async fn mark(
        &self,
        room: RoomSerial,
        host: &Sender,
        wanted: WantedMarking,
        deed: Deed,
    ) -> Result<OwnedEventId, AppendError> {
        let (rooms, who) = (self.clone(), host.clone());
        let now = self.inner.clock.now().0;
        let extra =
            Extra::rows(move |latest, _, batch| Ok(audit::record(latest, batch, now, &[deed])?));
        let plan = move |latest: &Latest, staging: &mut Staging| {
            staging.is_administered = true;
            let options = &rooms.inner.options;
            let Some((_, marking)) = options.marking(&wanted.marking) else {
                return Err(unknown(options, &wanted.marking));
            };
            let out = kept_out(&rooms, latest, room, marking)?;
            if !out.is_empty() && !wanted.puts_out {
                return Err(still_in(marking, &out));
            }
            let mut events = Vec::new();
            for (_, user_id) in out {
                let reason = wanted.reason.clone();
                let reason = reason.or_else(|| Some(format!("marked {}", marking.name)));
                let content = profile::membership("leave", reason);
                events.push(member_event(&user_id, content));
            }
            events.push(NewEvent::state(MARKING, "", content_of(marking)));
            Ok(Plan::Events(events))
        };
        let (appended, written) = self.append_beside(room, &who, None, extra, plan).await?;
        match written {
            Some(written) => written.durable().await?,
            None => self.wait_for_earlier().await?,
        }
        last(appended)
    }

    /// The markings that rooms can have, the least protective first.
    pub fn markings(&self) -> &[Marking] {
        &self.inner.options.markings
    }
}

/// Who would have to go before.
fn still_in(marking: &Marking, out: &[(UserSerial, OwnedUserId)]) -> AppendError {
    let servers: BTreeSet<&str> = out
        .iter()
        .map(|(_, user_id)| user_id.server_name().as_str())
        .collect();
    let servers: Vec<&str> = servers.into_iter().take(5).collect();
    AppendError::Ruled(format!(
        "{} people are in this room whom {} keeps out (of {}): put them out before, or with it",
        out.len(),
        marking.name,
        servers.join(", ")
    ))
}
