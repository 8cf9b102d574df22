//! Names of rooms, and which rooms stand in the public directory.

use model::{AliasRecord, Membership, RoomSerial, UserSerial, tables};
use ruma_common::{CanonicalJsonObject, CanonicalJsonValue, OwnedRoomId, RoomAliasId, RoomId};
use store::{Batch, Latest, Read, StoreError};

use crate::{
    Access, AppendError, NewEvent, ReadError, Rooms, Sender, append::Plan, room_serial, rules,
    staging::Staging, visibility::not_in_the_room,
};

const CANONICAL_ALIAS: &str = "m.room.canonical_alias";

/// The most aliases of one room.
const MAX_ALIASES: usize = 1000;

impl Rooms {
    /// Makes an alias of a room that the sender is in.
    ///
    /// # Errors
    /// [`AppendError::AliasTaken`] if the alias exists; [`AppendError::Invalid`] for an
    /// alias of another server; [`AppendError::Forbidden`] for those outside the room;
    /// [`AppendError::Suspended`].
    pub async fn put_alias(
        &self,
        sender: &Sender,
        alias: &RoomAliasId,
        room_id: &RoomId,
    ) -> Result<(), AppendError> {
        if alias.server_name() != self.inner.server_name {
            return Err(AppendError::Invalid(format!(
                "{alias} is not an alias of this server"
            )));
        }
        let room = self.room(room_id).await?;
        let user = sender.user;
        let alias = alias.to_string();
        self.inner
            .store
            .commit(move |latest, _, batch| {
                if accounts::standing(latest, user)?.is_suspended {
                    return Err(AppendError::Suspended);
                }
                if !is_joined(latest, room, user)? {
                    return Err(not_in_the_room().into());
                }
                if latest.scan(&tables::ALIAS_BY_ROOM, &(room,)).count() >= MAX_ALIASES {
                    return Err(AppendError::Invalid(
                        "this room has too many aliases".to_owned(),
                    ));
                }
                add_alias(latest, batch, &alias, room, user)
            })
            .await
    }

    /// Takes an alias away: its creator may, who may set the room's canonical alias, and
    /// who `manages` it because it is in an application service's namespace.
    /// The room's canonical alias event forgets it too, if the sender may change that.
    ///
    /// # Errors
    /// [`AppendError::NotFound`] if there is no such alias; [`AppendError::Forbidden`].
    pub async fn delete_alias(
        &self,
        sender: &Sender,
        alias: &RoomAliasId,
        manages: bool,
    ) -> Result<(), AppendError> {
        let name = alias.to_string();
        let record = self
            .inner
            .store
            .prepare(move |latest| latest.get(&tables::ALIAS_BY_NAME, &name))
            .await?
            .ok_or_else(|| unknown_alias(alias))?;
        let may = manages
            || record.creator == sender.user
            || self.may_set(sender, record.room, CANONICAL_ALIAS).await?;
        if !may {
            return Err(AppendError::Forbidden(
                "this alias is not yours to take away".to_owned(),
            ));
        }
        let name = alias.to_string();
        let expected = record.clone();
        let unknown = unknown_alias(alias);
        self.inner
            .store
            .commit(move |latest, _, batch| {
                // In between it may have been taken away, and made again by others.
                if latest.get(&tables::ALIAS_BY_NAME, &name)? != Some(expected.clone()) {
                    return Err(unknown);
                }
                batch.delete(&tables::ALIAS_BY_NAME, &name);
                batch.delete(&tables::ALIAS_BY_ROOM, &(expected.room, name));
                Ok(())
            })
            .await?;
        self.forget_canonical(sender, record.room, alias).await
    }

    /// Takes a deleted alias out of the room's canonical alias event. Refusals do not
    /// matter: the alias is gone.
    async fn forget_canonical(
        &self,
        sender: &Sender,
        room: RoomSerial,
        alias: &RoomAliasId,
    ) -> Result<(), AppendError> {
        let name = alias.to_string();
        let changed = self
            .append_with(room, sender, None, move |latest, staging| {
                without_alias(latest, staging, &name)
            })
            .await;
        match changed {
            Err(AppendError::Store(error)) => Err(AppendError::Store(error)),
            _ => Ok(()),
        }
    }

    /// Puts a room into the public directory, or takes it out: for those who may set its
    /// canonical alias.
    ///
    /// # Errors
    /// [`AppendError::NotFound`] for an unknown room; [`AppendError::Forbidden`].
    pub async fn set_published(
        &self,
        sender: &Sender,
        room_id: &RoomId,
        published: bool,
    ) -> Result<(), AppendError> {
        let room = self.room(room_id).await.map_err(|error| match error {
            AppendError::UnknownRoom => {
                AppendError::NotFound(format!("{room_id} is not known here"))
            }
            other => other,
        })?;
        if !self.may_set(sender, room, CANONICAL_ALIAS).await? {
            return Err(AppendError::Forbidden(
                "you may not change this room's place in the directory".to_owned(),
            ));
        }
        let rooms = self.clone();
        if published {
            let check = move |latest: &Latest| {
                let now = rooms.inner.clock.now().0;
                rules::may_publish(&rooms.inner.options, latest, room, now)
            };
            self.inner.store.prepare(check).await?;
        }
        self.inner
            .store
            .commit(move |_, _, batch| {
                if published {
                    publish(batch, room);
                } else {
                    unpublish(batch, room);
                }
                Ok(())
            })
            .await
    }

    /// Whether the sender is in the room and may set state of this type.
    async fn may_set(
        &self,
        sender: &Sender,
        room: RoomSerial,
        event_type: &'static str,
    ) -> Result<bool, AppendError> {
        let rooms = self.clone();
        let sender = sender.clone();
        self.inner
            .store
            .prepare(move |latest| {
                let mut staging = Staging::load(latest, room, rooms.inner.clock.now().0)?;
                let is_joined =
                    staging.membership(latest, &sender.user_id)? == Some(Membership::Join);
                Ok(is_joined
                    && staging.power_levels(latest)?.is_some_and(|levels| {
                        let power = levels.user(&sender.user_id);
                        power.reaches(levels.to_send_state(event_type))
                    }))
            })
            .await
    }
}

fn is_joined(view: &impl Read, room: RoomSerial, user: UserSerial) -> Result<bool, StoreError> {
    let membership = view.get(&tables::MEMBER_BY_ROOM, &(room, user))?;
    Ok(membership == Some(Membership::Join))
}

fn unknown_alias(alias: &RoomAliasId) -> AppendError {
    AppendError::NotFound(format!("there is no room {alias}"))
}

/// Writes the rows of a new alias. Runs inside a commit's closure.
///
/// # Errors
/// [`AppendError::AliasTaken`] if there is one of that name.
pub(crate) fn add_alias(
    latest: &Latest,
    batch: &mut Batch,
    alias: &str,
    room: RoomSerial,
    creator: UserSerial,
) -> Result<(), AppendError> {
    let alias = alias.to_owned();
    if latest.contains(&tables::ALIAS_BY_NAME, &alias)? {
        return Err(AppendError::AliasTaken(alias));
    }
    batch.put(
        &tables::ALIAS_BY_NAME,
        &alias,
        &AliasRecord { room, creator },
    );
    batch.put(&tables::ALIAS_BY_ROOM, &(room, alias), &());
    Ok(())
}

/// The room's canonical alias event as it is without one alias.
fn without_alias(latest: &Latest, staging: &mut Staging, alias: &str) -> Result<Plan, AppendError> {
    let Some(current) = staging.state_event(latest, CANONICAL_ALIAS, "")? else {
        return Ok(Plan::Nothing(None));
    };
    let before: CanonicalJsonObject = current.event.content_as()?;
    let mut content = before.clone();
    let is_it = |value: &CanonicalJsonValue| value.as_str() == Some(alias);
    if content.get("alias").is_some_and(is_it) {
        content.remove("alias");
    }
    if let Some(CanonicalJsonValue::Array(alt_aliases)) = content.get_mut("alt_aliases") {
        alt_aliases.retain(|value| !is_it(value));
    }
    if content == before {
        return Ok(Plan::Nothing(None));
    }
    Ok(Plan::event(NewEvent::state(CANONICAL_ALIAS, "", content)))
}

/// The room that an alias of this server names.
///
/// # Errors
/// [`ReadError::NotFound`] if there is no such alias.
pub fn resolve_alias(view: &impl Read, alias: &RoomAliasId) -> Result<OwnedRoomId, ReadError> {
    let unknown = || ReadError::NotFound(format!("there is no room {alias}"));
    let record = view
        .get(&tables::ALIAS_BY_NAME, &alias.to_string())?
        .ok_or_else(unknown)?;
    model::room_id(view, record.room)?
        .and_then(|room_id| OwnedRoomId::try_from(room_id).ok())
        .ok_or_else(unknown)
}

/// The aliases of a room, for its members, or for all if the world may read it.
///
/// # Errors
/// [`ReadError::Forbidden`] for others.
pub fn aliases(
    view: &impl Read,
    room_id: &RoomId,
    user: UserSerial,
) -> Result<Vec<String>, ReadError> {
    let room = room_serial(view, room_id.as_str())?.ok_or_else(not_in_the_room)?;
    if let Access::Left(_) = Access::of(view, room, user)? {
        return Err(not_in_the_room());
    }
    let mut aliases = Vec::new();
    for row in view.scan(&tables::ALIAS_BY_ROOM, &(room,)) {
        aliases.push(row?.0.1);
    }
    Ok(aliases)
}

/// Puts a room into the public directory. Runs inside the commit's closure.
pub(crate) fn publish(batch: &mut Batch, room: RoomSerial) {
    batch.put(&tables::PUBLISHED_ROOM, &room, &());
    batch.wake(model::publication_scope());
}

/// Takes a room out of it. Runs inside the commit's closure.
pub(crate) fn unpublish(batch: &mut Batch, room: RoomSerial) {
    batch.delete(&tables::PUBLISHED_ROOM, &room);
    batch.wake(model::publication_scope());
}

/// Whether a room stands in the public directory.
///
/// # Errors
/// [`ReadError::NotFound`] for an unknown room.
pub fn is_published(view: &impl Read, room_id: &RoomId) -> Result<bool, ReadError> {
    let room = room_serial(view, room_id.as_str())?
        .ok_or_else(|| ReadError::NotFound(format!("{room_id} is not known here")))?;
    Ok(view.contains(&tables::PUBLISHED_ROOM, &room)?)
}
