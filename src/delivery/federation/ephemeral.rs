//! What is told soon or never: who types, who has read, who is there. Kept in memory, a
//! bounded amount for each server.

use std::collections::{BTreeMap, HashMap};

use model::{RoomSerial, UserSerial};
use parking_lot::Mutex;
use peers::Standing;
use ruma_common::OwnedUserId;
use store::Position;

use super::Federation;

/// The most servers for which something is kept.
const MAX_SERVERS: usize = 10_000;
/// The most of each kind that is kept for one server.
const MAX_KEPT: usize = 200;

/// What waits for a server; of each thing only the newest.
#[derive(Debug, Default)]
pub(super) struct Ephemeral {
    /// Who began or ended to type where.
    pub(super) typing: BTreeMap<(RoomSerial, OwnedUserId), bool>,
    /// Whose receipts moved where, and the first commit that moved one.
    pub(super) receipts: BTreeMap<(RoomSerial, UserSerial), Position>,
    /// Whose presence changed, each as JSON.
    pub(super) presence: BTreeMap<UserSerial, String>,
}

/// One of these.
#[derive(Clone, Debug)]
pub(super) enum Notice {
    Typing(RoomSerial, OwnedUserId, bool),
    Receipts(RoomSerial, UserSerial, Position),
    Presence(UserSerial, String),
}

impl Ephemeral {
    fn is_empty(&self) -> bool {
        self.typing.is_empty() && self.receipts.is_empty() && self.presence.is_empty()
    }

    /// Returns whether there was room for it.
    fn add(&mut self, notice: Notice) -> bool {
        match notice {
            Notice::Typing(room, user, types) => {
                let key = (room, user);
                let has_room = self.typing.len() < MAX_KEPT || self.typing.contains_key(&key);
                if has_room {
                    self.typing.insert(key, types);
                }
                has_room
            }
            Notice::Receipts(room, user, since) => {
                let key = (room, user);
                let has_room = self.receipts.len() < MAX_KEPT || self.receipts.contains_key(&key);
                if has_room {
                    self.receipts.entry(key).or_insert(since);
                }
                has_room
            }
            Notice::Presence(user, json) => {
                let has_room = self.presence.len() < MAX_KEPT || self.presence.contains_key(&user);
                if has_room {
                    self.presence.insert(user, json);
                }
                has_room
            }
        }
    }

    fn take(&mut self, most: usize) -> Self {
        Self {
            typing: first(&mut self.typing, most),
            receipts: first(&mut self.receipts, most),
            presence: first(&mut self.presence, most),
        }
    }
}

fn first<K: Ord, V>(all: &mut BTreeMap<K, V>, most: usize) -> BTreeMap<K, V> {
    let mut taken = BTreeMap::new();
    while taken.len() < most
        && let Some((key, value)) = all.pop_first()
    {
        taken.insert(key, value);
    }
    taken
}

/// What waits for all servers.
#[derive(Default)]
pub(super) struct Ephemerals {
    servers: Mutex<HashMap<String, Ephemeral>>,
}

impl Ephemerals {
    /// Returns whether there was room for it.
    fn add(&self, server: &str, notice: Notice) -> bool {
        let mut servers = self.servers.lock();
        if servers.len() >= MAX_SERVERS && !servers.contains_key(server) {
            return false;
        }
        servers.entry(server.to_owned()).or_default().add(notice)
    }

    /// Takes the first of what waits for a server, at most so many of each kind.
    pub(super) fn take(&self, server: &str, most: usize) -> Ephemeral {
        let mut servers = self.servers.lock();
        let Some(waiting) = servers.get_mut(server) else {
            return Ephemeral::default();
        };
        let taken = waiting.take(most);
        if waiting.is_empty() {
            servers.remove(server);
        }
        taken
    }

    /// Drops what waits for a server; returns how much that was.
    pub(super) fn drop_all(&self, server: &str) -> usize {
        let dropped = self.servers.lock().remove(server).unwrap_or_default();
        dropped.typing.len() + dropped.receipts.len() + dropped.presence.len()
    }
}

impl Federation {
    /// Lets servers know something soon. One that does not answer is not told.
    pub(super) fn tell_soon<'a>(
        &self,
        servers: impl IntoIterator<Item = &'a String>,
        notice: &Notice,
    ) {
        for server in servers {
            let Some(name) = self.may_tell(server) else {
                continue;
            };
            let is_away = self.peers().standing(&name) == Standing::Fails;
            if is_away || !self.inner.ephemerals.add(server, notice.clone()) {
                self.inner.dropped.inc();
            } else {
                self.inner.schedule.ring(name);
            }
        }
    }

    /// Gives up what a server that does not answer was to be told soon.
    pub(super) fn drop_ephemerals(&self, server: &str) {
        let dropped = self.inner.ephemerals.drop_all(server);
        let dropped = u64::try_from(dropped).unwrap_or(u64::MAX);
        self.inner.dropped.inc_by(dropped);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_of_each_waits_and_only_so_much() {
        let all = Ephemerals::default();
        let user = OwnedUserId::try_from("@a:a.test").unwrap();
        let typing = |types| Notice::Typing(RoomSerial(1), user.clone(), types);
        assert!(all.add("b.test", typing(true)) && all.add("b.test", typing(false)));
        let receipt = |at| Notice::Receipts(RoomSerial(1), UserSerial(2), Position(at));
        assert!(all.add("b.test", receipt(5)) && all.add("b.test", receipt(9)));
        for number in 0..MAX_KEPT as u64 {
            let presence = Notice::Presence(UserSerial(number), "{}".to_owned());
            assert!(all.add("b.test", presence));
        }
        let presence = |user| Notice::Presence(UserSerial(user), "{}".to_owned());
        assert!(!all.add("b.test", presence(5_000)));
        assert!(all.add("b.test", presence(0)));

        let taken = all.take("b.test", 10);
        assert_eq!(taken.typing.values().collect::<Vec<_>>(), [&false]);
        assert_eq!(taken.receipts.values().collect::<Vec<_>>(), [&Position(5)]);
        assert_eq!(taken.presence.len(), 10);
        assert_eq!(all.drop_all("b.test"), MAX_KEPT - 10);
        assert_eq!(all.drop_all("b.test"), 0);
        assert!(all.take("c.test", 10).is_empty());
        assert!(all.servers.lock().is_empty());
    }
}
