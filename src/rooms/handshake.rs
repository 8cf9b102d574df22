//! Memberships that this server makes together with another: of users of others in its
//! rooms, and of its own users in rooms of others (server-server API, "Joining Rooms",
//! "Inviting to a room", "Leaving Rooms", "Knocking upon a room").

use graph::{Draft, Event, MAX_JSON_DEPTH, Template, Version, canonical};
use model::{Membership, RoomHead, RoomSerial, UserSerial, tables};
use ruma_common::{CanonicalJsonObject, OwnedRoomId, OwnedUserId, RoomId, ServerName, UserId};
use serde::{Deserialize, de::IgnoredAny};
use store::{Latest, Read as _, Snapshot, StoreError};

use crate::{
    AppendError, EventReader, NewEvent, ReadError, Rooms, Sender, Viewer, is_partial,
    membership::{DECIDED, member_event},
    profile,
    residents::residents,
    restricted, room_record, room_serial, rules, server_acl,
    staging::Staging,
    standing,
    state::shown_outside,
    summary::current_content,
    user_serial,
};

/// An invitation of a user of another server: made, and not in the room yet.
pub struct Invitation {
    /// The room.
    pub room: RoomSerial,
    /// Its version.
    pub version: Version,
    /// The event, signed by this server.
    pub event: Event,
    /// What the invited one is shown of the room, each event as JSON.
    pub state: Vec<String>,
}

/// What a user who wants to come into a room has to do with it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Threshold {
    /// As [`Rooms::is_here`].
    pub is_here: bool,
    /// The user was in the room at some time.
    pub comes_back: bool,
    /// It is known not to replace another room.
    pub replaces_none: bool,
}

fn is_here(view: &Snapshot, room: RoomSerial) -> Result<bool, StoreError> {
    let head = view.get(&tables::HEAD_BY_ROOM, &room)?;
    // Of a room that is known in part, others may be there of whom nobody knows.
    let is_here = |head: RoomHead| head.joined_here > 0 || (head.joined == 0 && !head.is_partial);
    Ok(head.is_some_and(is_here))
}

/// Whether a room is known here, and says of itself that it replaces no other: that never
/// changes.
fn names_no_predecessor(view: &Snapshot, room: RoomSerial) -> Result<bool, ReadError> {
    #[derive(Deserialize)]
    struct Creation {
        predecessor: Option<IgnoredAny>,
    }
    let creation = current_content::<Creation>(view, room, "m.room.create")?;
    Ok(creation.is_some_and(|creation| creation.predecessor.is_none()))
}

impl Rooms {
    /// Whether a room is this server's to let somebody into: somebody of it is there, or
    /// nobody at all.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn is_here(&self, room_id: &RoomId) -> Result<bool, AppendError> {
        let room_id = room_id.to_owned();
        let read = move |view: &Snapshot| match room_serial(view, room_id.as_str())? {
            Some(room) => Ok::<_, AppendError>(is_here(view, room)?),
            None => Ok(false),
        };
        self.inner.store.read_quickly(read).await
    }

    /// What a user who wants to come into a room has to do with it.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn threshold(
        &self,
        room_id: &RoomId,
        user: UserSerial,
    ) -> Result<Threshold, AppendError> {
        let room_id = room_id.to_owned();
        let read = move |view: &Snapshot| {
            let Some(room) = room_serial(view, room_id.as_str())? else {
                return Ok(Threshold::default());
            };
            let record = view.get(&tables::MEMBERSHIP_BY_USER, &(user, room))?;
            Ok::<_, AppendError>(Threshold {
                is_here: is_here(view, room)?,
                comes_back: record.is_some_and(|record| record.last_join > 0),
                replaces_none: names_no_predecessor(view, room)?,
            })
        };
        self.inner.store.read_quickly(read).await
    }

    /// A room in which this server is and in which another server may take part.
    ///
    /// # Errors
    /// [`AppendError::NotFound`] if this server is not in the room,
    /// [`AppendError::Forbidden`] if its ACL does not let the other server take part.
    pub async fn room_for(
        &self,
        room_id: &RoomId,
        server: &ServerName,
    ) -> Result<(RoomSerial, Version), AppendError> {
        let (room_id, server) = (room_id.to_owned(), server.to_owned());
        let read = move |latest: &Latest| room_for(latest, &room_id, &server);
        self.inner.store.prepare(read).await
    }

    /// The same of a room into which this server can let users of another.
    ///
    /// # Errors
    /// As [`Rooms::room_for`]; [`AppendError::NotFound`] also if this server knows the room's
    /// state in part only.
    pub async fn room_to_enter(
        &self,
        room_id: &RoomId,
        server: &ServerName,
    ) -> Result<(RoomSerial, Version), AppendError> {
        let (room_id, server) = (room_id.to_owned(), server.to_owned());
        let rooms = self.clone();
        let read = move |latest: &Latest| {
            let found = room_to_enter(latest, &room_id, &server)?;
            let now = rooms.inner.clock.now().0;
            rules::takes_others(&rooms.inner.options, latest, found.0, now)?;
            Ok(found)
        };
        self.inner.store.prepare(read).await
    }

    /// The draft of a membership that a user of another server wants: of a join, a leave or
    /// a knock. Its room's version and its JSON.
    ///
    /// # Errors
    /// As [`Rooms::room_for`]; [`AppendError::IncompatibleVersion`] if the room's version
    /// is none of `versions`; what the room's rules say; of a join also
    /// [`AppendError::UnableToAuthoriseJoin`] and [`AppendError::UnableToGrantJoin`].
    pub async fn draft_membership(
        &self,
        room_id: &RoomId,
        user_id: &UserId,
        membership: Membership,
        versions: Option<Vec<String>>,
    ) -> Result<(Version, String), AppendError> {
        let rooms = self.clone();
        let (room_id, user_id) = (room_id.to_owned(), user_id.to_owned());
        let make = move |latest: &Latest| {
            let (room, version) = match membership {
                Membership::Leave => room_for(latest, &room_id, user_id.server_name())?,
                _ => room_to_enter(latest, &room_id, user_id.server_name())?,
            };
            if versions.is_some_and(|known| !known.iter().any(|it| it == version.as_str())) {
                return Err(AppendError::IncompatibleVersion(version));
            }
            let now = rooms.inner.clock.now().0;
            if membership != Membership::Leave {
                rooms.must_be_wanted(Some(&room_id), &[&user_id])?;
                rules::takes_others(&rooms.inner.options, latest, room, now)?;
            }
            let mut staging = Staging::load(latest, room, now)?;
            let mut content = profile::membership(membership.name(), None);
            if membership == Membership::Join {
                let user = user_serial(latest, user_id.as_str())?;
                let who = (user_id.as_ref(), user);
                restricted::authorise(&rooms, latest, &mut staging, who, &mut content)?;
            }
            let draft = Draft {
                event_type: "m.room.member".to_owned(),
                state_key: Some(user_id.to_string()),
                content,
                sender: user_id,
                redacts: None,
                origin_server_ts: now,
                sticky: None,
            };
            Ok((version, staging.template(latest, draft)?))
        };
        self.inner.store.prepare(make).await
    }

    /// Whether this server lets a user of another one into a restricted room in the name of
    /// one of its own users, `member`: that is what its signature on the join says.
    ///
    /// # Errors
    /// As the join of one of its own users.
    pub async fn grants_join(
        &self,
        room: RoomSerial,
        user_id: &UserId,
        member: &UserId,
    ) -> Result<(), AppendError> {
        let rooms = self.clone();
        let (user_id, member) = (user_id.to_owned(), member.to_owned());
        let check = move |latest: &Latest| {
            let now = rooms.inner.clock.now().0;
            let mut staging = Staging::load(latest, room, now)?;
            let user = user_serial(latest, user_id.as_str())?;
            let who = (user_id.as_ref(), user);
            restricted::check_grant(&rooms, latest, &mut staging, who, &member)
        };
        self.inner.store.prepare(check).await
    }

    /// Adds this server's signature to an event that another server has made and this one
    /// lets pass; see [`graph::countersign`].
    ///
    /// # Errors
    /// [`AppendError::Refused`] if the bytes are no event's.
    pub fn countersign(&self, event: &[u8], version: Version) -> Result<String, AppendError> {
        let (key, name) = (&self.inner.key, &self.inner.server_name);
        Ok(graph::countersign(event, version, key, name)?)
    }

    /// What a membership of one of this server's users says in a room of other servers,
    /// with the profile. `about` is as [`Rooms::join`] takes it; `takes_guests` is what those
    /// servers say of the room.
    ///
    /// # Errors
    /// [`AppendError::Suspended`] and [`AppendError::GuestsForbidden`].
    pub async fn membership_elsewhere(
        &self,
        sender: &Sender,
        membership: Membership,
        about: &[u8],
        takes_guests: bool,
    ) -> Result<CanonicalJsonObject, AppendError> {
        let mut content = canonical(about, MAX_JSON_DEPTH)?;
        content.retain(|field, _| !DECIDED.contains(&field.as_str()));
        content.extend(profile::membership(membership.name(), None));
        let user = sender.user;
        if membership != Membership::Leave {
            rules::may_go_elsewhere(&self.inner.options)?;
        }
        let read = move |latest: &Latest| {
            if membership != Membership::Leave {
                standing::may_go_elsewhere(latest, user, takes_guests)?;
                profile::add(latest, user, &mut content)?;
            }
            Ok(content)
        };
        self.inner.store.prepare(read).await
    }

    /// Makes what another server has drafted an event of this server: signed, allowed by
    /// nobody yet. Of the draft's content only who authorises it is taken over.
    ///
    /// # Errors
    /// [`AppendError::Refused`] if the draft is not usable.
    pub fn propose(
        &self,
        version: Version,
        room_id: &RoomId,
        sender: &UserId,
        template: Template,
        mut content: CanonicalJsonObject,
    ) -> Result<Event, AppendError> {
        let Template {
            parents,
            auth_events,
            content: wanted,
        } = template;
        let authorised_by = wanted.get(restricted::AUTHORISED_BY);
        if let Some(member) = authorised_by.filter(|_| version.knows_restricted_joins()) {
            content.insert(restricted::AUTHORISED_BY.to_owned(), member.clone());
        }
        let draft = self.own_membership(sender, content);
        let (key, name) = (&self.inner.key, &self.inner.server_name);
        let event = graph::propose(version, room_id, draft, parents, &auth_events, key, name)?;
        Ok(event)
    }

    /// The event by which a user of this server goes out of a room of which no server
    /// answers: it rests on `before`, the invitation or knock, alone, and no other server
    /// ever sees it.
    ///
    /// # Errors
    /// [`AppendError::Refused`], which no event is known to cause.
    pub fn leave_alone(&self, sender: &UserId, before: &Event) -> Result<Event, AppendError> {
        let template = Template {
            parents: graph::Parents {
                prev_events: vec![before.event_id().to_owned()],
                depth: before.depth() + 1,
            },
            auth_events: vec![before.event_id().to_owned()],
            content: CanonicalJsonObject::new(),
        };
        let content = profile::membership("leave", None);
        let (version, room_id) = (before.version(), before.room_id().to_owned());
        self.propose(version, &room_id, sender, template, content)
    }

    fn own_membership(&self, sender: &UserId, content: CanonicalJsonObject) -> Draft {
        Draft {
            event_type: "m.room.member".to_owned(),
            state_key: Some(sender.to_string()),
            content,
            sender: sender.to_owned(),
            redacts: None,
            origin_server_ts: self.inner.clock.now().0,
            sticky: None,
        }
    }

    /// Makes the invitation of a user of another server. It enters the room by
    /// [`Rooms::receive`](crate::Rooms), when that server has signed it too.
    ///
    /// # Errors
    /// [`AppendError`].
    pub async fn propose_invitation(
        &self,
        sender: &Sender,
        room_id: &RoomId,
        target: &UserId,
        content: CanonicalJsonObject,
    ) -> Result<Invitation, AppendError> {
        let rooms = self.clone();
        let (sender, room_id, target) = (sender.clone(), room_id.to_owned(), target.to_owned());
        let make = move |latest: &Latest| {
            let invited = member_event(&target, content);
            rooms.invitation(latest, &sender, &room_id, target, invited)
        };
        self.inner.store.prepare(make).await
    }

    fn invitation(
        &self,
        latest: &Latest,
        sender: &Sender,
        room_id: &OwnedRoomId,
        target: OwnedUserId,
        invited: NewEvent,
    ) -> Result<Invitation, AppendError> {
        let unknown = || AppendError::UnknownRoom;
        let room = room_serial(latest, room_id.as_str())?.ok_or_else(unknown)?;
        if !server_acl::acl_allows(latest, room, target.server_name())? {
            return Err(AppendError::Forbidden(format!(
                "the room takes nobody of {}",
                target.server_name()
            )));
        }
        let now = self.inner.clock.now().0;
        let mut staging = Staging::load(latest, room, now)?;
        staging.stage(self, latest, sender, invited)?;
        let version = staging.version;
        let staged = staging.events.pop().ok_or_else(unknown)?;
        drop(staging);
        let event = std::sync::Arc::into_inner(staged.event).ok_or_else(unknown)?;
        let viewer = Viewer {
            user: sender.user,
            device: None,
        };
        let reader = EventReader::new(latest, room, self.inner.store.secret(), viewer, now)?;
        Ok(Invitation {
            state: shown_outside(&reader, sender.user_id.as_str())?,
            room,
            version,
            event,
        })
    }

    /// What somebody who has knocked is shown of a room, each event as JSON.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn knock_state(&self, room: RoomSerial) -> Result<Vec<String>, AppendError> {
        let rooms = self.clone();
        let read = move |latest: &Latest| {
            let viewer = Viewer {
                user: model::UserSerial(0),
                device: None,
            };
            let secret = rooms.inner.store.secret();
            let reader = EventReader::new(latest, room, secret, viewer, 0)?;
            Ok::<_, AppendError>(shown_outside(&reader, "")?)
        };
        self.inner.store.prepare(read).await
    }

    /// The servers that are in a room of which this server knows, this one left out.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn other_residents(
        &self,
        room_id: &RoomId,
    ) -> Result<Vec<ruma_common::OwnedServerName>, AppendError> {
        let room_id = room_id.to_owned();
        let read = move |latest: &Latest| {
            let Some(room) = room_serial(latest, room_id.as_str())? else {
                return Ok(Vec::new());
            };
            Ok::<_, AppendError>(residents(latest, room)?)
        };
        self.inner.store.prepare(read).await
    }
}

fn room_to_enter(
    latest: &Latest,
    room_id: &RoomId,
    server: &ServerName,
) -> Result<(RoomSerial, Version), AppendError> {
    let found = room_for(latest, room_id, server)?;
    if is_partial(latest, found.0)? {
        return Err(AppendError::NotFound(
            "this server does not know the room well enough yet".to_owned(),
        ));
    }
    Ok(found)
}

fn room_for(
    latest: &Latest,
    room_id: &RoomId,
    server: &ServerName,
) -> Result<(RoomSerial, Version), AppendError> {
    let absent = || AppendError::NotFound("nobody of this server is in such a room".to_owned());
    let room = room_serial(latest, room_id.as_str())?.ok_or_else(absent)?;
    let head = latest.get(&tables::HEAD_BY_ROOM, &room)?;
    if head.is_none_or(|head| head.joined_here == 0) {
        return Err(absent());
    }
    let found = (room, room_record(latest, room)?.1);
    if server_acl::acl_allows(latest, found.0, server)? {
        Ok(found)
    } else {
        Err(AppendError::Forbidden(format!(
            "the room does not let {server} take part"
        )))
    }
}
