//! Sync tokens where other endpoints take them.

use accounts::Session;
use rooms::PlaceToken;
use ruma_common::RoomId;

use store::Position;

use crate::{
    DeviceListChanges, Sync, SyncError, SyncToken, device_lists, token::SlidingToken,
    window::Window,
};

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
        let (from, to) = (position(from), position(to));
        let no_token = || SyncError::Invalid("the token is not a sync token".to_owned());
        let (from, to) = (from.ok_or_else(no_token)?, to.ok_or_else(no_token)?);
        let (sync, user) = (self.clone(), session.user);
        self.inner
            .store
            .read(move |snapshot| {
                let rooms = &sync.inner.rooms;
                let window = Window::read(rooms, snapshot, Some(from), user)?;
                device_lists::changes(&sync.inner.store, &window, to)
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
        let Some(position) = position(token) else {
            return Ok(None);
        };
        let room_id = room_id.to_string();
        self.inner
            .store
            .read(move |snapshot| {
                let Some(room) = rooms::room_serial(snapshot, &room_id)? else {
                    return Ok(None);
                };
                Ok(Some(PlaceToken::at_position(snapshot, room, position)?))
            })
            .await
    }
}

/// Whether this is a token that a sync of either kind gives.
pub fn is_sync_token(text: &str) -> bool {
    position(text).is_some()
}

/// The commit up to which a sync of either kind has told.
fn position(token: &str) -> Option<Position> {
    let sliding = || SlidingToken::parse(token).map(|token| token.position);
    SyncToken::parse(token)
        .map(|token| token.position)
        .or_else(sliding)
}
