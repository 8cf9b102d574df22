//! Invitations by e-mail address or telephone number, once it is known whose it is
//! (server-server API, "Third-party invites").

use http::Method;
use peers::Ask;
use rooms::Sender;
use ruma_common::{CanonicalJsonObject, OwnedUserId, RoomId, UserId};
use store::Snapshot;

use super::{HandshakeError, asking::escaped};
use crate::Actions;

impl Actions {
    /// Turns the invitation of an address into that of a user: `content` is that of the
    /// membership, with the word of the identity server. The sender, one of this server's
    /// users, has invited the address.
    ///
    /// # Errors
    /// [`HandshakeError`].
    pub async fn exchange_invitation(
        &self,
        room_id: &RoomId,
        sender: &UserId,
        target: &UserId,
        mut content: CanonicalJsonObject,
    ) -> Result<(), HandshakeError> {
        content.insert("membership".to_owned(), "invite".to_owned().into());
        let sender = self.local_sender(sender.to_owned()).await?;
        if self.is_local(target) {
            let invited = rooms::NewEvent::state("m.room.member", target.as_str(), content);
            let part = self.rooms.part_of(room_id).await?;
            let (room, _) = part.ok_or(HandshakeError::NoServer)?;
            self.rooms.append(room, &sender, vec![invited]).await?;
            return Ok(());
        }
        self.invite_elsewhere(&sender, room_id, target, content)
            .await?;
        Ok(())
    }

    /// Tells the room that an address, which was invited to it, is now known to be a user
    /// of this server's.
    ///
    /// # Errors
    /// [`HandshakeError`].
    pub async fn address_bound(
        &self,
        room_id: &RoomId,
        sender: &UserId,
        target: &UserId,
        content: CanonicalJsonObject,
    ) -> Result<(), HandshakeError> {
        if !self.is_local(target) {
            return Err(HandshakeError::Invalid(format!(
                "{target} is not a user of this server"
            )));
        }
        if self.is_local(sender) {
            return self
                .exchange_invitation(room_id, sender, target, content)
                .await;
        }
        let mut content = content;
        content.insert("membership".to_owned(), "invite".to_owned().into());
        let event = CanonicalJsonObject::from([
            ("type".to_owned(), "m.room.member".to_owned().into()),
            ("room_id".to_owned(), room_id.to_string().into()),
            ("sender".to_owned(), sender.to_string().into()),
            ("state_key".to_owned(), target.to_string().into()),
            ("content".to_owned(), content.into()),
        ]);
        let path = format!(
            "/_matrix/federation/v1/exchange_third_party_invite/{}",
            escaped(room_id.as_str())
        );
        let ask = Ask::new("exchange_third_party_invite");
        self.peers
            .ask_json(sender.server_name(), Method::PUT, &path, Some(&event), ask)
            .await?;
        Ok(())
    }

    async fn local_sender(&self, user_id: OwnedUserId) -> Result<Sender, HandshakeError> {
        let name = user_id.clone();
        let read = move |view: &Snapshot| {
            let found = accounts::find(view, &name)?;
            Ok::<_, store::StoreError>(
                found.filter(|(_, account)| account.deactivated_at.is_none()),
            )
        };
        let found = self.rooms.store().read(read).await?;
        let (user, _) = found.ok_or_else(|| {
            HandshakeError::Invalid(format!("{user_id} is not a user of this server"))
        })?;
        Ok(Sender {
            user_id,
            user,
            device: None,
            sent_at: None,
        })
    }
}
