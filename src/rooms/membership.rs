//! Coming into rooms and going out of them.

use graph::{MAX_JSON_DEPTH, canonical};
use model::{Changes, Membership, RoomSerial, UserChange, UserSerial, tables};
use ruma_common::{
    CanonicalJsonObject, CanonicalJsonValue, OwnedRoomId, OwnedUserId, RoomId, RoomOrAliasId,
    UserId,
};
use store::{Latest, Read, StoreError};

use crate::{
    AppendError, NewEvent, Rooms, Sender, append::Plan, freezing, profile, resolve_alias,
    restricted, staging::Staging, user_serial,
};

/// What this server decides about a membership, and clients do not.
pub(crate) const DECIDED: [&str; 5] = [
    "membership",
    "is_direct",
    "third_party_invite",
    "third_party_signed",
    restricted::AUTHORISED_BY,
];

impl Rooms {
    /// Invites a user of this server.
    ///
    /// # Errors
    /// [`AppendError`]; [`AppendError::Forbidden`] for a user of another server, whose server must
    /// sign the invitation: [`Rooms::propose_invitation`].
    pub async fn invite(
        &self,
        sender: &Sender,
        room_id: &RoomId,
        target: &UserId,
        reason: Option<String>,
    ) -> Result<(), AppendError> {
        let room = self.room(room_id).await?;
        let content = profile::membership("invite", reason);
        self.set_membership(sender, room, target.to_owned(), content, |_| Ok(true))
            .await
    }

    /// Comes into a room of this server. Who is in it already stays. `about` is a JSON object of what the
    /// membership is to say besides: a `reason`, or fields that are the client's own.
    ///
    /// # Errors
    /// [`AppendError`]; [`AppendError::NotFound`] if there is no such room or alias here.
    pub async fn join(
        &self,
        sender: &Sender,
        target: &RoomOrAliasId,
        about: &[u8],
    ) -> Result<OwnedRoomId, AppendError> {
        let mut content = canonical(about, MAX_JSON_DEPTH)?;
        content.retain(|field, _| !DECIDED.contains(&field.as_str()));
        content.extend(profile::membership("join", None));
        let (room_id, room) = self.find(target).await?;
        let not_yet = |before| Ok(before != Some(Membership::Join));
        self.set_membership(sender, room, sender.user_id.clone(), content, not_yet)
            .await?;
        Ok(room_id)
    }

    /// Asks to be invited.
    ///
    /// # Errors
    /// As [`Rooms::join`].
    pub async fn knock(
        &self,
        sender: &Sender,
        target: &RoomOrAliasId,
        reason: Option<String>,
    ) -> Result<OwnedRoomId, AppendError> {
        let (room_id, room) = self.find(target).await?;
        let content = profile::membership("knock", reason);
        self.set_membership(sender, room, sender.user_id.clone(), content, |_| Ok(true))
            .await?;
        Ok(room_id)
    }

    /// Goes out of a room, refuses an invitation or takes back a knock. Who has left
    /// already stays out.
    ///
    /// # Errors
    /// [`AppendError`].
    pub async fn leave(
        &self,
        sender: &Sender,
        room_id: &RoomId,
        reason: Option<String>,
    ) -> Result<(), AppendError> {
        let room = self.room(room_id).await?;
        let content = profile::membership("leave", reason);
        let is_notice_room = self.is_notice_room(sender.user, room).await?;
        let present = move |before| match before {
            Some(Membership::Invite) if is_notice_room => Err(AppendError::NoticeRoom),
            Some(Membership::Join | Membership::Invite | Membership::Knock) => Ok(true),
            Some(Membership::Leave) => Ok(false),
            Some(Membership::Ban) => Err(forbidden("you are banned from this room")),
            None => Err(forbidden("you are not in this room")),
        };
        self.set_membership(sender, room, sender.user_id.clone(), content, present)
            .await
    }

    /// Sends somebody out, takes back an invitation or refuses a knock.
    ///
    /// # Errors
    /// [`AppendError`].
    pub async fn kick(
        &self,
        sender: &Sender,
        room_id: &RoomId,
        target: &UserId,
        reason: Option<String>,
    ) -> Result<(), AppendError> {
        let room = self.room(room_id).await?;
        let content = profile::membership("leave", reason);
        let present = |before| match before {
            Some(Membership::Join | Membership::Invite | Membership::Knock) => Ok(true),
            _ => Err(forbidden("this user is not in the room")),
        };
        self.set_membership(sender, room, target.to_owned(), content, present)
            .await
    }

    /// Sends somebody out, or keeps somebody out, until the ban is lifted.
    ///
    /// # Errors
    /// [`AppendError`].
    pub async fn ban(
        &self,
        sender: &Sender,
        room_id: &RoomId,
        target: &UserId,
        reason: Option<String>,
    ) -> Result<(), AppendError> {
        let room = self.room(room_id).await?;
        let content = profile::membership("ban", reason);
        self.set_membership(sender, room, target.to_owned(), content, |_| Ok(true))
            .await
    }

    /// Lifts a ban. The user is then out of the room and may come in again.
    ///
    /// # Errors
    /// [`AppendError`].
    pub async fn unban(
        &self,
        sender: &Sender,
        room_id: &RoomId,
        target: &UserId,
        reason: Option<String>,
    ) -> Result<(), AppendError> {
        let room = self.room(room_id).await?;
        let content = profile::membership("leave", reason);
        let banned = |before| match before {
            Some(Membership::Ban) => Ok(true),
            _ => Err(forbidden("this user is not banned from the room")),
        };
        self.set_membership(sender, room, target.to_owned(), content, banned)
            .await
    }

    /// Takes a room that the user has left out of the user's history.
    ///
    /// # Errors
    /// [`AppendError::BadState`] if the user has not left it.
    pub async fn forget(&self, sender: &Sender, room_id: &RoomId) -> Result<(), AppendError> {
        let not_left = || AppendError::BadState("you have not left this room".to_owned());
        let room = self.room(room_id).await.map_err(|error| match error {
            AppendError::UnknownRoom => not_left(),
            other => other,
        })?;
        let user = sender.user;
        self.inner
            .store
            .commit(move |latest, position, batch| {
                let key = (user, room);
                let mut record = latest
                    .get(&tables::MEMBERSHIP_BY_USER, &key)?
                    .filter(|record| {
                        matches!(record.membership, Membership::Leave | Membership::Ban)
                    })
                    .ok_or_else(not_left)?;
                if !record.forgotten {
                    record.forgotten = true;
                    batch.put(&tables::MEMBERSHIP_BY_USER, &key, &record);
                    Changes::at(position).user(batch, user, &UserChange::Forgotten { room });
                }
                Ok(())
            })
            .await
    }

    /// Goes out of every room: the end of an account.
    ///
    /// # Errors
    /// If the database fails. A room that does not let the user go is passed over.
    pub async fn leave_all(
        &self,
        sender: &Sender,
        reason: Option<String>,
    ) -> Result<(), AppendError> {
        const PRESENT: &[Membership] = &[Membership::Join, Membership::Invite, Membership::Knock];
        for room in self.rooms_of(sender.user, PRESENT).await? {
            let who = sender.clone();
            let content = profile::membership("leave", reason.clone());
            let rooms = self.clone();
            let left = self
                .append_with(room, sender, None, move |latest, staging| {
                    freezing::leaving(&rooms, latest, staging, &who.user_id, content)
                })
                .await;
            self.inner.typing.stop(room, sender.user);
            pass_over_refusals(left)?;
        }
        Ok(())
    }

    /// Tells every room that the user is in what the user's profile says now.
    ///
    /// # Errors
    /// If the database fails. A room that does not take it is passed over.
    pub async fn profile_changed(&self, sender: &Sender) -> Result<(), AppendError> {
        let mut unsynced = Vec::new();
        for room in self.rooms_of(sender.user, &[Membership::Join]).await? {
            let who = sender.clone();
            let appended = self
                .append_unsynced(room, sender, None, move |latest, staging| {
                    with_new_profile(latest, staging, &who)
                })
                .await;
            if let Some((_, Some(written))) = pass_over_refusals(appended)? {
                unsynced.push(written);
            }
        }
        for written in unsynced {
            written.durable().await?;
        }
        Ok(())
    }

    async fn rooms_of(
        &self,
        user: UserSerial,
        wanted: &'static [Membership],
    ) -> Result<Vec<RoomSerial>, AppendError> {
        self.inner
            .store
            .prepare(move |latest| Ok(memberships(latest, user, wanted)?))
            .await
    }

    /// The room that a client means, with its id.
    async fn find(&self, target: &RoomOrAliasId) -> Result<(OwnedRoomId, RoomSerial), AppendError> {
        let unknown = || AppendError::NotFound(format!("{target} is not known here"));
        let room_id = match <&RoomId>::try_from(target) {
            Ok(room_id) => room_id.to_owned(),
            Err(alias) => {
                let alias = alias.to_owned();
                self.inner
                    .store
                    .prepare(move |latest| Ok::<_, AppendError>(resolve_alias(latest, &alias)?))
                    .await?
            }
        };
        let room = self.room(&room_id).await.map_err(|error| match error {
            AppendError::UnknownRoom => unknown(),
            other => other,
        })?;
        Ok((room_id, room))
    }

    /// Gives `target` a new membership if `wanted` says so of the one before.
    async fn set_membership(
        &self,
        sender: &Sender,
        room: RoomSerial,
        target: OwnedUserId,
        mut content: CanonicalJsonObject,
        wanted: impl FnOnce(Option<Membership>) -> Result<bool, AppendError> + Send + 'static,
    ) -> Result<(), AppendError> {
        let rooms = self.clone();
        let who = sender.clone();
        let comes = content.get("membership") == Some(&"join".to_owned().into());
        let leaves = content.get("membership") == Some(&"leave".to_owned().into());
        let out = leaves || content.get("membership") == Some(&"ban".to_owned().into());
        let user_id = target.clone();
        self.append_with(room, sender, None, move |latest, staging| {
            let before = staging.membership(latest, &target)?;
            if !wanted(before)? {
                return Ok(Plan::Nothing(None));
            }
            rooms.complete_member(latest, staging, &who, &target, &mut content)?;
            if leaves && target == who.user_id {
                return freezing::leaving(&rooms, latest, staging, &target, content);
            }
            Ok(Plan::event(member_event(&target, content)))
        })
        .await?;
        if comes {
            self.show_presence_again(sender.user);
        }
        if out {
            self.stop_typing(room, &user_id).await?;
        }
        Ok(())
    }

    async fn stop_typing(&self, room: RoomSerial, user_id: &UserId) -> Result<(), AppendError> {
        if self.inner.typing.is_quiet(room) {
            return Ok(());
        }
        let name = user_id.to_string();
        let user = self
            .inner
            .store
            .prepare(move |latest| user_serial(latest, &name))
            .await?;
        if user.is_some_and(|user| self.inner.typing.stop(room, user)) {
            self.inner.store.wake(model::room_scope(room));
        }
        Ok(())
    }

    /// Checks what this server knows about a new membership beyond the room's rules, and
    /// completes its content: the profile, and who lets the user into a restricted room.
    pub(crate) fn complete_member(
        &self,
        latest: &Latest,
        staging: &mut Staging,
        sender: &Sender,
        target: &UserId,
        content: &mut CanonicalJsonObject,
    ) -> Result<(), AppendError> {
        let Some(CanonicalJsonValue::String(membership)) = content.get("membership") else {
            // The room's rules say what is wrong with it.
            return Ok(());
        };
        let after = Membership::from_name(membership);
        let before = staging.membership(latest, target)?;
        // Only a join that needs it names who authorised it, and it is for this server
        // to find that user.
        content.remove(restricted::AUTHORISED_BY);
        match after {
            Some(Membership::Invite) => {
                self.must_be_local(target)?;
                if let Some(user) = user_serial(latest, target.as_str())? {
                    profile::add(latest, user, content)?;
                }
            }
            Some(Membership::Join | Membership::Knock) if target == sender.user_id => {
                profile::add(latest, sender.user, content)?;
                if after == Some(Membership::Join) && before != Some(Membership::Join) {
                    let who = (sender.user_id.as_ref(), Some(sender.user));
                    restricted::authorise(self, latest, staging, who, content)?;
                }
            }
            Some(Membership::Leave) if target != sender.user_id => {
                if matches!(before, None | Some(Membership::Leave)) {
                    return Err(forbidden("this user is not in the room"));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Refuses those whose server must be asked first, which nobody can who holds a room.
    pub(crate) fn must_be_local(&self, user_id: &UserId) -> Result<(), AppendError> {
        if self.is_local(user_id) {
            return Ok(());
        }
        Err(AppendError::Forbidden(format!(
            "{user_id} is of another server, which takes invitations only"
        )))
    }
}

pub(crate) fn member_event(user_id: &UserId, content: CanonicalJsonObject) -> NewEvent {
    NewEvent::state("m.room.member", user_id.as_str(), content)
}

fn forbidden(text: &str) -> AppendError {
    AppendError::Forbidden(text.to_owned())
}

/// Of what many rooms were asked for, only a broken database is an error.
fn pass_over_refusals<T>(result: Result<T, AppendError>) -> Result<Option<T>, AppendError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(AppendError::Store(error)) => Err(AppendError::Store(error)),
        Err(refused) => {
            log::debug!("a room refused a membership: {refused}");
            Ok(None)
        }
    }
}

/// A join of one who is in the room, with the profile as it is now.
fn with_new_profile(
    latest: &Latest,
    staging: &mut Staging,
    sender: &Sender,
) -> Result<Plan, AppendError> {
    if staging.membership(latest, &sender.user_id)? != Some(Membership::Join) {
        return Ok(Plan::Nothing(None));
    }
    let current = staging.state_event(latest, "m.room.member", sender.user_id.as_str())?;
    let before: CanonicalJsonObject = match &current {
        Some(kept) => kept.event.content_as()?,
        None => return Ok(Plan::Nothing(None)),
    };
    let mut content = before.clone();
    for name in profile::FIELDS {
        content.remove(name);
    }
    profile::add(latest, sender.user, &mut content)?;
    if content == before {
        return Ok(Plan::Nothing(None));
    }
    // These told how the user came in.
    for name in [
        "reason",
        "is_direct",
        "third_party_invite",
        restricted::AUTHORISED_BY,
    ] {
        content.remove(name);
    }
    Ok(Plan::event(member_event(&sender.user_id, content)))
}

fn memberships(
    view: &impl Read,
    user: UserSerial,
    wanted: &[Membership],
) -> Result<Vec<RoomSerial>, StoreError> {
    let mut rooms = Vec::new();
    for row in view.scan(&tables::MEMBERSHIP_BY_USER, &(user,)) {
        let ((_, room), record) = row?;
        if wanted.contains(&record.membership) {
            rooms.push(room);
        }
    }
    Ok(rooms)
}

/// The rooms that a user is in.
pub(crate) fn joined(view: &impl Read, user: UserSerial) -> Result<Vec<RoomSerial>, StoreError> {
    memberships(view, user, &[Membership::Join])
}

/// The ids of the rooms that a user is in.
///
/// # Errors
/// If the database fails.
pub fn joined_rooms(view: &impl Read, user: UserSerial) -> Result<Vec<String>, StoreError> {
    let mut room_ids = Vec::new();
    for room in memberships(view, user, &[Membership::Join])? {
        room_ids.extend(model::room_id(view, room)?);
    }
    Ok(room_ids)
}
