//! Asking to be invited.

use accounts::Session;
use model::Membership;
use rooms::Outside;
use ruma_common::{CanonicalJsonObject, OwnedRoomId, OwnedServerName, RoomId, RoomOrAliasId};

use super::{HandshakeError, worse};
use crate::{Actions, sender};

impl Actions {
    /// Asks to be invited to a room of this server, or of one of `via`.
    ///
    /// # Errors
    /// [`HandshakeError`].
    pub async fn knock(
        &self,
        session: &Session,
        target: &RoomOrAliasId,
        via: &[OwnedServerName],
        reason: Option<String>,
    ) -> Result<OwnedRoomId, HandshakeError> {
        let (room_id, servers) = self.find_room(target, via).await?;
        if self.rooms.is_here(&room_id).await? {
            let sender = sender(session);
            let knocked = self.rooms.knock(&sender, (&*room_id).into(), reason).await;
            return Ok(knocked?);
        }
        let turn = self.entries.of(&room_id);
        let _turn = turn.lock().await;
        let mut about = CanonicalJsonObject::new();
        if let Some(reason) = reason {
            about.insert("reason".to_owned(), reason.into());
        }
        let about = graph::canonical_text(&about).unwrap_or_default();
        let mut candidates = self.candidates();
        candidates.add(servers.iter().map(AsRef::as_ref));
        candidates.add(room_id.server_name());
        let mut failure = None;
        let servers = self.in_order(candidates.into_servers());
        for server in &servers {
            let knocked = self
                .knock_at(session, server, &room_id, about.as_bytes(), &servers)
                .await;
            match knocked {
                Ok(()) => return Ok(room_id),
                Err(error) if error.is_final() => return Err(error),
                Err(error) => failure = Some(worse(failure, error)),
            }
        }
        Err(failure.unwrap_or(HandshakeError::NoServer))
    }

    async fn knock_at(
        &self,
        session: &Session,
        server: &OwnedServerName,
        room_id: &RoomId,
        about: &[u8],
        servers: &[OwnedServerName],
    ) -> Result<(), HandshakeError> {
        let user_id = &session.user_id;
        let knock = Membership::Knock;
        let content = self
            .rooms
            .membership_elsewhere(&sender(session), knock, about, false)
            .await?;
        let (version, template) = self.ask_for_draft(server, room_id, user_id, knock).await?;
        let event = self
            .rooms
            .propose(version, room_id, user_id, template, content)?;
        let state = self.send_knock(server, &event).await?;
        let servers = std::iter::once(server).chain(servers).cloned().collect();
        let outside = Outside {
            version,
            event,
            state,
            servers,
        };
        Ok(self.rooms.set_outside(outside).await?)
    }
}
