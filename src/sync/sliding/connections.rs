//! The connections of all devices, in memory only: what was told before the last
//! answer and with it, so that an answer that got lost can be given again.
//!
//! Whoever's connection is forgotten, for want of memory or because the server was
//! started again, begins anew (`M_UNKNOWN_POS`).

use std::{collections::HashMap, sync::Arc, time::Duration};

use model::{DeviceSerial, UserSerial, tables};
use parking_lot::Mutex;
use rooms::Stays;
use runtime::Timestamp;
use store::{Position, Read, Scope, Snapshot, Store, StoreError, Watch};
use tokio::sync::oneshot;

use super::known::Known;
use crate::{SyncError, token::SlidingToken};

/// The most connections of one device.
const MOST_OF_DEVICE: usize = 8;
/// The most bytes of all connections, about.
const MOST_BYTES: usize = 128 * 1024 * 1024;
/// The most bytes of one device's connections, about.
const MOST_BYTES_OF_DEVICE: usize = 32 * 1024 * 1024;
/// How often it is looked whether devices are still there.
const SWEEP: Duration = Duration::from_secs(600);

/// The connections of all devices.
#[derive(Default)]
pub(crate) struct Connections(Mutex<Table>);

#[derive(Default)]
struct Table {
    devices: HashMap<DeviceSerial, Device>,
    bytes: usize,
    /// Counts visits, to know which connection was used last.
    visits: u64,
    /// The number of the last answer of any connection.
    answers: u64,
    swept: Timestamp,
}

struct Device {
    user: UserSerial,
    device_id: String,
    connections: HashMap<String, Connection>,
}

#[derive(Default)]
struct Connection {
    /// What was told up to the answers that the client may go on from: the last one,
    /// and the one before as long as it is not known that the last one came.
    states: Vec<(u64, Arc<Known>)>,
    bytes: usize,
    /// The visit that used it last; only this one may leave an answer.
    visit: u64,
    /// Dropped to tell that visit that another has come.
    alive: Option<oneshot::Sender<()>>,
    /// What the last visit waited for: the next one most likely waits for the same.
    watching: Option<Watching>,
}

/// A subscription to all that can be news on a connection.
pub(crate) struct Watching {
    pub(crate) watch: Watch,
    pub(crate) scopes: Vec<Scope>,
    /// What it was made for: the rooms, and what was asked.
    memberships: Arc<Stays>,
    asked: u64,
}

impl Watching {
    /// Subscribes to `scopes` for a user with these rooms.
    pub(crate) fn new(
        store: &Store,
        scopes: Vec<Scope>,
        memberships: Arc<Stays>,
        asked: u64,
    ) -> Self {
        Self {
            watch: store.watch(&scopes),
            scopes,
            memberships,
            asked,
        }
    }

    /// Whether it is still what is to be waited for.
    pub(crate) fn suits(&self, memberships: &Arc<Stays>, asked: u64) -> bool {
        Arc::ptr_eq(&self.memberships, memberships) && self.asked == asked
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.scopes.len() * 4 * size_of::<Scope>()
    }
}

impl Connection {
    /// From now on this visit alone counts; the one before is told so.
    fn begin(&mut self, visit: u64) -> oneshot::Receiver<()> {
        let (alive, superseded) = oneshot::channel();
        self.visit = visit;
        self.alive = Some(alive);
        superseded
    }
}

/// A request on its way: what it goes on from.
pub(crate) struct Visit {
    device: DeviceSerial,
    conn_id: String,
    number: u64,
    /// The answer that it goes on from.
    pub(crate) base: Option<(u64, Arc<Known>)>,
    /// What the visit before waited for.
    pub(crate) watching: Option<Watching>,
    superseded: oneshot::Receiver<()>,
}

impl Visit {
    /// Waits until another request comes on the same connection. Only for a visit that
    /// goes on from an answer.
    pub(crate) async fn superseded(&mut self) {
        if !self.superseded.is_terminated() {
            let _ = (&mut self.superseded).await;
        }
    }
}

impl Connections {
    /// Connections are numbered from the time on, so that numbers of before a restart
    /// are other ones.
    pub(crate) fn new(now: Timestamp) -> Self {
        Self(Mutex::new(Table {
            answers: now.0.saturating_mul(1000),
            swept: now,
            ..Table::default()
        }))
    }

    /// Begins a request on a connection, where `token` stands or anew.
    ///
    /// # Errors
    /// [`SyncError::UnknownPosition`] if the connection is not known to stand there.
    pub(crate) fn visit(
        &self,
        session: &accounts::Session,
        conn_id: &str,
        token: Option<SlidingToken>,
    ) -> Result<Visit, SyncError> {
        let mut table = self.0.lock();
        table.visits += 1;
        let number = table.visits;
        let (_, mut superseded) = oneshot::channel();
        let (mut base, mut watching) = (None, None);
        if let Some(token) = token {
            let device = table.devices.get_mut(&session.device);
            let connection = device
                .and_then(|device| device.connections.get_mut(conn_id))
                .ok_or(SyncError::UnknownPosition)?;
            let place = connection
                .states
                .iter()
                .position(|(answer, _)| *answer == token.answer)
                .ok_or(SyncError::UnknownPosition)?;
            // What came before is not asked for again.
            connection.states.drain(..place);
            base = connection.states.first().cloned();
            superseded = connection.begin(number);
            watching = connection.watching.take();
        }
        Ok(Visit {
            device: session.device,
            conn_id: conn_id.to_owned(),
            number,
            base,
            watching,
            superseded,
        })
    }

    /// Leaves an answer, and gives its number. It is kept only if no other request came
    /// on the connection meanwhile: the client cannot have wanted both.
    pub(crate) fn leave(
        &self,
        session: &accounts::Session,
        visit: &mut Visit,
        known: Known,
    ) -> u64 {
        let bytes = known.bytes();
        let watching = visit.watching.take();
        let mut guard = self.0.lock();
        let table = &mut *guard;
        table.answers += 1;
        let answer = table.answers;
        let state = (answer, Arc::new(known));
        let current = table
            .devices
            .get(&visit.device)
            .and_then(|device| device.connections.get(&visit.conn_id))
            .map(|connection| connection.visit);
        let states = match (&visit.base, current) {
            (Some(base), Some(current)) if current == visit.number => vec![base.clone(), state],
            (None, current) if current.is_none_or(|current| current < visit.number) => vec![state],
            _ => return answer,
        };
        // What two states have in common is counted twice.
        let bytes = bytes * states.len() + watching.as_ref().map_or(0, Watching::bytes);
        let device = table.devices.entry(visit.device);
        let device = device.or_insert_with(|| Device {
            user: session.user,
            device_id: session.device_id.to_string(),
            connections: HashMap::new(),
        });
        let connection = device.connections.entry(visit.conn_id.clone()).or_default();
        table.bytes = (table.bytes + bytes).saturating_sub(connection.bytes);
        connection.states = states;
        connection.bytes = bytes;
        connection.watching = watching;
        if visit.base.is_none() {
            connection.begin(visit.number);
        }
        table.make_room(visit.device, &visit.conn_id);
        answer
    }

    /// Forgets the connections of devices that are gone, now and then.
    pub(crate) fn sweep(&self, snapshot: &Snapshot, now: Timestamp) -> Result<(), StoreError> {
        let devices: Vec<(DeviceSerial, (UserSerial, String))> = {
            let mut table = self.0.lock();
            if now.since(table.swept) < SWEEP {
                return Ok(());
            }
            table.swept = now;
            let devices = table.devices.iter();
            devices
                .map(|(serial, device)| (*serial, (device.user, device.device_id.clone())))
                .collect()
        };
        for (serial, key) in devices {
            let device = snapshot.get(&tables::DEVICE_BY_USER, &key)?;
            if device.is_none_or(|device| device.serial != serial) {
                self.forget(serial);
            }
        }
        Ok(())
    }

    fn forget(&self, device: DeviceSerial) {
        let mut table = self.0.lock();
        if let Some(device) = table.devices.remove(&device) {
            let freed: usize = device.connections.values().map(|one| one.bytes).sum();
            table.bytes = table.bytes.saturating_sub(freed);
        }
    }
}

impl Table {
    /// Forgets the connections that were not used for longest, never the one of
    /// `conn_id`, until there is room.
    fn make_room(&mut self, device: DeviceSerial, conn_id: &str) {
        while let Some(of_device) = self.devices.get(&device) {
            let bytes: usize = of_device.connections.values().map(|one| one.bytes).sum();
            if of_device.connections.len() <= MOST_OF_DEVICE && bytes <= MOST_BYTES_OF_DEVICE {
                break;
            }
            let others = of_device.connections.iter();
            let oldest = others
                .filter(|(name, _)| *name != conn_id)
                .min_by_key(|(_, one)| one.visit)
                .map(|(name, _)| name.clone());
            match oldest {
                Some(name) => self.remove(device, &name),
                None => break,
            }
        }
        while self.bytes > MOST_BYTES {
            let all = self.devices.iter().flat_map(|(serial, one)| {
                let named = one.connections.iter();
                named.map(move |(name, one)| (one.visit, *serial, name))
            });
            let oldest = all
                .filter(|(_, serial, name)| (*serial, name.as_str()) != (device, conn_id))
                .min();
            match oldest.map(|(_, serial, name)| (serial, name.clone())) {
                Some((serial, name)) => self.remove(serial, &name),
                None => break,
            }
        }
    }

    fn remove(&mut self, serial: DeviceSerial, name: &str) {
        let Some(device) = self.devices.get_mut(&serial) else {
            return;
        };
        if let Some(one) = device.connections.remove(name) {
            self.bytes = self.bytes.saturating_sub(one.bytes);
        }
        if device.connections.is_empty() {
            self.devices.remove(&serial);
        }
    }
}

/// The token of an answer.
pub(crate) fn token(epoch: u64, answer: u64, position: Position) -> SlidingToken {
    SlidingToken {
        epoch,
        answer,
        position,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(device: u64) -> accounts::Session {
        accounts::Session {
            user_id: "@a:b.c".try_into().unwrap(),
            user: UserSerial(1),
            device_id: "D".into(),
            device: DeviceSerial(device),
            roles: model::Roles::NONE,
            is_guest: false,
            lacks_second_factor: false,
            service: None,
            own_rate: None,
        }
    }

    fn at(answer: u64) -> Option<SlidingToken> {
        Some(token(1, answer, Position(0)))
    }

    fn known(position: u64) -> Known {
        Known {
            position: Position(position),
            ..Known::default()
        }
    }

    fn stands(visit: &Visit) -> Option<u64> {
        visit.base.as_ref().map(|(_, known)| known.position.0)
    }

    #[test]
    fn an_answer_can_be_asked_for_again_until_the_next_is_confirmed() {
        let connections = Connections::new(Timestamp(5));
        let me = session(1);
        let mut first = connections.visit(&me, "", None).unwrap();
        let one = connections.leave(&me, &mut first, known(1));
        let mut visit = connections.visit(&me, "", at(one)).unwrap();
        assert_eq!(stands(&visit), Some(1));
        let two = connections.leave(&me, &mut visit, known(2));
        // The second answer got lost.
        let mut visit = connections.visit(&me, "", at(one)).unwrap();
        assert_eq!(stands(&visit), Some(1));
        let again = connections.leave(&me, &mut visit, known(3));
        assert!(connections.visit(&me, "", at(two)).is_err(), "was replaced");
        let visit = connections.visit(&me, "", at(again)).unwrap();
        assert_eq!(stands(&visit), Some(3));
        assert!(connections.visit(&me, "", at(one)).is_err(), "came");
        assert!(connections.visit(&me, "other", at(again)).is_err());
        assert!(connections.visit(&session(2), "", at(again)).is_err());
    }

    #[tokio::test]
    async fn of_two_requests_at_once_the_later_one_counts() {
        let connections = Connections::new(Timestamp(5));
        let me = session(1);
        let mut first = connections.visit(&me, "", None).unwrap();
        let one = connections.leave(&me, &mut first, known(1));
        let mut slow = connections.visit(&me, "", at(one)).unwrap();
        let mut quick = connections.visit(&me, "", at(one)).unwrap();
        slow.superseded().await;
        slow.superseded().await;
        let answer = connections.leave(&me, &mut quick, known(2));
        connections.leave(&me, &mut slow, known(9));
        let mut visit = connections.visit(&me, "", at(answer)).unwrap();
        assert_eq!(stands(&visit), Some(2));
        // Whoever begins anew is answered, whatever a late request leaves.
        let mut fresh = connections.visit(&me, "", None).unwrap();
        let anew = connections.leave(&me, &mut fresh, known(5));
        connections.leave(&me, &mut visit, known(3));
        assert!(connections.visit(&me, "", at(anew)).is_ok());
    }

    #[test]
    fn connections_are_bounded() {
        let connections = Connections::new(Timestamp(5));
        let me = session(1);
        let begin = |name: &str| {
            let mut visit = connections.visit(&me, name, None).unwrap();
            connections.leave(&me, &mut visit, known(1))
        };
        let oldest = begin("0");
        for number in 1..=MOST_OF_DEVICE {
            begin(&number.to_string());
        }
        assert!(connections.visit(&me, "0", at(oldest)).is_err());
        let table = connections.0.lock();
        let kept = &table.devices[&me.device].connections;
        assert_eq!(kept.len(), MOST_OF_DEVICE);
        let bytes: usize = kept.values().map(|one| one.bytes).sum();
        assert_eq!(table.bytes, bytes);
    }

    #[test]
    fn a_device_is_forgotten_with_all_it_had() {
        let connections = Connections::new(Timestamp(5));
        let me = session(1);
        let mut visit = connections.visit(&me, "", None).unwrap();
        let one = connections.leave(&me, &mut visit, known(1));
        connections.forget(me.device);
        assert!(connections.visit(&me, "", at(one)).is_err());
        assert_eq!(connections.0.lock().bytes, 0);
    }
}
