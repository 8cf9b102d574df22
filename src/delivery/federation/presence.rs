//! Telling other servers who is there (server-server API, "Presence").

use std::{collections::BTreeSet, time::Duration};

use model::UserSerial;
use rooms::ShownPresence;
use ruma_common::UserId;
use runtime::Stop;
use serde_json::Value;
use store::StoreError;

use super::{Federation, ephemeral::Notice};

/// How often it is looked who changed.
const LOOK: Duration = Duration::from_secs(1);
/// After how many looks all who are there are told again: other servers forget them after
/// half an hour.
const AGAIN: u32 = 20 * 60;

impl Federation {
    /// Follows who is there, until the server stops.
    pub(super) async fn follow_presence(self, stop: Stop) {
        if !self.rooms().has_presence() {
            return;
        }
        let mut seen = self.rooms().typing_sequence();
        let mut looks = 0;
        loop {
            tokio::select! {
                () = stop.stopped() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
            looks = (looks + 1) % AGAIN;
            let since = (looks > 0).then_some(seen);
            // Before the look: what comes meanwhile is seen twice, not missed.
            let next = self.rooms().typing_sequence();
            if since == Some(next) {
                continue;
            }
            seen = next;
            for (user, shown) in self.rooms().presences_since(since) {
                if let Err(error) = self.presence_changed(user, &shown).await {
                    log::warn!("other servers were not told who is there: {error}");
                }
            }
        }
    }

    async fn presence_changed(
        &self,
        user: UserSerial,
        shown: &ShownPresence,
    ) -> Result<(), StoreError> {
        let own = self.own_name().to_owned();
        let found = self
            .store()
            .read(move |view| {
                let user_id = model::user_id(view, user)?.unwrap_or_default();
                let is_own =
                    UserId::parse(user_id.as_str()).is_ok_and(|id| id.server_name() == own);
                if !is_own {
                    return Ok::<_, StoreError>((user_id, BTreeSet::new()));
                }
                Ok((user_id, rooms::servers_met_by(view, user)?))
            })
            .await?;
        let (user_id, servers) = found;
        if servers.is_empty() {
            return Ok(());
        }
        let mut content = shown.content();
        content["user_id"] = Value::from(user_id);
        // The specification wants it, even of those of whom nobody knows.
        if content["last_active_ago"].is_null() {
            content["last_active_ago"] = 0.into();
        }
        self.tell_soon(&servers, &Notice::Presence(user, content.to_string()));
        Ok(())
    }
}
