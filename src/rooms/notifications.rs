//! What a user was notified about (client-server API, "Listing Notifications"): looked up
//! in the rooms' changes by the push rules that the user has now.

use std::{collections::BinaryHeap, sync::Arc};

use accounts::PushRules;
use model::{
    EventChange, Membership, RoomChange, RoomSerial,
    tables::{self, ChangeNumber},
};
use ruma_common::{UserId, push::Action};
use store::{Position, Read, Snapshot, StoreError};

use crate::{
    EventReader, PushSubject, ReadError, Rooms, Viewer, Visibility, notify::Scales, unread::Tally,
};

/// The most notifications of one page.
const MAX_PAGE: usize = 100;
/// The most changes that are looked at for one page.
const MAX_CHANGES: usize = 2_000;

/// An event that a user's push rules notify about.
#[derive(Clone, Debug)]
pub struct Notification {
    /// The room's id.
    pub room_id: String,
    /// The event as JSON, without `room_id`.
    pub event: String,
    /// What the rule that matched does.
    pub actions: Vec<Action>,
    /// Whether the user's receipts cover it.
    pub is_read: bool,
    /// When the event was sent, in ms since the Unix epoch.
    pub at: u64,
}

/// Some notifications, newest first.
#[derive(Clone, Debug, Default)]
pub struct Notifications {
    /// The notifications.
    pub chunk: Vec<Notification>,
    /// Where to go on; none if there are no more.
    pub next: Option<NotificationToken>,
}

/// A place in a user's notifications: those before a change of some room. Opaque to
/// clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NotificationToken(Position, ChangeNumber);

impl NotificationToken {
    /// The place that a token names; `None` for text that is no token of ours.
    pub fn parse(text: &str) -> Option<Self> {
        let (position, number) = text.strip_prefix('n')?.split_once('_')?;
        Some(Self(Position(position.parse().ok()?), number.parse().ok()?))
    }
}

impl std::fmt::Display for NotificationToken {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "n{}_{}", self.0.0, self.1)
    }
}

/// A room's next older change, the newest first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Next {
    at: NotificationToken,
    /// Which of the rooms.
    index: usize,
}

/// A room whose changes are gone through backwards.
struct Room<'a> {
    room: RoomSerial,
    /// The commit by which the user came in.
    joined: Position,
    changes: store::Scan<'a, (RoomSerial, Position, ChangeNumber), RoomChange>,
    /// The change that is next.
    change: Option<EventChange>,
    /// What is needed to judge it, once something is.
    judge: Option<Judge<'a>>,
}

struct Judge<'a> {
    reader: EventReader<'a, Snapshot>,
    scales: Scales<'a>,
    read: Tally,
}

impl Room<'_> {
    /// Goes on to the next older event of the user's stay.
    fn step(&mut self) -> Result<Option<NotificationToken>, StoreError> {
        for row in self.changes.by_ref() {
            let ((_, position, number), change) = row?;
            if position <= self.joined {
                break;
            }
            if let RoomChange::Event(change) = change {
                self.change = Some(change);
                return Ok(Some(NotificationToken(position, number)));
            }
        }
        Ok(None)
    }
}

impl Rooms {
    /// The newest notifications of a user from rooms that they are in, or those before
    /// `from`; with `only_highlights` only those that highlight.
    ///
    /// # Errors
    /// If the database fails.
    pub fn notifications(
        &self,
        view: &Snapshot,
        viewer: Viewer,
        from: Option<NotificationToken>,
        limit: usize,
        only_highlights: bool,
    ) -> Result<Notifications, ReadError> {
        let rules = self.rules_of(view, viewer.user)?;
        let mut rooms = Vec::new();
        let mut heap = BinaryHeap::new();
        for row in view.scan(&tables::MEMBERSHIP_BY_USER, &(viewer.user,)) {
            let ((_, room), record) = row?;
            if record.membership != Membership::Join {
                continue;
            }
            let before = from.map(|NotificationToken(position, number)| (room, position, number));
            let mut room = Room {
                room,
                joined: Position(record.last_join),
                changes: view.scan_back(&tables::CHANGE_BY_ROOM, &(room,), before.as_ref()),
                change: None,
                judge: None,
            };
            if let Some(at) = room.step()? {
                let index = rooms.len();
                heap.push(Next { at, index });
                rooms.push(room);
            }
        }
        let mut page = Notifications::default();
        for _ in 0..MAX_CHANGES {
            let Some(Next { at, index }) = heap.pop() else {
                page.next = None;
                return Ok(page);
            };
            page.next = Some(at);
            let Some(room) = rooms.get_mut(index) else {
                break;
            };
            if let Some(change) = room.change.take() {
                let judged = self.judged(view, viewer, room, &rules, at.0, &change)?;
                let wanted = |told: &Notification| {
                    !only_highlights || told.actions.iter().any(Action::is_highlight)
                };
                page.chunk.extend(judged.filter(wanted));
            }
            if let Some(at) = room.step()? {
                heap.push(Next { at, index });
            }
            if page.chunk.len() >= limit.clamp(1, MAX_PAGE) {
                break;
            }
        }
        page.next = page.next.filter(|_| !heap.is_empty());
        Ok(page)
    }

    /// What a change is to the user, if it notifies.
    fn judged<'a>(
        &'a self,
        view: &'a Snapshot,
        viewer: Viewer,
        room: &mut Room<'a>,
        rules: &Arc<PushRules>,
        position: Position,
        change: &EventChange,
    ) -> Result<Option<Notification>, ReadError> {
        let user = viewer.user;
        if change.sender == user {
            return Ok(None);
        }
        let judge = match &mut room.judge {
            Some(judge) => judge,
            none => {
                let now = self.inner.clock.now().0;
                let secret = self.inner.store.secret();
                none.insert(Judge {
                    reader: EventReader::new(view, room.room, secret, viewer, now)?,
                    scales: Scales::new(self, view, room.room, user, rules.clone())?,
                    read: Tally::new(view, room.room, user, 0, 0)?,
                })
            }
        };
        if !judge.scales.weigh(change)?.notifies {
            return Ok(None);
        }
        let Some(event) = judge.reader.load(change.event)? else {
            return Ok(None);
        };
        if !Visibility::new(&judge.reader)?.allows(&event)? {
            return Ok(None);
        }
        let subject = PushSubject::new(&judge.reader, event)?;
        let Ok(user_id) = UserId::parse(judge.reader.viewer_id()) else {
            return Ok(None);
        };
        let rule = subject.rule(&rules.rules, &user_id)?;
        let Some(rule) = rule.filter(|rule| rule.triggers_notification()) else {
            return Ok(None);
        };
        Ok(Some(Notification {
            room_id: judge.reader.room_id.clone(),
            event: judge.reader.json(subject.event(), false)?,
            actions: rule.actions().to_vec(),
            is_read: judge.read.has_read(change.thread, position.0),
            at: subject.json()["origin_server_ts"].as_u64().unwrap_or(0),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back() {
        let token = NotificationToken(Position(12), 3);
        assert_eq!(NotificationToken::parse(&token.to_string()), Some(token));
        for text in ["", "n", "n1", "t1_2", "n1_2_3", "n-1_2"] {
            assert_eq!(NotificationToken::parse(text), None, "{text}");
        }
    }
}
