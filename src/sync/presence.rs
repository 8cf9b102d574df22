//! Who is there, as `/sync` tells it (client-server API, "Presence").

use std::collections::BTreeMap;

use accounts::Session;
use model::UserSerial;
use rooms::{Present, ShownPresence};
use ruma_common::presence::PresenceState;
use serde_json::json;

use crate::{Sync, SyncError, v3::Question, window::Window};

impl Sync {
    /// Shows a user as they want while what is returned lasts: a sync of either kind.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn present(
        &self,
        session: &Session,
        wanted: PresenceState,
    ) -> Result<Option<Present>, SyncError> {
        let (user, device) = (session.user, session.device);
        Ok(self.inner.rooms.present(user, device, wanted).await?)
    }

    /// The presence of those who share a room with the user, as far as it changed since,
    /// or as the user has come to share one.
    pub(crate) fn presence(
        &self,
        question: &Question,
        window: &Window<'_>,
    ) -> Result<Vec<String>, SyncError> {
        let rooms = &self.inner.rooms;
        if !question.presence.allows_type("m.presence") {
            return Ok(Vec::new());
        }
        let since = question.since.map(|token| token.ephemeral);
        let mut news = BTreeMap::new();
        for (user, presence) in rooms.presences_since(since) {
            if user == window.user || window.shares_room(user)? {
                news.insert(user, presence);
            }
        }
        if since.is_some() {
            for (room, record) in window.joined() {
                if window.is_new(record.last_join) {
                    news.extend(rooms.presences_in(window.snapshot, room)?);
                }
            }
        }
        let mut events = Vec::new();
        for (user, presence) in news {
            events.extend(event(question, window, user, &presence)?);
        }
        Ok(events)
    }
}

fn event(
    question: &Question,
    window: &Window<'_>,
    user: UserSerial,
    presence: &ShownPresence,
) -> Result<Option<String>, SyncError> {
    let sender = model::user_id(window.snapshot, user)?;
    Ok(sender
        .filter(|sender| question.presence.allows_sender(sender))
        .map(|sender| {
            let content = presence.content();
            json!({ "type": "m.presence", "sender": sender, "content": content }).to_string()
        }))
}
