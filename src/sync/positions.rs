//! Sync tokens where other endpoints take them.

use accounts::Session;
use rooms::PlaceToken;
use ruma_common::RoomId;

use crate::{DeviceListChanges, Sync, SyncError, SyncToken, device_lists, window::Window};

impl Sync {
    /// `GET /keys/changes`: whose devices changed between two sync tokens.
    ///
    /// # Errors
    /// [`SyncError::Invalid`] for a token that is none.
    pub async fn key_changes(
        &self,
        session: &Session,
        from: &str,
        to: &str,
    ) -> Result<DeviceListChanges, SyncError> {
        let (from, to) = (self.token(from)?, self.token(to)?);
        let (sync, user) = (self.clone(), session.user);
        self.inner
            .store
            .read(move |snapshot| {
                let rooms = &sync.inner.rooms;
                let window = Window::read(rooms, snapshot, Some(from.position), user)?;
                device_lists::changes(&sync.inner.store, &window, to.position)
            })
            .await
    }

    /// The gap in a room's timeline at which a sync token stands, for `/messages`;
    /// `None` for text that is no sync token or a room without events.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn place(
        &self,
        room_id: &RoomId,
        token: &str,
    ) -> Result<Option<PlaceToken>, SyncError> {
        let Some(token) = SyncToken::parse(token) else {
            return Ok(None);
        };
        let room_id = room_id.to_string();
        self.inner
            .store
            .read(move |snapshot| {
                let Some(room) = rooms::room_serial(snapshot, &room_id)? else {
                    return Ok(None);
                };
                Ok(Some(PlaceToken::at_position(
                    snapshot,
                    room,
                    token.position,
                )?))
            })
            .await
    }

    fn token(&self, text: &str) -> Result<SyncToken, SyncError> {
        SyncToken::parse(text)
            .ok_or_else(|| SyncError::Invalid("the token is not a sync token".to_owned()))
    }
}
