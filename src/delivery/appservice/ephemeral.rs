//! What services are told soon or never: who types, and who is there. Kept in memory, a
//! bounded amount for each service.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use model::{RoomSerial, UserSerial};
use rooms::ShownPresence;
use runtime::Stop;
use serde_json::json;
use store::StoreError;
use tokio::sync::broadcast::error::RecvError;

use super::{Appservices, interest::Interested};

/// The most of each kind of which one transaction tells.
const MAX_TOLD: usize = 100;
/// The most people whose presence waits for one service.
const MAX_PRESENCE: usize = 10_000;
/// How often it is looked who came or went.
const LOOK: Duration = Duration::from_secs(1);

/// What waits for a service.
#[derive(Debug, Default)]
pub(super) struct Ephemeral {
    /// The rooms in which who types has changed.
    pub(super) typing: BTreeSet<RoomSerial>,
    /// Whose presence changed, each as an event.
    pub(super) presence: BTreeMap<UserSerial, String>,
}

impl Ephemeral {
    fn is_empty(&self) -> bool {
        self.typing.is_empty() && self.presence.is_empty()
    }

    /// Takes the first of what waits.
    fn take(&mut self) -> Self {
        let mut taken = Self::default();
        while taken.typing.len() < MAX_TOLD
            && let Some(room) = self.typing.pop_first()
        {
            taken.typing.insert(room);
        }
        while taken.presence.len() < MAX_TOLD
            && let Some((user, event)) = self.presence.pop_first()
        {
            taken.presence.insert(user, event);
        }
        taken
    }
}

impl Appservices {
    /// Takes the first of what waits for a service.
    pub(super) fn take_ephemeral(&self, service: &str) -> Ephemeral {
        let mut all = self.inner.ephemeral.lock();
        let Some(waiting) = all.get_mut(service) else {
            return Ephemeral::default();
        };
        let taken = waiting.take();
        if waiting.is_empty() {
            all.remove(service);
        }
        taken
    }

    /// Lets those of these services know something that want to.
    fn tell_soon(&self, interested: &Interested, add: impl Fn(&mut Ephemeral)) {
        let services = self.services().all();
        // There may be others by now.
        for service in interested.iter().filter_map(|place| services.get(*place)) {
            if !service.registration.receive_ephemeral {
                continue;
            }
            let mut all = self.inner.ephemeral.lock();
            add(all.entry(service.id().to_owned()).or_default());
            drop(all);
            self.ring(service.id());
        }
    }

    fn is_anything_wanted(&self) -> bool {
        let services = self.services().all();
        services.iter().any(|it| it.registration.receive_ephemeral)
    }

    /// Follows who types, for the services that want to know.
    pub(super) async fn follow_typing(self, stop: Stop) {
        let mut changes = self.rooms().typing_changes();
        loop {
            let room = tokio::select! {
                () = stop.stopped() => return,
                room = changes.recv() => room,
            };
            match room {
                Ok(room) => {
                    if let Err(error) = self.typing_changed(room).await {
                        log::warn!("who types was not told: {error}");
                    }
                }
                // Typing is worth nothing later.
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            }
        }
    }

    async fn typing_changed(&self, room: RoomSerial) -> Result<(), StoreError> {
        if !self.is_anything_wanted() {
            return Ok(());
        }
        let (appservices, all) = (self.clone(), self.services().all());
        let interested: Interested = self
            .store()
            .read(move |view| {
                let mut interest = appservices.inner.interest.lock();
                interest.in_room(view, &all, room, view.position())
            })
            .await?;
        self.tell_soon(&interested, |waiting| {
            waiting.typing.insert(room);
        });
        Ok(())
    }

    /// Follows who is there, for the services that want to know.
    pub(super) async fn follow_presence(self, stop: Stop) {
        if !self.rooms().has_presence() {
            return;
        }
        let mut seen = self.rooms().typing_sequence();
        loop {
            tokio::select! {
                () = stop.stopped() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
            // Before the look: what comes meanwhile is seen twice, not missed.
            let next = self.rooms().typing_sequence();
            let since = std::mem::replace(&mut seen, next);
            if since == next || !self.is_anything_wanted() {
                continue;
            }
            for (user, shown) in self.rooms().presences_since(Some(since)) {
                if let Err(error) = self.presence_changed(user, &shown).await {
                    log::warn!("who is there was not told: {error}");
                }
            }
        }
    }

    async fn presence_changed(
        &self,
        user: UserSerial,
        shown: &ShownPresence,
    ) -> Result<(), StoreError> {
        let (appservices, all) = (self.clone(), self.services().all());
        let (user_id, interested) = self
            .store()
            .read(move |view| {
                let user_id = model::user_id(view, user)?.unwrap_or_default();
                let mut interest = appservices.inner.interest.lock();
                let interested = interest.in_user(view, &all, user, view.position())?;
                Ok::<_, StoreError>((user_id, interested))
            })
            .await?;
        let event = json!({ "type": "m.presence", "sender": user_id, "content": shown.content() });
        let event = event.to_string();
        self.tell_soon(&interested, |waiting| {
            let is_known = waiting.presence.contains_key(&user);
            if is_known || waiting.presence.len() < MAX_PRESENCE {
                waiting.presence.insert(user, event.clone());
            }
        });
        Ok(())
    }
}
