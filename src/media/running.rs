//! How many uploads and downloads of one person are under way.

use std::{collections::HashMap, sync::Arc};

use model::UserSerial;
use parking_lot::Mutex;

/// What is under way for each person. Clones share the count.
#[derive(Clone)]
pub(crate) struct Counter {
    counts: Arc<Mutex<HashMap<UserSerial, usize>>>,
    most: usize,
}

/// One of them; ends when dropped.
pub(crate) struct Running {
    counter: Counter,
    user: UserSerial,
}

impl Counter {
    /// At most `most` for each person at the same time.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            counts: Arc::default(),
            most,
        }
    }

    /// One more for `user`; none if that would be too many.
    pub(crate) fn begin(&self, user: UserSerial) -> Option<Running> {
        let mut counts = self.counts.lock();
        let count = counts.entry(user).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Running {
            counter: self.clone(),
            user,
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut counts = self.counter.counts.lock();
        if let Some(count) = counts.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_person_has_so_many_at_a_time() {
        let counter = Counter::new(2);
        let (alice, bob) = (UserSerial(1), UserSerial(2));
        let (first, second) = (counter.begin(alice), counter.begin(alice));
        assert!(first.is_some() && second.is_some());
        assert!(counter.begin(alice).is_none());
        assert!(counter.begin(bob).is_some());
        drop(first);
        assert!(counter.begin(alice).is_some());
        drop(second);
        assert!(counter.counts.lock().is_empty());
    }
}
