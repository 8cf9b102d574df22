//! The room in which the server speaks to one of its users (client-server API, "Server
//! Notices").

use audit::Deed;
use model::{Membership, RoomSerial, UserSerial, tables};
use ruma_common::{OwnedEventId, OwnedUserId};
use serde_json::json;
use store::{Read, Snapshot};

use crate::{
    AppendError, CreateRoom, NewEvent, Rooms, Sender,
    append::Plan,
    create::Preset,
    membership::member_event,
    profile,
    rows::Extra,
    send::{last, transaction},
    transactions::send_scope,
};
use graph::{MAX_JSON_DEPTH, canonical};

/// What the server has to say.
#[derive(Clone, Debug)]
pub struct Notice {
    /// To whom.
    pub user_id: OwnedUserId,
    /// The user's serial.
    pub user: UserSerial,
    /// The event type, `m.room.message` mostly.
    pub event_type: String,
    /// The state key, for state.
    pub state_key: Option<String>,
    /// The content, a JSON object.
    pub content: Vec<u8>,
    /// The transaction id, with whom it is of: the same one makes one event.
    pub transaction: Option<(Sender, String)>,
    /// What the audit trail is told in the same commit, with the event's id.
    pub deed: Option<Deed>,
}

/// A notice that was sent.
#[derive(Clone, Debug)]
pub struct SentNotice {
    /// The event.
    pub event_id: OwnedEventId,
    /// The user's room for notices.
    pub room: RoomSerial,
}

/// What the audit trail is told beside a notice.
fn told(deed: Option<Deed>, now: u64) -> Extra {
    let Some(deed) = deed else {
        return Extra::none();
    };
    Extra::beside(move |latest, staging, batch| {
        let event_id = staging.events.last().map(|staged| staged.event.event_id());
        let deed = deed.after(json!({ "event_id": event_id }));
        Ok(audit::record(latest, batch, now, &[deed])?)
    })
}

impl Rooms {
    /// Says something to a user, in the name of `server`. The user has one room for that,
    /// made with the first notice; who has left it is invited again.
    ///
    /// # Errors
    /// [`AppendError`]; [`AppendError::Invalid`] for content that is no JSON object.
    pub async fn notice(&self, server: &Sender, notice: Notice) -> Result<SentNotice, AppendError> {
        let content = canonical(&notice.content, MAX_JSON_DEPTH)?;
        let (room, room_id) = self.notice_room(server, &notice).await?;
        let by_client = match &notice.transaction {
            Some((client, id)) => {
                transaction(client, send_scope(&notice.event_type, &room_id), id)?
            }
            None => None,
        };
        let event = NewEvent {
            event_type: notice.event_type,
            state_key: notice.state_key,
            content,
            redacts: None,
            sticky: None,
        };
        let target = notice.user_id;
        let told = told(notice.deed, self.inner.clock.now().0);
        let (appended, written) = self
            .append_beside(room, server, by_client, told, move |latest, staging| {
                let membership = staging.membership(latest, &target)?;
                let mut events = Vec::new();
                if !matches!(membership, Some(Membership::Join | Membership::Invite)) {
                    let content = profile::membership("invite", None);
                    events.push(member_event(&target, content));
                }
                events.push(event);
                Ok(Plan::Events(events))
            })
            .await?;
        match written {
            Some(written) => written.durable().await?,
            None => self.wait_for_earlier().await?,
        }
        Ok(SentNotice {
            event_id: last(appended)?,
            room,
        })
    }

    /// The user's room for notices, with its id.
    async fn notice_room(
        &self,
        server: &Sender,
        notice: &Notice,
    ) -> Result<(RoomSerial, String), AppendError> {
        if let Some(known) = self.known_notice_room(notice.user).await? {
            return Ok(known);
        }
        let wish = CreateRoom {
            preset: Some(Preset::PrivateChat),
            name: Some("Server notices".to_owned()),
            invite: vec![notice.user_id.clone()],
            // Nobody but the server speaks here.
            power_level_content_override: canonical(
                json!({ "events_default": 50, "users_default": 0, "invite": 100 })
                    .to_string()
                    .as_bytes(),
                MAX_JSON_DEPTH,
            )?,
            notices_for: Some(notice.user),
            ..CreateRoom::default()
        };
        match self.create(server, wish).await {
            // Another notice has made it meanwhile.
            Ok(_) | Err(AppendError::BadState(_)) => {}
            Err(error) => return Err(error),
        }
        self.known_notice_room(notice.user)
            .await?
            .ok_or(AppendError::UnknownRoom)
    }

    async fn known_notice_room(
        &self,
        user: UserSerial,
    ) -> Result<Option<(RoomSerial, String)>, AppendError> {
        self.inner
            .store
            .prepare(move |latest| {
                let Some(room) = latest.get(&tables::NOTICE_ROOM_BY_USER, &user)? else {
                    return Ok(None);
                };
                Ok(model::room_id(latest, room)?.map(|room_id| (room, room_id)))
            })
            .await
    }

    /// Whether the room is the one in which the server speaks to the user.
    pub(crate) async fn is_notice_room(
        &self,
        user: UserSerial,
        room: RoomSerial,
    ) -> Result<bool, AppendError> {
        let read = move |view: &Snapshot| view.get(&tables::NOTICE_ROOM_BY_USER, &user);
        let known = self.inner.store.read_quickly(read).await?;
        Ok(known == Some(room))
    }
}
