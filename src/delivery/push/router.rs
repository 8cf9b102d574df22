//! From the log to the pushers' queues.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use accounts::Pusher;
use model::{
    EventSerial, LogEntry, Membership, PushRecord, PushedEvent, PusherSerial, RoomSerial,
    UserSerial, pushers_scope,
    tables::{
        HEAD_BY_ROOM, MEMBER_BY_ROOM, MEMBERSHIP_BY_USER, PUSH_BY_PUSHER, PUSHER_BY_USER,
        TOLD_COUNT_BY_PUSHER,
    },
};
use rooms::{EventReader, PushSubject, ReadError, Viewer, Visibility};
use ruma_common::{
    UserId,
    push::{Action, AnyPushRuleRef},
};
use runtime::Stop;
use serde_json::{Map, Value};
use store::{
    Consumer, LogRecord, Position, Read as _, Snapshot, Store, StoreError, Value as _, Watch,
};

use super::{Address, Push, PushError};
use crate::following::{Follower, follow};

/// How long records come together before they are looked at.
const GATHER: Duration = Duration::from_millis(20);

/// The users who have pushers, as of the records that were read.
type Subscribers = HashMap<UserSerial, Vec<Pusher>>;

/// A row for a pusher's queue.
struct Wanted {
    address: Address,
    position: Position,
    number: u32,
    record: PushRecord,
}

/// Follows the log for those who have pushers.
struct PushFollower {
    push: Push,
    changes: Watch,
    subscribers: Subscribers,
}

impl Follower for PushFollower {
    type Error = PushError;
    const NAME: &'static str = "push";
    const BATCH: usize = 64;
    const GATHER: Duration = GATHER;

    fn store(&self) -> &Store {
        self.push.store()
    }

    fn has_missed(&self, since: u64) {
        log::warn!("push begins anew: the log no longer reaches back to {since}");
    }

    async fn begin(&mut self) -> Result<(), PushError> {
        self.subscribers = self.push.resume().await?;
        Ok(())
    }

    /// While nobody has a pusher nothing that happens is of interest. What came since the last
    /// look is read with those who have pushers then.
    async fn unwanted(&mut self) -> Result<Option<Position>, PushError> {
        if !self.subscribers.is_empty() {
            return Ok(None);
        }
        let read =
            |view: &Snapshot| Ok::<_, StoreError>((view.position(), accounts::all_pushers(view)?));
        let (now, pushers) = self.store().read(read).await?;
        self.subscribers = by_user(pushers);
        Ok(self.subscribers.is_empty().then_some(now))
    }

    async fn changed(&mut self) {
        self.changes.changed().await;
    }

    async fn take(
        &mut self,
        consumer: &mut Consumer,
        records: Vec<LogRecord>,
        last: Position,
    ) -> Result<bool, PushError> {
        let subscribers = std::mem::take(&mut self.subscribers);
        let (wanted, subscribers) = self.push.wanted(records, subscribers).await?;
        self.subscribers = subscribers;
        if wanted.is_empty() {
            return Ok(false);
        }
        self.push.queue(consumer, last, wanted).await?;
        Ok(true)
    }
}

impl Push {
    /// Follows the log until the server stops.
    pub async fn run(self, stop: Stop) {
        let follower = PushFollower {
            // Subscribe first, read second.
            changes: self.store().watch(&[pushers_scope()]),
            subscribers: Subscribers::new(),
            push: self,
        };
        follow(follower, stop, "push cannot go on").await;
    }

    /// Reads who has pushers, and sends couriers for what waits from before.
    async fn resume(&self) -> Result<Subscribers, StoreError> {
        let read = |view: &Snapshot| {
            let mut waiting = HashSet::new();
            for row in view.scan(&PUSH_BY_PUSHER, &()) {
                waiting.insert(row?.0.0);
            }
            Ok::<_, StoreError>((accounts::all_pushers(view)?, waiting))
        };
        let (pushers, waiting) = self.store().read_long(read).await?;
        for (user, pusher) in &pushers {
            if waiting.contains(&pusher.serial) {
                self.poke(&address(*user, pusher));
            }
        }
        Ok(by_user(pushers))
    }

    /// What records ask for, and who has pushers after them.
    async fn wanted(
        &self,
        records: Vec<LogRecord>,
        subscribers: Subscribers,
    ) -> Result<(Vec<Wanted>, Subscribers), PushError> {
        let push = self.clone();
        self.store()
            .read(move |view| {
                let mut routing = Routing {
                    push: &push,
                    view,
                    subscribers,
                    wanted: Vec::new(),
                };
                for record in &records {
                    routing.record(record)?;
                }
                Ok((routing.wanted, routing.subscribers))
            })
            .await
    }

    /// Stores rows together with the place in the log, and tells the couriers.
    async fn queue(
        &self,
        consumer: &mut Consumer,
        last: Position,
        wanted: Vec<Wanted>,
    ) -> Result<(), StoreError> {
        let addresses: Vec<Address> = wanted.iter().map(|row| row.address.clone()).collect();
        consumer
            .advance_with(last, move |latest, batch| {
                for row in wanted {
                    let Address { user, key, serial } = row.address;
                    let pusher = latest.get(&PUSHER_BY_USER, &(user, key.app_id, key.pushkey))?;
                    // It may have gone meanwhile, and its queue with it.
                    if pusher.is_some_and(|pusher| pusher.serial == serial) {
                        let key = (serial, row.position, row.number);
                        batch.put(&PUSH_BY_PUSHER, &key, &row.record);
                    }
                }
                Ok(())
            })
            .await?;
        let mut told = HashSet::<PusherSerial>::new();
        for address in addresses {
            if told.insert(address.serial) {
                self.poke(&address);
            }
        }
        Ok(())
    }
}

fn by_user(pushers: Vec<(UserSerial, Pusher)>) -> Subscribers {
    let mut subscribers = Subscribers::new();
    for (user, pusher) in pushers {
        subscribers.entry(user).or_default().push(pusher);
    }
    subscribers
}

fn address(user: UserSerial, pusher: &Pusher) -> Address {
    Address {
        user,
        key: pusher.key.clone(),
        serial: pusher.serial,
    }
}

/// Looks at records of the log, on one snapshot.
struct Routing<'a> {
    push: &'a Push,
    view: &'a Snapshot,
    subscribers: Subscribers,
    wanted: Vec<Wanted>,
}

impl Routing<'_> {
    fn record(&mut self, record: &LogRecord) -> Result<(), PushError> {
        for (number, entry) in (0..).zip(&record.entries) {
            let at = (record.position, number);
            match LogEntry::decode(entry) {
                Ok(LogEntry::Event { room, event } | LogEntry::Entered { room, event }) => {
                    // One event that cannot be read must not keep all others back.
                    if let Err(error) = self.event(at, room, event) {
                        if let ReadError::Store(StoreError::Busy) = error {
                            return Err(error.into());
                        }
                        log::error!(event = event.0; "an event was not pushed: {error}");
                    }
                }
                Ok(LogEntry::Receipt { user, .. } | LogEntry::PrivateReceipt { user, .. }) => {
                    self.count(at, user)?;
                }
                Ok(LogEntry::Pushers { user }) => {
                    let pushers = accounts::pushers(self.view, user)?;
                    if pushers.is_empty() {
                        self.subscribers.remove(&user);
                    } else {
                        self.subscribers.insert(user, pushers);
                    }
                }
                Ok(_) => {}
                Err(error) => log::error!("an entry of the log cannot be read: {error}"),
            }
        }
        Ok(())
    }

    fn event(
        &mut self,
        at: (Position, u32),
        room: RoomSerial,
        event: EventSerial,
    ) -> Result<(), ReadError> {
        if self.subscribers.is_empty() {
            return Ok(());
        }
        let mut subject = None;
        for user in self.concerned(room, event)? {
            let viewer = Viewer { user, device: None };
            let secret = self.push.store().secret();
            let reader = EventReader::new(self.view, room, secret, viewer, self.push.now())?;
            let subject = match &subject {
                Some(known) => known,
                None => match reader.load(event)? {
                    Some(loaded) => subject.insert(PushSubject::new(&reader, loaded)?),
                    None => return Ok(()),
                },
            };
            if subject.json()["sender"].as_str() == Some(reader.viewer_id()) {
                // Who speaks has read: the count may have fallen.
                self.count(at, user)?;
                continue;
            }
            let rules = self.push.rooms().rules_of(self.view, user)?;
            let Ok(user_id) = UserId::parse(reader.viewer_id()) else {
                continue;
            };
            let Some(rule) = subject.rule(&rules.rules, &user_id)? else {
                continue;
            };
            if !rule.triggers_notification() || !may_be_told(&reader, subject)? {
                continue;
            }
            let ignored = self.push.rooms().ignored_by(self.view, user)?;
            let sender = subject.json()["sender"].as_str();
            if sender.is_some_and(|sender| ignored.has_id(sender)) {
                continue;
            }
            let record = PushRecord {
                at: self.push.now(),
                event: Some(pushed(room, event, subject.json(), rule)),
            };
            self.add(at, user, &record);
        }
        Ok(())
    }

    /// Those with pushers who are in the room, and whom the event itself invites.
    fn concerned(
        &self,
        room: RoomSerial,
        event: EventSerial,
    ) -> Result<Vec<UserSerial>, StoreError> {
        let head = self.view.get(&HEAD_BY_ROOM, &room)?;
        let joined = head.map_or(0, |head| head.joined);
        let is_small = usize::try_from(joined).is_ok_and(|joined| joined < self.subscribers.len());
        let members: Vec<(UserSerial, Membership)> = if is_small {
            self.view
                .scan(&MEMBER_BY_ROOM, &(room,))
                .map(|row| row.map(|((_, user), membership)| (user, membership)))
                .filter(|row| {
                    row.as_ref()
                        .map_or(true, |(user, _)| self.subscribers.contains_key(user))
                })
                .collect::<Result<_, _>>()?
        } else {
            let mut members = Vec::new();
            for user in self.subscribers.keys() {
                if let Some(membership) = self.view.get(&MEMBER_BY_ROOM, &(room, *user))? {
                    members.push((*user, membership));
                }
            }
            members
        };
        let mut concerned = Vec::new();
        for (user, membership) in members {
            let is_concerned = match membership {
                Membership::Join => true,
                Membership::Invite => self
                    .view
                    .get(&MEMBERSHIP_BY_USER, &(user, room))?
                    .is_some_and(|record| record.event == event),
                _ => false,
            };
            if is_concerned {
                concerned.push(user);
            }
        }
        Ok(concerned)
    }

    /// Wants a user's gateways to be told the count, if it is not what they know.
    fn count(&mut self, at: (Position, u32), user: UserSerial) -> Result<(), ReadError> {
        let Some(pushers) = self.subscribers.get(&user) else {
            return Ok(());
        };
        let unread = self.push.rooms().unread_everywhere(self.view, user)?;
        let record = PushRecord {
            at: self.push.now(),
            event: None,
        };
        let mut rows = Vec::new();
        for pusher in pushers {
            let told = self.view.get(&TOLD_COUNT_BY_PUSHER, &pusher.serial)?;
            if told.unwrap_or(0) != unread {
                rows.push(address(user, pusher));
            }
        }
        self.wanted.extend(rows.into_iter().map(|address| Wanted {
            address,
            position: at.0,
            number: at.1,
            record: record.clone(),
        }));
        Ok(())
    }

    /// Wants all of a user's pushers that were there before to get a row.
    fn add(&mut self, at: (Position, u32), user: UserSerial, record: &PushRecord) {
        let pushers = self.subscribers.get(&user).into_iter().flatten();
        let rows = pushers
            .filter(|pusher| pusher.since < at.0)
            .map(|pusher| Wanted {
                address: address(user, pusher),
                position: at.0,
                number: at.1,
                record: record.clone(),
            });
        self.wanted.extend(rows);
    }
}

/// Whether the reader's viewer may be told of an event: sees it, or is invited by it.
pub(super) fn may_be_told(
    reader: &EventReader<'_, Snapshot>,
    subject: &PushSubject<'_, Snapshot>,
) -> Result<bool, ReadError> {
    let key = (reader.viewer().user, reader.room);
    let Some(record) = reader.view.get(&MEMBERSHIP_BY_USER, &key)? else {
        return Ok(false);
    };
    match record.membership {
        Membership::Join => Visibility::new(reader)?.allows(subject.event()),
        Membership::Invite => Ok(record.event == subject.event().serial),
        _ => Ok(false),
    }
}

/// What is kept of an event and the rule that notifies about it.
fn pushed(
    room: RoomSerial,
    event: EventSerial,
    json: &Value,
    rule: AnyPushRuleRef<'_>,
) -> PushedEvent {
    let tweaks = tweaks(rule.actions());
    // What makes a sound or is meant for the user wakes the device at once, and what may
    // be either, because nobody can look into it.
    let is_urgent = rule.triggers_highlight()
        || rule.triggers_sound().is_some()
        || json["type"] == "m.room.encrypted";
    PushedEvent {
        room,
        event,
        tweaks: serde_json::to_vec(&tweaks).unwrap_or_default(),
        is_urgent,
    }
}

/// The tweaks that actions set (client-server API, "Actions").
fn tweaks(actions: &[Action]) -> Map<String, Value> {
    let mut tweaks = Map::new();
    for action in actions {
        if let Action::SetTweak(tweak) = action {
            let value = tweak
                .value()
                .and_then(|value| serde_json::from_str(value.get()).ok())
                .unwrap_or(Value::Null);
            tweaks.insert(tweak.set_tweak().to_owned(), value);
        }
    }
    tweaks
}
