//! Saying something in a room.

use graph::{MAX_JSON_DEPTH, Reason, canonical};
use model::{AliasRecord, RoomSerial, tables};
use ruma_common::{
    CanonicalJsonObject, CanonicalJsonValue, EventId, OwnedEventId, RoomAliasId, RoomId, UserId,
};
use store::{Latest, Read};

use crate::{
    AppendError, Appended, NewEvent, Rooms, Sender,
    append::{Plan, Transaction},
    guests::GUEST_ACCESS,
    relations::{Relation, check_root},
    staging::Staging,
    transactions::{redact_scope, send_scope},
};

/// The longest transaction id, in bytes.
const MAX_TRANSACTION_ID: usize = 255;

impl Rooms {
    /// Sends an event that is no state. `content` is JSON as the client sent it. The
    /// same transaction id of the same device makes one event, however often it comes.
    ///
    /// # Errors
    /// [`AppendError`]. An `m.room.redaction` must name its target in the content's
    /// `redacts`. [`AppendError::BadState`] for a thread that cannot begin where it
    /// should.
    pub async fn send(
        &self,
        sender: &Sender,
        room_id: &RoomId,
        event_type: &str,
        transaction_id: &str,
        content: &[u8],
    ) -> Result<OwnedEventId, AppendError> {
        self.send_sticky(sender, room_id, event_type, transaction_id, content, None)
            .await
    }

    /// [`Rooms::send`] of an event that is sticky for so many ms (MSC4354).
    ///
    /// # Errors
    /// As [`Rooms::send`].
    pub async fn send_sticky(
        &self,
        sender: &Sender,
        room_id: &RoomId,
        event_type: &str,
        transaction_id: &str,
        content: &[u8],
        sticky: Option<u64>,
    ) -> Result<OwnedEventId, AppendError> {
        let scope = send_scope(event_type, room_id.as_str());
        let transaction = transaction(sender, scope, transaction_id)?;
        let room = self.room(room_id).await?;
        let plan = message_plan(room, event_type, content, sticky)?;
        let appended = self.append_with(room, sender, transaction, plan).await?;
        last(appended)
    }

    /// Takes the content of an event away.
    ///
    /// # Errors
    /// [`AppendError`]; [`AppendError::UnknownTarget`] if the event is not in the room.
    pub async fn redact(
        &self,
        sender: &Sender,
        room_id: &RoomId,
        target: &EventId,
        transaction_id: &str,
        reason: Option<String>,
    ) -> Result<OwnedEventId, AppendError> {
        let scope = redact_scope(target.as_str(), room_id.as_str());
        let transaction = transaction(sender, scope, transaction_id)?;
        let mut content = CanonicalJsonObject::new();
        if let Some(reason) = reason {
            content.insert("reason".to_owned(), reason.into());
        }
        let event = redaction(target.to_owned(), content);
        let room = self.room(room_id).await?;
        let appended = self
            .append_with(room, sender, transaction, move |_, _| {
                Ok(Plan::event(event))
            })
            .await?;
        last(appended)
    }

    /// Sets state. `content` is JSON as the client sent it. State that says the same of
    /// the same sender already stays as it is.
    ///
    /// # Errors
    /// [`AppendError`]; [`AppendError::Invalid`] and [`AppendError::BadAlias`] for
    /// aliases that are none or name another room.
    pub async fn set_state(
        &self,
        sender: &Sender,
        room_id: &RoomId,
        event_type: &str,
        state_key: &str,
        content: &[u8],
    ) -> Result<OwnedEventId, AppendError> {
        self.set_state_sticky(sender, room_id, event_type, state_key, content, None)
            .await
    }

    /// [`Rooms::set_state`] that is sticky for so many ms (MSC4354).
    ///
    /// # Errors
    /// As [`Rooms::set_state`].
    pub async fn set_state_sticky(
        &self,
        sender: &Sender,
        room_id: &RoomId,
        event_type: &str,
        state_key: &str,
        content: &[u8],
        sticky: Option<u64>,
    ) -> Result<OwnedEventId, AppendError> {
        let room = self.room(room_id).await?;
        let plan = self.state_plan(sender, event_type, state_key, content, sticky)?;
        let appended = self.append_with(room, sender, None, plan).await?;
        if event_type == GUEST_ACCESS {
            self.let_guests_go(room).await;
        }
        last(appended)
    }

    /// How state of these words enters a room.
    pub(crate) fn state_plan(
        &self,
        sender: &Sender,
        event_type: &str,
        state_key: &str,
        content: &[u8],
        sticky: Option<u64>,
    ) -> Result<impl FnOnce(&Latest, &mut Staging) -> Result<Plan, AppendError> + use<>, AppendError>
    {
        let content = canonical(content, MAX_JSON_DEPTH)?;
        let (rooms, who) = (self.clone(), sender.clone());
        let mut event = NewEvent::state(event_type, state_key, content);
        event.sticky = sticky;
        Ok(move |latest: &Latest, staging: &mut Staging| {
            rooms.plan_state(latest, staging, &who, event)
        })
    }

    fn plan_state(
        &self,
        latest: &Latest,
        staging: &mut Staging,
        sender: &Sender,
        mut event: NewEvent,
    ) -> Result<Plan, AppendError> {
        let state_key = event.state_key.clone().unwrap_or_default();
        match event.event_type.as_str() {
            "m.room.member" => {
                let target = UserId::parse(state_key.as_str()).map_err(|_| {
                    AppendError::Invalid("a membership's state key is a user id".to_owned())
                })?;
                self.complete_member(latest, staging, sender, &target, &mut event.content)?;
            }
            "m.room.canonical_alias" => check_aliases(latest, staging, &event.content)?,
            _ => {}
        }
        let current = staging.state_event(latest, &event.event_type, &state_key)?;
        // What is sticky is sent for its time, and said again.
        if event.sticky.is_none()
            && let Some(current) = current
            && current.event.sender() == sender.user_id
            && !latest.contains(&tables::REDACTION_BY_EVENT, &current.serial)?
            && current.event.content_as::<CanonicalJsonObject>()? == event.content
        {
            return Ok(Plan::Nothing(Some(Appended {
                event_id: current.event.event_id().to_owned(),
                event: current.serial,
                room: staging.room,
            })));
        }
        Ok(Plan::event(event))
    }
}

/// How an event that is no state enters a room.
pub(crate) fn message_plan(
    room: RoomSerial,
    event_type: &str,
    content: &[u8],
    sticky: Option<u64>,
) -> Result<impl FnOnce(&Latest, &mut Staging) -> Result<Plan, AppendError> + use<>, AppendError> {
    let relation = Relation::of_content(content);
    let content = canonical(content, MAX_JSON_DEPTH)?;
    let mut event = match event_type {
        "m.room.redaction" => redaction_in_content(content)?,
        _ => NewEvent::message(event_type, content),
    };
    event.sticky = sticky;
    Ok(move |latest: &Latest, _: &mut Staging| {
        check_root(latest, room, relation)?;
        Ok(Plan::event(event))
    })
}

pub(crate) fn last(appended: Vec<Appended>) -> Result<OwnedEventId, AppendError> {
    appended
        .into_iter()
        .next_back()
        .map(|appended| appended.event_id)
        .ok_or(AppendError::UnknownTarget)
}

pub(crate) fn transaction(
    sender: &Sender,
    scope: String,
    transaction_id: &str,
) -> Result<Option<Transaction>, AppendError> {
    if transaction_id.len() > MAX_TRANSACTION_ID {
        return Err(AppendError::Invalid(format!(
            "a transaction id has at most {MAX_TRANSACTION_ID} bytes"
        )));
    }
    Ok(sender
        .device
        .map(|device| (device, scope, transaction_id.to_owned())))
}

pub(crate) fn redaction(target: OwnedEventId, content: CanonicalJsonObject) -> NewEvent {
    NewEvent {
        redacts: Some(target),
        ..NewEvent::message("m.room.redaction", content)
    }
}

/// A redaction that a client sent as an event of its own.
fn redaction_in_content(mut content: CanonicalJsonObject) -> Result<NewEvent, AppendError> {
    let Some(CanonicalJsonValue::String(target)) = content.remove("redacts") else {
        return Err(Reason::BadFormat("a redaction names its target in redacts".to_owned()).into());
    };
    let target = OwnedEventId::try_from(target)
        .map_err(|error| AppendError::Invalid(format!("redacts: {error}")))?;
    Ok(redaction(target, content))
}

/// Aliases that a canonical alias event newly names must be aliases of this room.
fn check_aliases(
    latest: &Latest,
    staging: &mut Staging,
    content: &CanonicalJsonObject,
) -> Result<(), AppendError> {
    let before = match staging.state_event(latest, "m.room.canonical_alias", "")? {
        Some(kept) => named_aliases(&kept.event.content_as()?),
        None => Ok(Vec::new()),
    }
    .unwrap_or_default();
    for alias in named_aliases(content)? {
        if before.contains(&alias) {
            continue;
        }
        RoomAliasId::parse(alias.as_str())
            .map_err(|error| AppendError::Invalid(format!("the alias {alias}: {error}")))?;
        let names: Option<AliasRecord> = latest.get(&tables::ALIAS_BY_NAME, &alias)?;
        if names.is_none_or(|record| record.room != staging.room) {
            return Err(AppendError::BadAlias(format!(
                "the alias {alias} does not point to this room"
            )));
        }
    }
    Ok(())
}

/// The aliases of a canonical alias event.
///
/// # Errors
/// [`AppendError::Invalid`] if one is not text.
pub(crate) fn named_aliases(content: &CanonicalJsonObject) -> Result<Vec<String>, AppendError> {
    let mut aliases = Vec::new();
    let mut name = |value: &CanonicalJsonValue| match value {
        CanonicalJsonValue::String(alias) => {
            // An empty alias is how some clients take one away.
            aliases.extend((!alias.is_empty()).then(|| alias.clone()));
            Ok(())
        }
        CanonicalJsonValue::Null => Ok(()),
        _ => Err(AppendError::Invalid("an alias is text".to_owned())),
    };
    if let Some(alias) = content.get("alias") {
        name(alias)?;
    }
    match content.get("alt_aliases") {
        Some(CanonicalJsonValue::Array(alt_aliases)) => alt_aliases.iter().try_for_each(name)?,
        None | Some(CanonicalJsonValue::Null) => {}
        Some(_) => return Err(AppendError::Invalid("alt_aliases is a list".to_owned())),
    }
    Ok(aliases)
}
