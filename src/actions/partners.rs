//! Partners, people from outside, and the rooms that are opened to them.

use accounts::AccountSummary;
use audit::Verb;
use model::{OpenedRoomRecord, PersonKind, RoomSerial};
use ruma_common::OwnedRoomId;
use store::{Snapshot, StoreError};

use crate::{Actions, AdministrationError, Administrator, Right};

/// A room into which partners may come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenedRoom {
    /// Its id.
    pub room_id: String,
    /// Its name.
    pub name: Option<String>,
    /// When it was opened, in ms since the Unix epoch.
    pub at: u64,
    /// By whom; the command line if `None`.
    pub by: Option<String>,
}

impl Actions {
    /// Makes somebody a partner of an organisation, or a member. A partner stays in the rooms
    /// that they are in.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn set_kind_of(
        &self,
        by: &Administrator,
        user: &str,
        kind: PersonKind,
        organisation: Option<String>,
    ) -> Result<AccountSummary, AdministrationError> {
        by.must(Right::ChangeKind)?;
        let found = self.user(user).await?;
        by.must_reach(found.account.roles)?;
        self.accounts
            .set_kind(by.act(), found.user, kind, organisation)
            .await?;
        log::info!(user_id = found.user_id.as_str(), kind = kind.name(); "the kind of a person was set");
        Ok(found)
    }

    /// Opens a room to partners, or closes it to those who are not in it yet. Returns its id.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn open_room_to_partners(
        &self,
        by: &Administrator,
        room: &str,
        is_open: bool,
    ) -> Result<OwnedRoomId, AdministrationError> {
        by.must(Right::OpenRoom)?;
        let serial = self.room_of(room).await?;
        let room_id = self.room_id_of(serial).await?;
        let deed = by.act().did(Verb::RoomOpened).within(room_id.as_str());
        let deed = deed.before((!is_open).into()).after(is_open.into());
        self.rooms
            .set_open_to_partners(serial, by.user_id(), is_open, deed)
            .await?;
        log::info!(room_id = room_id.as_str(), is_open; "a room was opened to partners, or closed");
        Ok(room_id)
    }

    /// The rooms that are open to partners.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn rooms_open_to_partners(
        &self,
        by: &Administrator,
    ) -> Result<Vec<OpenedRoom>, AdministrationError> {
        by.must(Right::ListRooms)?;
        let read = |view: &Snapshot| -> Result<Vec<OpenedRoom>, StoreError> {
            let opened: Vec<(RoomSerial, OpenedRoomRecord)> = rooms::rooms_open_to_partners(view)?;
            let shown = opened.into_iter().map(|(room, record)| {
                Ok(OpenedRoom {
                    room_id: model::room_id(view, room)?.unwrap_or_default(),
                    name: rooms::room_text(view, room, "m.room.name", "name")?,
                    at: record.at,
                    by: record.by,
                })
            });
            shown.collect()
        };
        Ok(self.rooms.store().read_long(read).await?)
    }
}
