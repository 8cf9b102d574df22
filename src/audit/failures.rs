//! Sign-ins that failed. Whoever tries passwords by the thousand must not fill the trail: of
//! attempts at one account from one address the first is written at once, and of those that
//! follow within some minutes how many they were.

use std::collections::HashMap;

/// For how long attempts are only counted after one was written, in ms.
const WINDOW: u64 = 10 * 60 * 1_000;
/// Of how many accounts and addresses attempts are told apart.
const MOST: usize = 1_000;

/// The attempts of lately. In memory only.
#[derive(Debug, Default)]
pub struct Failures {
    by_source: HashMap<(String, String), Attempts>,
}

#[derive(Debug)]
struct Attempts {
    written_at: u64,
    since: u64,
}

impl Failures {
    /// Counts an attempt at `account` from `address`. Returns how many attempts an entry of the
    /// trail is to tell of, if one is to be written now.
    pub fn count(&mut self, account: &str, address: &str, now: u64) -> Option<u64> {
        let mut source = (account.to_owned(), address.to_owned());
        if self.by_source.len() >= MOST && !self.by_source.contains_key(&source) {
            self.by_source
                .retain(|_, attempts| now < attempts.written_at.saturating_add(WINDOW));
            if self.by_source.len() >= MOST {
                // All others are one.
                source = (String::new(), String::new());
            }
        }
        match self.by_source.get_mut(&source) {
            Some(attempts) if now < attempts.written_at.saturating_add(WINDOW) => {
                attempts.since += 1;
                None
            }
            known => {
                let number = known.map_or(0, |attempts| attempts.since) + 1;
                let attempts = Attempts {
                    written_at: now,
                    since: 0,
                };
                self.by_source.insert(source, attempts);
                Some(number)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_and_the_others_are_counted() {
        let mut failures = Failures::default();
        assert_eq!(failures.count("@a:b", "192.0.2.1", 0), Some(1));
        for _ in 0..500 {
            assert_eq!(failures.count("@a:b", "192.0.2.1", 5), None);
        }
        // From elsewhere it is another one.
        assert_eq!(failures.count("@a:b", "192.0.2.2", 5), Some(1));
        assert_eq!(failures.count("@a:b", "192.0.2.1", WINDOW), Some(501));
        assert_eq!(failures.count("@a:b", "192.0.2.1", 2 * WINDOW), Some(1));
    }

    #[test]
    fn many_addresses_fill_neither_memory_nor_trail() {
        let mut failures = Failures::default();
        let told = (0..100_000)
            .filter_map(|number| failures.count("@a:b", &number.to_string(), 1))
            .count();
        assert_eq!(told, MOST + 1);
        assert!(failures.by_source.len() <= MOST + 1);
    }
}
