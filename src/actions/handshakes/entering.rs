//! Coming into rooms that other servers give.

use accounts::Session;
use graph::{Event, Received, Unchecked, Version};
use model::Membership;
use peers::PeerError;
use rooms::{AppendError, ImportedRoom, MembersOmitted};
use ruma_common::{OwnedServerName, RoomId, ServerName};
use serde_json::value::RawValue;

use super::{HandshakeError, asking::AboutGiven, worse};
use crate::{Actions, receiving::Place, sender};

impl Actions {
    /// Comes into a room that one of these servers, or one that invites, gives. One at a
    /// time comes into a room; `about` is as [`rooms::Rooms::join`] takes it.
    pub(crate) async fn enter(
        &self,
        session: &Session,
        room_id: &RoomId,
        servers: Vec<OwnedServerName>,
        about: &[u8],
    ) -> Result<(), HandshakeError> {
        let turn = self.entries.of(room_id);
        let _turn = turn.lock().await;
        // Somebody else may have come in meanwhile.
        if self.rooms.is_here(room_id).await? {
            self.join_here(session, room_id, about).await?;
            return Ok(());
        }
        let mut candidates = self.candidates();
        candidates.add(servers.iter().map(AsRef::as_ref));
        if let Some(known) = self.rooms.known_outside(session.user, room_id).await? {
            candidates.add([known.sender.server_name()]);
            candidates.add(known.servers.iter().map(AsRef::as_ref));
        }
        if servers.is_empty() {
            candidates.add(room_id.server_name());
        }
        let mut failure = None;
        for server in self.in_order(candidates.into_servers()) {
            match self.enter_by(session, &server, room_id, about).await {
                Ok(()) => return Ok(()),
                Err(error) if error.is_final() => return Err(error),
                Err(error) => {
                    log::info!("{server} does not let {} in: {error}", session.user_id);
                    failure = Some(worse(failure, error));
                }
            }
        }
        Err(failure.unwrap_or(HandshakeError::NoServer))
    }

    /// Comes into a room by way of one server.
    async fn enter_by(
        &self,
        session: &Session,
        server: &ServerName,
        room_id: &RoomId,
        about: &[u8],
    ) -> Result<(), HandshakeError> {
        let event = self.draft_join(session, server, room_id, about).await?;
        let version = event.version();
        let given = self.send_join(server, &event).await?;
        let omitted = self.omitted(server, &given.about);
        let is_partial = omitted.is_some();
        let joined = self.signed_join(version, &event, given.about.event).await?;
        let room = self.rooms.know_room(room_id, version).await?;
        let place = Place {
            origin: server,
            room,
            room_id,
            version,
        };
        let state = self.keep_given(place, given.events).await?;
        let imported = ImportedRoom {
            room_id: room_id.to_owned(),
            version,
            state,
            event: joined,
            omitted,
        };
        self.rooms.import(imported).await?;
        if is_partial {
            self.partial_rooms.notify_one();
        }
        if session.is_guest {
            // Now it is known what the other server has only said.
            self.rooms.let_guests_go(room).await;
            let part = self.rooms.part_of(room_id).await?;
            part.ok_or(AppendError::GuestsForbidden)?;
        }
        Ok(())
    }

    /// Comes by way of other servers into a room in which this server is too, but in which
    /// nobody of it can let the user in.
    pub(crate) async fn enter_with_help(
        &self,
        session: &Session,
        room_id: &RoomId,
        about: &[u8],
    ) -> Result<(), HandshakeError> {
        let mut failure = None;
        let servers = self.rooms.other_residents(room_id).await?;
        for server in servers.into_iter().take(super::MOST_SERVERS) {
            let entering = async {
                let event = self.draft_join(session, &server, room_id, about).await?;
                let version = event.version();
                let given = self.send_join(&server, &event).await?;
                let joined = self.signed_join(version, &event, given.about.event).await?;
                self.bring_in(&server, room_id, joined).await
            };
            match entering.await {
                Ok(()) => return Ok(()),
                Err(error) if error.is_final() => return Err(error),
                Err(error) => failure = Some(worse(failure, error)),
            }
        }
        Err(failure.unwrap_or(HandshakeError::NoServer))
    }

    async fn draft_join(
        &self,
        session: &Session,
        server: &ServerName,
        room_id: &RoomId,
        about: &[u8],
    ) -> Result<Event, HandshakeError> {
        let sender = sender(session);
        let join = Membership::Join;
        let takes_guests = session.is_guest && self.takes_guests(server, room_id).await;
        // Before anything is made: it may not be allowed at all.
        let content = self
            .rooms
            .membership_elsewhere(&sender, join, about, takes_guests)
            .await?;
        let (version, template) = self
            .ask_for_draft(server, room_id, &session.user_id, join)
            .await?;
        let user_id = &session.user_id;
        Ok(self
            .rooms
            .propose(version, room_id, user_id, template, content)?)
    }

    /// What a server says that gives a room without its members.
    fn omitted(&self, server: &ServerName, given: &AboutGiven) -> Option<MembersOmitted> {
        if !given.members_omitted {
            return None;
        }
        let named = given.servers_in_room.iter().flatten();
        let mut servers: Vec<OwnedServerName> = named
            .filter_map(|name| OwnedServerName::try_from(name.as_str()).ok())
            .filter(|name| name != self.rooms.server_name())
            .collect();
        servers.push(server.to_owned());
        Some(MembersOmitted {
            given_by: server.to_owned(),
            servers,
        })
    }

    /// The join as the other server has signed it; as it was sent, if it needed no second
    /// signature.
    async fn signed_join(
        &self,
        version: Version,
        sent: &Event,
        signed: Option<Box<RawValue>>,
    ) -> Result<Received, HandshakeError> {
        let bad = |text: String| HandshakeError::Peer(PeerError::BadAnswer(text));
        let json = match &signed {
            Some(signed) => signed.get(),
            None => sent.json(),
        };
        let unchecked =
            Unchecked::read(json.as_bytes(), version).map_err(|error| bad(error.to_string()))?;
        let same = if unchecked.event_id() == sent.event_id() {
            unchecked
        } else {
            return Err(bad("it is another event than the one sent".to_owned()));
        };
        match self.check_read(vec![same]).await.pop() {
            Some(Ok(received)) if !received.redacted => Ok(received),
            Some(Err(error)) => Err(bad(error.to_string())),
            _ => Err(bad("the event was changed".to_owned())),
        }
    }

    /// Joins a room in which this server is.
    pub(crate) async fn join_here(
        &self,
        session: &Session,
        room_id: &RoomId,
        about: &[u8],
    ) -> Result<(), HandshakeError> {
        let joined = self
            .rooms
            .join(&sender(session), room_id.into(), about)
            .await;
        match joined {
            Ok(_) => Ok(()),
            Err(error @ (AppendError::UnableToAuthoriseJoin | AppendError::UnableToGrantJoin)) => {
                match self.enter_with_help(session, room_id, about).await {
                    Err(HandshakeError::NoServer) => Err(error.into()),
                    entered => entered,
                }
            }
            Err(error) => Err(error.into()),
        }
    }
}
