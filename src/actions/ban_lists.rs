//! Which ban lists this server heeds.

use accounts::Session;
use audit::Verb;
use model::{BanListRecord, DeviceSerial, Roles};
use rooms::{BanList, ban_lists};
use ruma_common::{OwnedRoomId, OwnedServerName, RoomOrAliasId};
use serde_json::json;
use store::Snapshot;

use crate::{Actions, AdministrationError, Administrator, Right};

impl Actions {
    /// Heeds the ban list of a room. If nobody of this server is in it, the server itself goes in,
    /// by way of the alias or of `via`.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn heed_ban_list(
        &self,
        by: &Administrator,
        room: &RoomOrAliasId,
        via: &[OwnedServerName],
    ) -> Result<OwnedRoomId, AdministrationError> {
        by.must(Right::ChangeBanLists)?;
        let (room_id, _) = self.find_room(room, via).await?;
        if self.rooms.part_of(&room_id).await?.is_none() {
            let server = self.server_session().await?;
            self.join(&server, room, via, b"{}").await?;
        }
        let serial = self.room_of(room_id.as_str()).await?;
        let record = BanListRecord {
            by: by.user_id(),
            at: self.clock.now().0,
        };
        let deed = by.act().did(Verb::BanListChanged).within(room_id.as_str());
        let deed = deed.before(json!(false)).after(json!(true));
        self.rooms.set_ban_list(serial, Some(record), deed).await?;
        log::info!(room_id = room_id.as_str(), administrator = by.name(); "a ban list is heeded");
        Ok(room_id)
    }

    /// Does not heed the ban list of a room any more.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn ignore_ban_list(
        &self,
        by: &Administrator,
        room: &str,
    ) -> Result<bool, AdministrationError> {
        by.must(Right::ChangeBanLists)?;
        let serial = self.room_of(room).await?;
        let room_id = self.room_id_of(serial).await?;
        let deed = by.act().did(Verb::BanListChanged).within(room_id.as_str());
        let deed = deed.before(json!(true)).after(json!(false));
        let was = self.rooms.set_ban_list(serial, None, deed).await?;
        log::info!(room_id = room_id.as_str(), administrator = by.name(); "a ban list is not heeded any more");
        Ok(was)
    }

    /// The ban lists that this server heeds, with their rules.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn ban_lists(&self, by: &Administrator) -> Result<Vec<BanList>, AdministrationError> {
        by.must(Right::ShowBanLists)?;
        let read = |view: &Snapshot| ban_lists(view);
        Ok(self.rooms.store().read_long(read).await?)
    }

    /// The server itself as who goes into a room.
    async fn server_session(&self) -> Result<Session, AdministrationError> {
        let (user_id, user) = self
            .accounts
            .server_user()
            .await
            .map_err(|error| AdministrationError::NotFound(error.to_string()))?;
        Ok(Session {
            user_id,
            user,
            device_id: "".into(),
            device: DeviceSerial(user.0),
            roles: Roles::NONE,
            lacks_second_factor: false,
            is_guest: false,
            own_rate: None,
            service: None,
        })
    }
}
