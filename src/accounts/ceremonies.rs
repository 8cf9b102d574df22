//! What was asked of somebody who sets up or gives a second factor, until it is answered, and how
//! often they were wrong. In memory: whoever is asked begins anew after a restart.

use std::collections::HashMap;

use model::{TokenHash, UserSerial};

/// How long an answer may take, in ms.
const LIFETIME: u64 = 10 * 60 * 1_000;
/// For how many sessions something is remembered.
const MOST: usize = 1_000;
/// How many wrong codes somebody may give.
const TRIES: u32 = 5;
/// Within which time, in ms.
const TRIES_WITHIN: u64 = 15 * 60 * 1_000;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Asked {
    /// A first code of a new secret.
    Codes,
    /// A new passkey.
    Creation,
    /// A passkey's signature.
    Signature,
}

struct Begun {
    bytes: Vec<u8>,
    until: u64,
}

/// The secrets and challenges that were given out, by session.
#[derive(Default)]
pub(crate) struct Ceremonies {
    begun: HashMap<(TokenHash, Asked), Begun>,
    wrong: HashMap<UserSerial, (u32, u64)>,
}

impl Ceremonies {
    /// Remembers a new question of a session; an earlier one of its kind counts no more.
    pub(crate) fn begin(&mut self, session: TokenHash, asked: Asked, bytes: &[u8], now: u64) {
        if self.begun.len() >= MOST {
            self.begun.retain(|_, begun| now < begun.until);
        }
        if self.begun.len() >= MOST {
            let oldest = self.begun.iter().min_by_key(|(_, begun)| begun.until);
            let oldest = oldest.map(|(key, _)| *key);
            oldest.map(|key| self.begun.remove(&key));
        }
        let begun = Begun {
            bytes: bytes.to_vec(),
            until: now.saturating_add(LIFETIME),
        };
        self.begun.insert((session, asked), begun);
    }

    /// The question, which stays.
    pub(crate) fn look(&self, session: &TokenHash, asked: Asked, now: u64) -> Option<Vec<u8>> {
        let begun = self.begun.get(&(*session, asked))?;
        (now < begun.until).then(|| begun.bytes.clone())
    }

    /// The question, which counts no more.
    pub(crate) fn take(&mut self, session: &TokenHash, asked: Asked, now: u64) -> Option<Vec<u8>> {
        let begun = self.begun.remove(&(*session, asked))?;
        (now < begun.until).then_some(begun.bytes)
    }

    /// Whether somebody may give a code; if not, for how many ms not.
    pub(crate) fn may_try(&self, user: UserSerial, now: u64) -> Result<(), u64> {
        match self.wrong.get(&user) {
            Some((count, until)) if *count >= TRIES && now < *until => Err(until - now),
            _ => Ok(()),
        }
    }

    /// Counts a wrong code.
    pub(crate) fn was_wrong(&mut self, user: UserSerial, now: u64) {
        if self.wrong.len() >= MOST {
            self.wrong.retain(|_, (_, until)| now < *until);
        }
        let entry = self.wrong.entry(user).or_insert((0, 0));
        if now >= entry.1 {
            *entry = (0, now.saturating_add(TRIES_WITHIN));
        }
        entry.0 += 1;
    }

    /// Forgets what was wrong: it was right.
    pub(crate) fn was_right(&mut self, user: UserSerial) {
        self.wrong.remove(&user);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_answered_once_and_in_time() {
        let mut ceremonies = Ceremonies::default();
        let session = [1; 32];
        ceremonies.begin(session, Asked::Signature, b"one", 0);
        ceremonies.begin(session, Asked::Signature, b"two", 0);
        assert_eq!(ceremonies.look(&session, Asked::Codes, 1), None);
        assert_eq!(ceremonies.take(&[2; 32], Asked::Signature, 1), None);
        let taken = ceremonies.take(&session, Asked::Signature, 1);
        assert_eq!(taken.as_deref(), Some(&b"two"[..]));
        assert_eq!(ceremonies.take(&session, Asked::Signature, 1), None);
        ceremonies.begin(session, Asked::Signature, b"three", 0);
        assert_eq!(ceremonies.take(&session, Asked::Signature, LIFETIME), None);
        for number in 0..5_000_u64 {
            let mut name = [0; 32];
            name[..8].copy_from_slice(&number.to_be_bytes());
            ceremonies.begin(name, Asked::Codes, b"x", number);
        }
        assert!(ceremonies.begun.len() <= MOST);
    }

    #[test]
    fn wrong_codes_are_few() {
        let mut ceremonies = Ceremonies::default();
        let (anna, ben) = (UserSerial(1), UserSerial(2));
        for _ in 0..TRIES {
            assert_eq!(ceremonies.may_try(anna, 5), Ok(()));
            ceremonies.was_wrong(anna, 5);
        }
        assert_eq!(ceremonies.may_try(anna, 5), Err(TRIES_WITHIN));
        assert_eq!(ceremonies.may_try(ben, 5), Ok(()));
        assert_eq!(ceremonies.may_try(anna, 5 + TRIES_WITHIN), Ok(()));
        ceremonies.was_wrong(anna, 5 + TRIES_WITHIN);
        assert_eq!(ceremonies.may_try(anna, 5 + TRIES_WITHIN), Ok(()));
        ceremonies.was_right(anna);
        assert!(ceremonies.wrong.is_empty());
    }
}
