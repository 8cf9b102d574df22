//! Places where two devices of a person meet before one of them is signed in (MSC4108,
//! MSC4388): each reads what the other has left. Only in memory, for minutes.
//!
//! What is left there means nothing to the server: the devices encrypt it.

use std::{collections::HashMap, time::Duration};

use runtime::Timestamp;

use crate::Accounts;

/// The longest text that is left, in bytes.
pub const MAX_RENDEZVOUS_BYTES: usize = 4_096;
/// How long a place is there.
const LIFETIME: Duration = Duration::from_secs(300);
/// The most places at a time: 8 MB at the most.
const MOST: usize = 2_000;

/// Why nothing was left or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RendezvousError {
    /// There is no such place, or not any more (`M_NOT_FOUND`).
    #[error("there is no such rendezvous, or it is over")]
    NotFound,
    /// The other device has left something since (`M_CONCURRENT_WRITE`).
    #[error("something else was left there meanwhile")]
    Concurrent,
    /// The text is too long (`M_TOO_LARGE`).
    #[error("a rendezvous takes at most {MAX_RENDEZVOUS_BYTES} bytes")]
    TooLarge,
    /// There are as many places as there may be (`M_LIMIT_EXCEEDED`).
    #[error("there are too many rendezvous: try again later")]
    TooMany,
}

/// A place as a device sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendezvous {
    /// Its id, which whoever has it may use.
    pub id: String,
    /// What was left there.
    pub text: String,
    /// Stands for what was left: another one each time.
    pub token: String,
    /// When it was left.
    pub changed_at: Timestamp,
    /// When the place is over.
    pub ends_at: Timestamp,
}

/// All places, by id.
#[derive(Default)]
pub(crate) struct Meetings(HashMap<String, Rendezvous>);

impl Meetings {
    fn open(&mut self, meeting: Rendezvous, now: Timestamp) -> Result<(), RendezvousError> {
        if self.0.len() >= MOST {
            self.0.retain(|_, meeting| meeting.ends_at > now);
        }
        if self.0.len() >= MOST {
            return Err(RendezvousError::TooMany);
        }
        self.0.insert(meeting.id.clone(), meeting);
        Ok(())
    }

    fn get(&mut self, id: &str, now: Timestamp) -> Result<&mut Rendezvous, RendezvousError> {
        if self.0.get(id).is_some_and(|meeting| meeting.ends_at <= now) {
            self.0.remove(id);
        }
        self.0.get_mut(id).ok_or(RendezvousError::NotFound)
    }
}

impl Accounts {
    /// Opens a place with a first text.
    ///
    /// # Errors
    /// [`RendezvousError::TooLarge`] and [`RendezvousError::TooMany`].
    pub fn open_rendezvous(&self, text: String) -> Result<Rendezvous, RendezvousError> {
        check(&text)?;
        let (random, now) = (&self.inner.random, self.inner.clock.now());
        let meeting = Rendezvous {
            id: random.token(),
            text,
            token: random.token(),
            changed_at: now,
            ends_at: now.plus(LIFETIME),
        };
        self.inner.meetings.lock().open(meeting.clone(), now)?;
        Ok(meeting)
    }

    /// What was left at a place.
    ///
    /// # Errors
    /// [`RendezvousError::NotFound`].
    pub fn rendezvous(&self, id: &str) -> Result<Rendezvous, RendezvousError> {
        let now = self.inner.clock.now();
        self.inner.meetings.lock().get(id, now).cloned()
    }

    /// Leaves a text in place of the one that `seen` stands for. The same text once more
    /// changes nothing, so that a request can be made again.
    ///
    /// # Errors
    /// [`RendezvousError`].
    pub fn leave_at_rendezvous(
        &self,
        id: &str,
        seen: &str,
        text: String,
    ) -> Result<Rendezvous, RendezvousError> {
        check(&text)?;
        let now = self.inner.clock.now();
        let mut meetings = self.inner.meetings.lock();
        let meeting = meetings.get(id, now)?;
        if meeting.token == seen {
            meeting.text = text;
            meeting.token = self.inner.random.token();
            meeting.changed_at = now;
        } else if meeting.text != text {
            return Err(RendezvousError::Concurrent);
        }
        Ok(meeting.clone())
    }

    /// Closes a place.
    ///
    /// # Errors
    /// [`RendezvousError::NotFound`].
    pub fn close_rendezvous(&self, id: &str) -> Result<(), RendezvousError> {
        let now = self.inner.clock.now();
        let mut meetings = self.inner.meetings.lock();
        meetings.get(id, now)?;
        meetings.0.remove(id);
        Ok(())
    }

    /// How long a place is still there.
    pub fn rendezvous_left(&self, rendezvous: &Rendezvous) -> Duration {
        rendezvous.ends_at.since(self.inner.clock.now())
    }
}

fn check(text: &str) -> Result<(), RendezvousError> {
    if text.len() > MAX_RENDEZVOUS_BYTES {
        Err(RendezvousError::TooLarge)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meeting(number: usize, ends_at: u64) -> Rendezvous {
        Rendezvous {
            id: number.to_string(),
            text: String::new(),
            token: String::new(),
            changed_at: Timestamp(0),
            ends_at: Timestamp(ends_at),
        }
    }

    #[test]
    fn places_end_and_only_so_many_are_open() {
        let mut meetings = Meetings::default();
        for number in 0..MOST {
            let ends_at = if number == 7 { 10 } else { 20 };
            meetings
                .open(meeting(number, ends_at), Timestamp(5))
                .unwrap();
        }
        let more = meeting(MOST, 20);
        let refused = meetings.open(more.clone(), Timestamp(9));
        assert_eq!(refused, Err(RendezvousError::TooMany));
        assert!(meetings.get("7", Timestamp(9)).is_ok());
        let over = meetings.get("7", Timestamp(10));
        assert_eq!(over.unwrap_err(), RendezvousError::NotFound);
        meetings.open(more, Timestamp(10)).unwrap();
        // All are over, and make room.
        meetings.open(meeting(MOST + 1, 40), Timestamp(20)).unwrap();
        assert_eq!(meetings.0.len(), 1);
    }
}
