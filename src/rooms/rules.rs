//! What this server wants of its rooms, whatever their own rules say: the operator's rules for
//! kinds of rooms, the protective marking of each, and that an administrator has closed one.
//!
//! What the server's own people do is refused with a reason in words; what people of other servers
//! want is refused where they ask this server, or not shown.

use model::{ClosedRoomRecord, Membership, RoomSerial, UserSerial, tables};
use ruma_common::{CanonicalJsonObject, CanonicalJsonValue, UserId};
use store::{Latest, Read, StoreError};

use crate::{
    AppendError, CreateRoom, NewEvent, Rooms, Sender, ban_lists,
    create::{Preset, object},
    marking,
    options::{Encryption, MadeBy, Marking, RoomKind, RoomRule, RoomsOptions},
    staging::Staging,
    standing::own_membership,
    summary::current_content,
    user_serial,
};

pub(crate) const ENCRYPTION: &str = "m.room.encryption";
const JOIN_RULES: &str = "m.room.join_rules";
const VISIBILITY: &str = "m.room.history_visibility";
/// The one algorithm that encrypts rooms.
const ALGORITHM: &str = "m.megolm.v1.aes-sha2";

/// What a rule and a marking have in common.
pub(crate) struct Wanted<'a> {
    /// Of which rooms it is said: "rooms marked SECRET".
    pub(crate) of: String,
    pub(crate) federation: bool,
    pub(crate) external_members: bool,
    pub(crate) public: bool,
    pub(crate) encryption: Encryption,
    rule: Option<&'a RoomRule>,
}

impl<'a> Wanted<'a> {
    fn rule(rule: &'a RoomRule, kind: RoomKind) -> Self {
        Self {
            of: kind.name().to_owned(),
            federation: rule.federation,
            external_members: rule.external_members,
            public: rule.public,
            encryption: rule.encryption,
            rule: Some(rule),
        }
    }

    pub(crate) fn marking(marking: &Marking) -> Self {
        Self {
            of: format!("rooms marked {}", marking.name),
            federation: marking.federation,
            external_members: marking.external_members,
            public: marking.public,
            encryption: marking.encryption,
            rule: None,
        }
    }

    pub(crate) fn refuses(&self, what: &str) -> AppendError {
        AppendError::Ruled(format!("on this server, {} {what}", self.of))
    }
}

/// The rules for a kind of room.
fn of_kind(options: &RoomsOptions, kind: RoomKind) -> impl Iterator<Item = Wanted<'_>> {
    let concerns = move |rule: &&RoomRule| rule.kinds.is_empty() || rule.kinds.contains(&kind);
    let rules = options.rules.iter().filter(concerns);
    rules.map(move |rule| Wanted::rule(rule, kind))
}

/// Refuses rooms of other servers to everybody, where none of any kind may have people of other
/// servers. Of what kind a room elsewhere is, is not known before one is in it.
///
/// # Errors
/// [`AppendError::Ruled`].
pub(crate) fn may_go_elsewhere(options: &RoomsOptions) -> Result<(), AppendError> {
    let kinds = [
        RoomKind::Direct,
        RoomKind::Private,
        RoomKind::Public,
        RoomKind::Space,
    ];
    let stays_home = |kind| of_kind(options, kind).any(|wanted| !wanted.federation);
    if kinds.into_iter().all(stays_home) {
        let reason = "people of this server are in no rooms of other servers";
        return Err(AppendError::Ruled(reason.to_owned()));
    }
    Ok(())
}

/// Refuses what a user of this server may not do in a room, whatever the room's rules say.
///
/// # Errors
/// [`AppendError::Ruled`].
pub(crate) fn check(
    rooms: &Rooms,
    latest: &Latest,
    staging: &mut Staging,
    sender: &Sender,
    new: &NewEvent,
) -> Result<(), AppendError> {
    // Everybody may go.
    if own_membership(sender, new) == Some(Membership::Leave) {
        return Ok(());
    }
    if !staging.is_administered
        && !staging.new_room
        && let Some(closed) = closed(latest, staging.room)?
    {
        return Err(refusal(&closed));
    }
    let Some(state_key) = &new.state_key else {
        return Ok(());
    };
    ban_lists::check(rooms, latest, staging, sender, new)?;
    let options = &rooms.inner.options;
    if new.event_type == marking::MARKING && state_key.is_empty() {
        return marking::check(rooms, latest, staging, new);
    }
    let concerned = [
        "m.room.member",
        ENCRYPTION,
        JOIN_RULES,
        VISIBILITY,
        "m.room.name",
    ];
    if !concerned.contains(&new.event_type.as_str()) {
        return Ok(());
    }
    if let Some((_, marking)) = marking::of_staged(options, latest, staging)? {
        keeps(&Wanted::marking(marking), rooms, latest, staging, new)?;
    }
    if options.rules.is_empty() {
        return Ok(());
    }
    let kind = kind(latest, staging)?;
    for wanted in of_kind(options, kind) {
        keeps(&wanted, rooms, latest, staging, new)?;
    }
    Ok(())
}

/// Whether an event keeps to one rule.
fn keeps(
    wanted: &Wanted<'_>,
    rooms: &Rooms,
    latest: &Latest,
    staging: &mut Staging,
    new: &NewEvent,
) -> Result<(), AppendError> {
    let text = |field: &str| new.content.get(field).and_then(CanonicalJsonValue::as_str);
    match new.event_type.as_str() {
        "m.room.member" => member_keeps(wanted, rooms, latest, staging, new),
        ENCRYPTION if wanted.encryption == Encryption::Forbidden => {
            Err(wanted.refuses("are not encrypted"))
        }
        JOIN_RULES if !wanted.public && text("join_rule") == Some("public") => {
            Err(wanted.refuses("are not open to everybody"))
        }
        VISIBILITY if !wanted.public && text("history_visibility") == Some("world_readable") => {
            Err(wanted.refuses("are not readable for everybody"))
        }
        "m.room.name"
            if wanted.rule.is_some_and(|rule| rule.name_required)
                && text("name").is_none_or(|name| name.trim().is_empty()) =>
        {
            Err(wanted.refuses("must have a name"))
        }
        _ => Ok(()),
    }
}

fn member_keeps(
    wanted: &Wanted<'_>,
    rooms: &Rooms,
    latest: &Latest,
    staging: &mut Staging,
    new: &NewEvent,
) -> Result<(), AppendError> {
    let membership = new.content.get("membership");
    let membership = membership.and_then(CanonicalJsonValue::as_str);
    if !matches!(membership, Some("invite" | "join")) {
        return Ok(());
    }
    let target = new.state_key.as_deref().unwrap_or_default();
    let Ok(target) = UserId::parse(target) else {
        return Ok(());
    };
    let before = staging.membership(latest, &target)?;
    if matches!(before, Some(Membership::Join)) {
        return Ok(());
    }
    if !wanted.federation && !rooms.is_local(&target) {
        return Err(wanted.refuses("take nobody of other servers"));
    }
    let user = user_serial(latest, target.as_str())?;
    let is_external = user.map_or(Ok(false), |user| is_external(latest, user))?;
    if !wanted.external_members && is_external {
        return Err(wanted.refuses("take neither guests nor partners"));
    }
    let most = wanted.rule.map_or(0, |rule| rule.members_max);
    let is_counted = before == Some(Membership::Invite);
    if most > 0 && !is_counted && !staging.new_room {
        let present = staging.head.joined + staging.head.invited;
        if present >= most {
            return Err(wanted.refuses(&format!("have at most {most} members")));
        }
    }
    Ok(())
}

/// Whether somebody of this server is still an outsider: a guest or a partner.
pub(crate) fn is_external(latest: &Latest, user: UserSerial) -> Result<bool, StoreError> {
    Ok(accounts::standing(latest, user)?.is_guest || accounts::is_partner(latest, user)?)
}

/// What kind of room it is.
fn kind(latest: &Latest, staging: &mut Staging) -> Result<RoomKind, AppendError> {
    if let Some(kind) = staging.new_kind {
        return Ok(kind);
    }
    let mut text = |event_type: &str, field: &str| -> Result<Option<String>, AppendError> {
        let Some(kept) = staging.state_event(latest, event_type, "")? else {
            return Ok(None);
        };
        let content: CanonicalJsonObject = kept.event.content_as().unwrap_or_default();
        let value = content.get(field).and_then(CanonicalJsonValue::as_str);
        Ok(value.map(str::to_owned))
    };
    let is_space = text("m.room.create", "type")?.as_deref() == Some("m.space");
    let is_public = text(JOIN_RULES, "join_rule")?.as_deref() == Some("public");
    Ok(match (is_space, is_public) {
        (true, _) => RoomKind::Space,
        (_, true) => RoomKind::Public,
        _ if latest.contains(&tables::DIRECT_ROOM, &staging.room)? => RoomKind::Direct,
        _ => RoomKind::Private,
    })
}

/// What kind of room one begins as.
pub(crate) fn new_kind(wish: &CreateRoom) -> RoomKind {
    let is_space = wish.creation_content.get("type") == Some(&"m.space".to_owned().into());
    let is_open = |event: &NewEvent| {
        event.event_type == JOIN_RULES
            && event.content.get("join_rule") == Some(&"public".to_owned().into())
    };
    let is_public = wish.published
        || wish.preset == Some(Preset::PublicChat)
        || wish.initial_state.iter().any(is_open);
    match (is_space, is_public, wish.is_direct) {
        (true, _, _) => RoomKind::Space,
        (_, true, _) => RoomKind::Public,
        (_, _, true) => RoomKind::Direct,
        _ => RoomKind::Private,
    }
}

/// Refuses a room that may not begin like this, and completes it with what this server wants of
/// such rooms. Rooms in which the server itself speaks have no rules.
///
/// # Errors
/// [`AppendError::Ruled`].
pub(crate) fn complete(
    options: &RoomsOptions,
    own: &ruma_common::ServerName,
    wish: &mut CreateRoom,
) -> Result<(), AppendError> {
    if wish.notices_for.is_some() {
        return Ok(());
    }
    let marking = marking::complete_new(options, wish)?.map(Wanted::marking);
    let kind = new_kind(wish);
    for wanted in of_kind(options, kind).chain(marking) {
        begins(&wanted, own, wish)?;
    }
    Ok(())
}

fn begins(
    wanted: &Wanted<'_>,
    own: &ruma_common::ServerName,
    wish: &mut CreateRoom,
) -> Result<(), AppendError> {
    const FEDERATE: &str = "m.federate";
    if !wanted.federation {
        if wish.creation_content.get(FEDERATE) == Some(&true.into()) {
            return Err(wanted.refuses("are not open to other servers"));
        }
        if wish
            .invite
            .iter()
            .any(|user_id| user_id.server_name() != own)
        {
            return Err(wanted.refuses("take nobody of other servers"));
        }
        let closed = CanonicalJsonValue::Bool(false);
        wish.creation_content.insert(FEDERATE.to_owned(), closed);
    }
    if !wanted.public && (wish.published || wish.preset == Some(Preset::PublicChat)) {
        return Err(wanted.refuses("are not public"));
    }
    let is_encrypted = |event: &NewEvent| event.event_type == ENCRYPTION;
    let is_encrypted = wish.initial_state.iter().any(is_encrypted);
    match wanted.encryption {
        Encryption::Required if !is_encrypted => {
            let content = object([("algorithm", ALGORITHM.to_owned().into())]);
            let event = NewEvent::state(ENCRYPTION, "", content);
            wish.initial_state.insert(0, event);
        }
        Encryption::Forbidden if is_encrypted => return Err(wanted.refuses("are not encrypted")),
        _ => {}
    }
    let Some(rule) = wanted.rule else {
        return Ok(());
    };
    let has_name =
        |name: &Option<String>| name.as_ref().is_some_and(|name| !name.trim().is_empty());
    let named = |event: &NewEvent| event.event_type == "m.room.name";
    if rule.name_required && !has_name(&wish.name) && !wish.initial_state.iter().any(named) {
        return Err(wanted.refuses("must have a name"));
    }
    let members = wish.invite.len() as u64 + 1;
    if rule.members_max > 0 && members > rule.members_max {
        return Err(wanted.refuses(&format!("have at most {} members", rule.members_max)));
    }
    Ok(())
}

/// Refuses those who may not make rooms of a kind.
///
/// # Errors
/// [`AppendError::Ruled`].
pub(crate) fn may_make(
    options: &RoomsOptions,
    latest: &Latest,
    creator: &Sender,
    kind: RoomKind,
) -> Result<(), AppendError> {
    for wanted in of_kind(options, kind) {
        match wanted.rule.map(|rule| rule.made_by) {
            None | Some(MadeBy::Everybody) => {}
            Some(MadeBy::Nobody) => return Err(wanted.refuses("are not made")),
            Some(MadeBy::Roles) => {
                let account = latest.get(&tables::ACCOUNT_BY_USER, &creator.user)?;
                if account.is_none_or(|account| account.roles.is_empty()) {
                    return Err(wanted.refuses("are made by its administrators only"));
                }
            }
        }
    }
    Ok(())
}

/// Who has closed a room, if it is.
///
/// # Errors
/// If the database fails.
pub fn closed(view: &impl Read, room: RoomSerial) -> Result<Option<ClosedRoomRecord>, StoreError> {
    view.get(&tables::CLOSED_ROOM, &room)
}

fn refusal(closed: &ClosedRoomRecord) -> AppendError {
    let why = match &closed.reason {
        Some(reason) => format!(": {reason}"),
        None => String::new(),
    };
    AppendError::Ruled(format!(
        "this room has been closed by the administrators of this server{why}"
    ))
}

/// Refuses to let people of other servers into a room that takes none.
///
/// # Errors
/// [`AppendError::Ruled`].
pub(crate) fn takes_others(
    options: &RoomsOptions,
    latest: &Latest,
    room: RoomSerial,
    now: u64,
) -> Result<(), AppendError> {
    if let Some(closed) = closed(latest, room)? {
        return Err(refusal(&closed));
    }
    if options.rules.iter().all(|rule| rule.federation) {
        return Ok(());
    }
    let mut staging = Staging::load(latest, room, now)?;
    let kind = kind(latest, &mut staging)?;
    match of_kind(options, kind).find(|wanted| !wanted.federation) {
        Some(wanted) => Err(wanted.refuses("take nobody of other servers")),
        None => Ok(()),
    }
}

/// Refuses to put a room into the public directory that may not stand there.
///
/// # Errors
/// [`AppendError::Ruled`].
pub(crate) fn may_publish(
    options: &RoomsOptions,
    latest: &Latest,
    room: RoomSerial,
    now: u64,
) -> Result<(), AppendError> {
    let mut staging = Staging::load(latest, room, now)?;
    let marking = marking::of_staged(options, latest, &mut staging)?;
    let marking = marking.map(|(_, marking)| Wanted::marking(marking));
    let kind = match options.rules.is_empty() {
        true => RoomKind::Public,
        // In the directory it is a public room, whatever it was.
        false => match kind(latest, &mut staging)? {
            RoomKind::Space => RoomKind::Space,
            _ => RoomKind::Public,
        },
    };
    let mut wanted = of_kind(options, kind).chain(marking);
    match wanted.find(|wanted| !wanted.public) {
        Some(wanted) => Err(wanted.refuses("do not stand in the public directory")),
        None => Ok(()),
    }
}

/// Whether the marking of a room, as its state says it, keeps other servers out.
///
/// # Errors
/// If the database fails.
pub(crate) fn keeps_others_out(
    view: &impl Read,
    room: RoomSerial,
) -> Result<bool, crate::ReadError> {
    #[derive(serde::Deserialize)]
    struct Content {
        federation: Option<bool>,
    }
    let content: Option<Content> = current_content(view, room, marking::MARKING)?;
    Ok(content.is_some_and(|content| content.federation == Some(false)))
}
