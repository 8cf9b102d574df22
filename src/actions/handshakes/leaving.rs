//! Going out of rooms: also of those of which only an invitation or a knock is known.

use accounts::Session;
use model::Membership;
use rooms::{KnownOutside, Outside};
use ruma_common::{CanonicalJsonObject, RoomId, ServerName};

use super::HandshakeError;
use crate::{Actions, sender};

/// The most servers that are asked before somebody goes alone.
const MOST_ASKED: usize = 3;

impl Actions {
    /// Goes out of a room, refuses an invitation or takes back a knock.
    ///
    /// Where nobody of this server is in the room, servers that are in it are told. If none
    /// of them answers, the user is out nevertheless, as far as this server is concerned.
    ///
    /// # Errors
    /// [`HandshakeError`].
    pub async fn leave(
        &self,
        session: &Session,
        room_id: &RoomId,
        reason: Option<String>,
    ) -> Result<(), HandshakeError> {
        if !self.rooms.is_here(room_id).await?
            && let Some(known) = self.rooms.known_outside(session.user, room_id).await?
        {
            let turn = self.entries.of(room_id);
            let _turn = turn.lock().await;
            return self.leave_outside(session, room_id, known, reason).await;
        }
        let sender = sender(session);
        Ok(self.rooms.leave(&sender, room_id, reason).await?)
    }

    async fn leave_outside(
        &self,
        session: &Session,
        room_id: &RoomId,
        known: KnownOutside,
        reason: Option<String>,
    ) -> Result<(), HandshakeError> {
        let mut about = CanonicalJsonObject::new();
        if let Some(reason) = reason {
            about.insert("reason".to_owned(), reason.into());
        }
        let about = graph::canonical_text(&about).unwrap_or_default();
        let content = self
            .rooms
            .membership_elsewhere(&sender(session), Membership::Leave, about.as_bytes(), false)
            .await?;
        let mut candidates = self.candidates();
        candidates.add([known.sender.server_name()]);
        candidates.add(known.servers.iter().map(AsRef::as_ref));
        candidates.add(room_id.server_name());
        let mut left = None;
        for server in candidates.into_servers().into_iter().take(MOST_ASKED) {
            match self.leave_by(session, &server, room_id, &content).await {
                Ok(event) => {
                    left = Some(event);
                    break;
                }
                Err(error) => log::info!("{server} does not let {} go: {error}", session.user_id),
            }
        }
        let event = match left {
            Some(event) => event,
            None => {
                let before = self
                    .rooms
                    .outside_member_event(session.user, room_id)
                    .await?;
                self.rooms.leave_alone(&session.user_id, &before)?
            }
        };
        let outside = Outside {
            version: event.version(),
            event,
            state: Vec::new(),
            servers: Vec::new(),
        };
        Ok(self.rooms.set_outside(outside).await?)
    }

    async fn leave_by(
        &self,
        session: &Session,
        server: &ServerName,
        room_id: &RoomId,
        content: &CanonicalJsonObject,
    ) -> Result<graph::Event, HandshakeError> {
        let user_id = &session.user_id;
        let leave = Membership::Leave;
        let (version, template) = self.ask_for_draft(server, room_id, user_id, leave).await?;
        let content = content.clone();
        let event = self
            .rooms
            .propose(version, room_id, user_id, template, content)?;
        self.send_leave(server, &event).await?;
        Ok(event)
    }
}
