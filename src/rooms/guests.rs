//! Guests go when their room no longer lets them in (client-server API, "Guest Access").

use model::{Membership, RoomSerial, UserSerial, tables};
use ruma_common::OwnedUserId;
use store::{Latest, Read, StoreError};

use crate::{AppendError, NewEvent, Rooms, Sender, append::Plan, profile, standing::takes_guests};

/// The type of the event that says whether a room takes guests.
pub(crate) const GUEST_ACCESS: &str = "m.room.guest_access";

impl Rooms {
    /// Lets the guests leave a room that takes none, after its rule for guests changed, or one
    /// came in before it was known. Who cannot leave is passed over: the rule of the room
    /// stands already.
    pub async fn let_guests_go(&self, room: RoomSerial) {
        if let Err(error) = self.try_let_guests_go(room).await {
            log::error!("guests were left in a room that takes none: {error}");
        }
    }

    async fn try_let_guests_go(&self, room: RoomSerial) -> Result<(), AppendError> {
        let guests = self
            .inner
            .store
            .prepare(move |latest| guests_in(latest, room))
            .await?;
        for (user, user_id) in guests {
            let guest = Sender {
                user_id,
                user,
                device: None,
                sent_at: None,
            };
            let who = guest.user_id.clone();
            self.append_with(room, &guest, None, move |latest, staging| {
                let is_in = staging.membership(latest, &who)? == Some(Membership::Join);
                if !is_in || takes_guests(latest, staging)? {
                    return Ok(Plan::Nothing(None));
                }
                let content = profile::membership("leave", None);
                let leave = NewEvent::state("m.room.member", who.as_str(), content);
                Ok(Plan::event(leave))
            })
            .await?;
            if self.inner.typing.stop(room, user) {
                self.inner.store.wake(model::room_scope(room));
            }
        }
        Ok(())
    }
}

fn guests_in(
    latest: &Latest,
    room: RoomSerial,
) -> Result<Vec<(UserSerial, OwnedUserId)>, StoreError> {
    let mut guests = Vec::new();
    for row in latest.scan(&tables::MEMBER_BY_ROOM, &(room,)) {
        let ((_, user), membership) = row?;
        if membership != Membership::Join || !accounts::standing(latest, user)?.is_guest {
            continue;
        }
        let user_id = model::user_id(latest, user)?;
        if let Some(user_id) = user_id.and_then(|id| OwnedUserId::try_from(id).ok()) {
            guests.push((user, user_id));
        }
    }
    Ok(guests)
}
