//! From the log to what waits for each server.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use accounts::MAX_SERVER_ROWS;
use model::{
    EventSerial, LogEntry, Membership, PublishedDevicesRecord, RoomSerial, RoomServerRecord,
    ServerEdu, UserSerial, WaitingRoomRecord, neighbours_scope,
    tables::{
        COMPLETED_BY_ROOM, EDU_BY_SERVER, EDU_QUEUE_BY_SERVER, MEMBER_BY_ROOM, MEMBERSHIP_BY_USER,
        PUBLISHED_DEVICES_BY_USER, SERVER_BY_ROOM, TRANSACTION_BY_SERVER, WAITING_ROOM_BY_SERVER,
    },
};
use ruma_common::{OwnedUserId, UserId};
use runtime::Stop;
use store::{
    Batch, Consumer, Latest, LogRecord, Position, Read, Snapshot, Store, StoreError, Value as _,
    Watch,
};

use super::{Federation, destinations::Told, device_news, ephemeral::Notice, waiting};
use crate::following::{Follower, follow};

/// What records ask for.
#[derive(Default)]
struct Routed {
    /// By server and room.
    rooms: BTreeMap<(String, RoomSerial), WaitingRoomRecord>,
    edus: Vec<(String, Position, ServerEdu)>,
    published: HashMap<UserSerial, PublishedDevicesRecord>,
    /// Servers for which somebody else has written something.
    rings: BTreeSet<String>,
    /// What is told soon or never.
    notices: Vec<(BTreeSet<String>, Notice)>,
}

impl Routed {
    /// Whether nothing is to be written.
    fn is_nothing(&self) -> bool {
        self.rooms.is_empty() && self.edus.is_empty() && self.published.is_empty()
    }

    fn event(&mut self, server: &str, room: RoomSerial, position: u64) {
        let new = WaitingRoomRecord {
            from: position,
            from_number: 0,
            newest: position,
            events: 0,
        };
        let record = self.rooms.entry((server.to_owned(), room)).or_insert(new);
        record.newest = record.newest.max(position);
        record.events += 1;
    }

    fn write(&self, latest: &Latest, batch: &mut Batch) -> Result<(), StoreError> {
        for (key, new) in &self.rooms {
            let record = match latest.get(&WAITING_ROOM_BY_SERVER, key)? {
                Some(known) => WaitingRoomRecord {
                    newest: known.newest.max(new.newest),
                    events: known.events.saturating_add(new.events),
                    ..known
                },
                None => *new,
            };
            batch.put(&WAITING_ROOM_BY_SERVER, key, &record);
        }
        let mut queues = BTreeMap::new();
        let mut dropped = 0;
        for (number, (server, position, edu)) in (0_u32..).zip(&self.edus) {
            let known = match queues.get(server) {
                Some(known) => *known,
                None => latest
                    .get(&EDU_QUEUE_BY_SERVER, server)?
                    .unwrap_or_default(),
            };
            // A change of a device that is not told is found out with the next one, whose
            // predecessor the other server does not know.
            if known.rows >= MAX_SERVER_ROWS {
                dropped += 1;
                continue;
            }
            let usage = model::EduQueueRecord {
                rows: known.rows + 1,
                ..known
            };
            queues.insert(server, usage);
            batch.put(&EDU_BY_SERVER, &(server.clone(), *position, number), edu);
        }
        for (server, usage) in queues {
            batch.put(&EDU_QUEUE_BY_SERVER, server, &usage);
        }
        if dropped > 0 {
            log::warn!("{dropped} changes of devices dropped: the queues of servers are full");
        }
        for (user, record) in &self.published {
            batch.put(&PUBLISHED_DEVICES_BY_USER, user, record);
        }
        Ok(())
    }
}

/// Follows the log for the servers that this one has met.
struct ServerFollower {
    federation: Federation,
    neighbours: Watch,
    /// Whether it had met none when that was looked at last.
    is_alone: bool,
}

impl Follower for ServerFollower {
    type Error = StoreError;
    const NAME: &'static str = "federation";
    const BATCH: usize = 32;

    fn store(&self) -> &Store {
        self.federation.store()
    }

    /// It is never trimmed past it, unless the database was used by a version without it.
    fn has_missed(&self, since: u64) {
        log::warn!("other servers are told from now on: the log no longer reaches back to {since}");
    }

    async fn begin(&mut self) -> Result<(), StoreError> {
        if !self.federation.inner.options.enabled {
            return Ok(());
        }
        for server in self.store().read_long(waiting::names).await? {
            self.federation.ring_or_forget(&server).await?;
        }
        Ok(())
    }

    /// While this server has met no other one, or speaks to none, nothing that happens is of
    /// interest.
    async fn unwanted(&mut self) -> Result<Option<Position>, StoreError> {
        if !self.federation.inner.options.enabled {
            self.federation.discard().await?;
            return Ok(Some(self.store().snapshot().position()));
        }
        if !self.is_alone {
            return Ok(None);
        }
        let read = |view: &Snapshot| {
            let has_met = view.scan(&SERVER_BY_ROOM, &()).next().transpose()?;
            let is_alone = has_met.is_none() && waiting::names(view)?.is_empty();
            Ok::<_, StoreError>(is_alone.then_some(view.position()))
        };
        let now = self.store().read(read).await?;
        self.is_alone = now.is_some();
        Ok(now)
    }

    async fn changed(&mut self) {
        self.neighbours.changed().await;
    }

    async fn take(
        &mut self,
        consumer: &mut Consumer,
        records: Vec<LogRecord>,
        last: Position,
    ) -> Result<bool, StoreError> {
        let federation = &self.federation;
        let mut routed = federation.routed(records).await?;
        let notices = std::mem::take(&mut routed.notices);
        let mut rings = std::mem::take(&mut routed.rings);
        rings.extend(routed.rooms.keys().map(|(server, _)| server.clone()));
        rings.extend(routed.edus.iter().map(|(server, _, _)| server.clone()));
        let is_something = !routed.is_nothing();
        if is_something {
            consumer
                .advance_with(last, move |latest, batch| routed.write(latest, batch))
                .await?;
        }
        for server in rings {
            federation.ring_or_forget(&server).await?;
        }
        for (servers, notice) in notices {
            federation.tell_soon(&servers, &notice);
        }
        Ok(is_something)
    }
}

impl Federation {
    /// Follows the log and sends, until the server stops.
    pub async fn run(self, stop: Stop) {
        let tasks = &self.inner.parts.tasks;
        if self.inner.options.enabled {
            let federation = self.clone();
            tasks.spawn("federation-dispatch", |stop| federation.dispatch(stop));
            let federation = self.clone();
            tasks.spawn("federation-typing", |stop| federation.follow_typing(stop));
            let federation = self.clone();
            tasks.spawn("federation-presence", |stop| {
                federation.follow_presence(stop)
            });
        }
        let follower = ServerFollower {
            // Subscribe first, read second.
            neighbours: self.store().watch(&[neighbours_scope()]),
            is_alone: true,
            federation: self,
        };
        follow(follower, stop, "other servers are not told").await;
    }

    /// There is something for a server. Nothing is kept for one that this server does not
    /// speak to.
    async fn ring_or_forget(&self, server: &str) -> Result<(), StoreError> {
        if let Some(server) = self.may_tell(server) {
            self.inner.schedule.ring(server);
            return Ok(());
        }
        waiting::forget(self.store(), server, None).await
    }

    /// Forgets what waits for others: nobody will be sent anything.
    async fn discard(&self) -> Result<(), StoreError> {
        let waits = |view: &Snapshot| waiting::names(view).map(|names| !names.is_empty());
        if !self.store().read(waits).await? {
            return Ok(());
        }
        log::info!("federation.enabled is off: what waited for other servers is forgotten");
        self.store()
            .commit(|_, _, batch| {
                batch.delete_prefix(&WAITING_ROOM_BY_SERVER, &());
                batch.delete_prefix(&TRANSACTION_BY_SERVER, &());
                batch.delete_prefix(&EDU_BY_SERVER, &());
                batch.delete_prefix(&EDU_QUEUE_BY_SERVER, &());
                Ok::<_, StoreError>(())
            })
            .await
    }

    async fn routed(&self, records: Vec<LogRecord>) -> Result<Routed, StoreError> {
        let federation = self.clone();
        self.store()
            .read(move |view| {
                let mut routing = Routing {
                    federation: &federation,
                    view,
                    routed: Routed::default(),
                };
                for record in &records {
                    for entry in &record.entries {
                        match LogEntry::decode(entry) {
                            Ok(entry) => routing.entry(record.position, entry)?,
                            Err(error) => {
                                log::error!("an entry of the log cannot be read: {error}");
                            }
                        }
                    }
                }
                Ok(routing.routed)
            })
            .await
    }
}

/// Looks at records of the log, on one snapshot.
struct Routing<'a> {
    federation: &'a Federation,
    view: &'a Snapshot,
    routed: Routed,
}

impl Routing<'_> {
    fn entry(&mut self, position: Position, entry: LogEntry) -> Result<(), StoreError> {
        match entry {
            LogEntry::Event { room, event } => {
                // One event that cannot be read must not keep all others back.
                match self.event(room, event) {
                    Err(StoreError::Busy) => return Err(StoreError::Busy),
                    Err(error) => {
                        log::error!(event = event.0; "an event was not sent: {error}");
                    }
                    Ok(()) => {}
                }
                Ok(())
            }
            LogEntry::Entered { room, event } => self.entered(room, event),
            LogEntry::Receipt { room, user } => self.receipt(position, room, user),
            LogEntry::DeviceList { user } => self.devices(position, user),
            LogEntry::Completed { room, since, found } => self.found(position, room, since, &found),
            LogEntry::ToServer { server } => {
                self.routed.rings.insert(server);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn event(&mut self, room: RoomSerial, event: EventSerial) -> Result<(), StoreError> {
        let servers: Vec<(String, RoomServerRecord)> = self
            .view
            .scan(&SERVER_BY_ROOM, &(room,))
            .map(|row| row.map(|((_, server), record)| (server, record)))
            .collect::<Result<_, _>>()?;
        // Mostly there are none, and nothing need be read.
        if servers.is_empty() {
            return Ok(());
        }
        let own = self.federation.own_name();
        let Some(told) = Told::load(self.view, own, event)? else {
            return Ok(());
        };
        for (server, record) in &servers {
            if told.is_for(server, record) && self.federation.may_tell(server).is_some() {
                self.routed.event(server, room, told.position);
            }
        }
        match &told.joined {
            Some(joined) => self.newcomer(room, joined, told.position),
            None => Ok(()),
        }
    }

    /// Somebody has come in by way of another server, which tells the others of that itself.
    fn entered(&mut self, room: RoomSerial, event: EventSerial) -> Result<(), StoreError> {
        match Told::load(self.view, self.federation.own_name(), event)? {
            Some(Told {
                joined: Some(joined),
                position,
                ..
            }) => self.newcomer(room, &joined, position),
            _ => Ok(()),
        }
    }

    /// Tells the servers of a room of the devices of somebody who has come into it, but for
    /// those that are told of their changes already (server-server API, "Device Management").
    fn newcomer(
        &mut self,
        room: RoomSerial,
        user_id: &str,
        position: u64,
    ) -> Result<(), StoreError> {
        let (Some(user), Ok(user_id)) = (
            rooms::user_serial(self.view, user_id)?,
            UserId::parse(user_id),
        ) else {
            return Ok(());
        };
        let record = self.view.get(&MEMBERSHIP_BY_USER, &(user, room))?;
        // Another name or face of somebody who was there is no news of devices.
        if record.is_none_or(|record| record.last_join != position) {
            return Ok(());
        }
        // Where members were left out, who is there was not known: they find the devices by the
        // join, as everybody does.
        let completed = self.view.get(&COMPLETED_BY_ROOM, &room)?;
        let was_partial = completed.is_some_and(|at| at.0 > position);
        if was_partial || rooms::is_partial(self.view, room)? {
            return Ok(());
        }
        let there = rooms::servers_in(self.view, room)?.into_iter().collect();
        let mut new = rooms::servers_met_by_joining(self.view, user, (room, position), there)?;
        new.retain(|server| self.federation.may_tell(server).is_some());
        if new.is_empty() {
            return Ok(());
        }
        let Some(published) = accounts::published_devices(self.view, &user_id, false)? else {
            return Ok(());
        };
        let devices = accounts::devices(self.view, user)?;
        for server in new {
            let devices = devices.iter().map(|device| ServerEdu::Device {
                user,
                device_id: device.device_id.to_string(),
                stream_id: published.stream_id,
                // It has heard nothing of them, and asks for them all.
                previous: None,
            });
            let keys = published.master_key.is_some() || published.self_signing_key.is_some();
            let keys = keys.then_some(ServerEdu::SigningKeys { user });
            let edus = devices.chain(keys);
            let edus = edus.map(|edu| (server.clone(), Position(position), edu));
            self.routed.edus.extend(edus);
        }
        Ok(())
    }

    /// The id of a user of this server.
    fn own_user(&self, user: UserSerial) -> Result<Option<OwnedUserId>, StoreError> {
        let user_id = model::user_id(self.view, user)?.unwrap_or_default();
        let user_id = UserId::parse(user_id).ok();
        let own = self.federation.own_name();
        Ok(user_id.filter(|user_id| user_id.server_name() == own))
    }

    fn receipt(
        &mut self,
        position: Position,
        room: RoomSerial,
        user: UserSerial,
    ) -> Result<(), StoreError> {
        let servers = rooms::servers_in(self.view, room)?;
        if !servers.is_empty() && self.own_user(user)?.is_some() {
            let notice = Notice::Receipts(room, user, position);
            self.routed
                .notices
                .push((servers.into_iter().collect(), notice));
        }
        Ok(())
    }

    /// Servers have been in a room for a while of which nobody knew: they are told whose
    /// devices changed meanwhile, and ask for what they need.
    fn found(
        &mut self,
        position: Position,
        room: RoomSerial,
        since: u64,
        servers: &[String],
    ) -> Result<(), StoreError> {
        let may_tell = |server: &&String| self.federation.may_tell(server).is_some();
        let servers: Vec<&String> = servers.iter().filter(may_tell).collect();
        if servers.is_empty() {
            return Ok(());
        }
        for row in self.view.scan(&MEMBER_BY_ROOM, &(room,)) {
            let ((_, user), membership) = row?;
            if membership != Membership::Join || self.own_user(user)?.is_none() {
                continue;
            }
            let known = self.view.get(&PUBLISHED_DEVICES_BY_USER, &user)?;
            let Some(known) = known.filter(|known| known.stream_id > since) else {
                continue;
            };
            for server in &servers {
                let edu = match known.devices.first() {
                    Some((device_id, _)) => ServerEdu::Device {
                        user,
                        device_id: device_id.clone(),
                        stream_id: known.stream_id,
                        // They never got it: so they see that they have missed something.
                        previous: Some(known.stream_id - 1),
                    },
                    None => ServerEdu::SigningKeys { user },
                };
                self.routed.edus.push(((*server).clone(), position, edu));
            }
        }
        Ok(())
    }

    fn devices(&mut self, position: Position, user: UserSerial) -> Result<(), StoreError> {
        let Some(user_id) = self.own_user(user)? else {
            return Ok(());
        };
        let servers = rooms::servers_met_by(self.view, user)?;
        let servers: Vec<String> = servers
            .into_iter()
            .filter(|server| self.federation.may_tell(server).is_some())
            .collect();
        // Who comes later asks for everything.
        if servers.is_empty() {
            return Ok(());
        }
        let known = match self.routed.published.get(&user) {
            Some(known) => Some(known.clone()),
            None => self.view.get(&PUBLISHED_DEVICES_BY_USER, &user)?,
        };
        let with_names = self.federation.inner.options.device_names;
        let of = (user, &*user_id);
        let Some(news) = device_news::news(self.view, of, known, with_names, position)? else {
            return Ok(());
        };
        for server in servers {
            let devices = news.devices.iter().map(|device| ServerEdu::Device {
                user,
                device_id: device.device_id.clone(),
                stream_id: device.stream_id,
                previous: device.previous,
            });
            let keys = news.signing_keys.then_some(ServerEdu::SigningKeys { user });
            let edus = devices.chain(keys);
            let edus = edus.map(|edu| (server.clone(), position, edu));
            self.routed.edus.extend(edus);
        }
        self.routed.published.insert(user, news.record);
        Ok(())
    }
}
