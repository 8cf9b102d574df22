//! The sessions in use, so that most requests are authenticated without a read.

use std::{collections::HashMap, mem};

use model::{DeviceSerial, TokenHash, UserSerial};
use parking_lot::Mutex;
use store::Position;

use crate::Session;

/// How many sessions are kept at least; at most twice as many.
const SIZE: usize = 8_192;

#[derive(Clone)]
struct Cached {
    session: Session,
    /// In ms since the Unix epoch.
    expires_at: Option<u64>,
}

/// Sessions by the hash of their access token.
///
/// A session must not be found here after it has ended. Whoever ends sessions evicts them inside the commit's closure; and as a reader with an older
/// snapshot might put one back just then, nothing is taken in that was read before the last eviction.
#[derive(Default)]
pub(crate) struct SessionCache {
    generations: Mutex<Generations>,
}

/// Two generations: what was not used while one filled up is dropped with it.
#[derive(Default)]
struct Generations {
    young: HashMap<TokenHash, Cached>,
    old: HashMap<TokenHash, Cached>,
    last_eviction: Position,
}

impl SessionCache {
    /// The session behind a token, if it is known and has not ended by `now`.
    pub(crate) fn get(&self, hash: &TokenHash, now: u64) -> Option<Session> {
        let mut generations = self.generations.lock();
        let cached = match generations.young.get(hash) {
            Some(cached) => cached.clone(),
            None => {
                let cached = generations.old.remove(hash)?;
                generations.insert(*hash, cached.clone());
                cached
            }
        };
        cached
            .expires_at
            .is_none_or(|end| now < end)
            .then_some(cached.session)
    }

    /// Keeps a session that was read from the snapshot at `read_at`.
    pub(crate) fn insert(
        &self,
        hash: TokenHash,
        session: Session,
        expires_at: Option<u64>,
        read_at: Position,
    ) {
        let mut generations = self.generations.lock();
        if read_at >= generations.last_eviction {
            generations.insert(
                hash,
                Cached {
                    session,
                    expires_at,
                },
            );
        }
    }

    /// Forgets the sessions of a device; to be called in the closure of the commit at `position`.
    pub(crate) fn evict_device(&self, device: DeviceSerial, position: Position) {
        self.evict(position, |session| session.device == device);
    }

    /// Forgets the sessions of a user; to be called in the closure of the commit at `position`.
    pub(crate) fn evict_user(&self, user: UserSerial, position: Position) {
        self.evict(position, |session| session.user == user);
    }

    fn evict(&self, position: Position, ended: impl Fn(&Session) -> bool) {
        let mut generations = self.generations.lock();
        generations.last_eviction = position;
        generations
            .young
            .retain(|_, cached| !ended(&cached.session));
        generations.old.retain(|_, cached| !ended(&cached.session));
    }
}

impl Generations {
    fn insert(&mut self, hash: TokenHash, cached: Cached) {
        if self.young.len() >= SIZE {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(hash, cached);
    }
}
