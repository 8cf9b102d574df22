//! Telling other servers who types (server-server API, "Typing Notifications").

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use model::RoomSerial;
use ruma_common::OwnedUserId;
use runtime::Stop;
use store::StoreError;
use tokio::{
    sync::broadcast::error::RecvError,
    time::{Instant, MissedTickBehavior},
};

use super::{Federation, ephemeral::Notice};

/// After how long it is said again that somebody types: other servers forget it after a
/// minute.
const AGAIN: Duration = Duration::from_secs(40);
/// How often it is looked for whom that concerns.
const LOOK: Duration = Duration::from_secs(10);
/// The most rooms of which is known what others were told.
const MAX_ROOMS: usize = 10_000;

/// Who types as other servers were told, and when that was.
type Told = HashMap<RoomSerial, BTreeMap<OwnedUserId, Instant>>;

impl Federation {
    /// Follows who types, until the server stops.
    pub(super) async fn follow_typing(self, stop: Stop) {
        let mut changes = self.rooms().typing_changes();
        let mut told = Told::new();
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let changed = tokio::select! {
                () = stop.stopped() => return,
                _ = looks.tick(), if !told.is_empty() => due(&told),
                room = changes.recv() => match room {
                    Ok(room) => vec![room],
                    // What was missed is seen where somebody was told to type.
                    Err(RecvError::Lagged(_)) => told.keys().copied().collect(),
                    Err(RecvError::Closed) => return,
                },
            };
            for room in changed {
                if let Err(error) = self.typing_changed(room, &mut told).await {
                    log::warn!("other servers were not told who types: {error}");
                }
            }
        }
    }

    async fn typing_changed(&self, room: RoomSerial, told: &mut Told) -> Result<(), StoreError> {
        let (mut here, _) = self.rooms().typing(room);
        here.retain(|user_id| user_id.server_name() == self.own_name());
        let has_room = told.len() < MAX_ROOMS || told.contains_key(&room);
        if !has_room || (here.is_empty() && !told.contains_key(&room)) {
            return Ok(());
        }
        let servers = self
            .store()
            .read(move |view| rooms::servers_in(view, room))
            .await?;
        let known = told.entry(room).or_default();
        let now = Instant::now();
        let ended: Vec<OwnedUserId> = known
            .keys()
            .filter(|user_id| !here.contains(*user_id))
            .cloned()
            .collect();
        for user_id in ended {
            known.remove(&user_id);
            self.tell_soon(&servers, &Notice::Typing(room, user_id, false));
        }
        for user_id in here {
            let is_fresh = |at: &Instant| now.duration_since(*at) < AGAIN;
            if !servers.is_empty() && !known.get(&user_id).is_some_and(is_fresh) {
                known.insert(user_id.clone(), now);
                self.tell_soon(&servers, &Notice::Typing(room, user_id, true));
            }
        }
        if known.is_empty() {
            told.remove(&room);
        }
        Ok(())
    }
}

/// The rooms in which somebody was told to type so long ago that it must be said again.
fn due(told: &Told) -> Vec<RoomSerial> {
    let now = Instant::now();
    let rooms = told.iter().filter(|(_, users)| {
        let mut users = users.values();
        users.any(|at| now.duration_since(*at) >= AGAIN)
    });
    rooms.map(|(room, _)| *room).collect()
}
