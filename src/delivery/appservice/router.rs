//! From the log to the services' queues.

use std::{collections::HashSet, sync::Arc};

use model::{
    LogEntry, RoomSerial, ServiceNews, UserSerial,
    tables::{NEWS_BY_SERVICE, TRANSACTION_BY_SERVICE},
};
use ruma_common::UserId;
use runtime::Stop;
use services::Service;
use store::{Consumer, LogRecord, Position, Read as _, Snapshot, Store, StoreError, Value as _};
use tokio::sync::watch;

use super::{
    Appservices, TellError,
    interest::{Interested, of_user},
};
use crate::following::{Follower, follow};

/// A row for a service's queue.
struct Wanted {
    service: String,
    position: Position,
    number: u32,
    news: ServiceNews,
}

/// Follows the log for the services that there are.
struct ServiceFollower {
    appservices: Appservices,
    changes: watch::Receiver<u64>,
}

impl Follower for ServiceFollower {
    type Error = TellError;
    const NAME: &'static str = "application services";
    const BATCH: usize = 64;

    fn store(&self) -> &Store {
        self.appservices.store()
    }

    /// It is never trimmed past them, unless the database was used by a version that knows no
    /// application services.
    fn has_missed(&self, since: u64) {
        log::error!("application services miss events: the log no longer reaches back to {since}");
    }

    async fn begin(&mut self) -> Result<(), TellError> {
        Ok(self.appservices.begin_anew().await?)
    }

    async fn unwanted(&mut self) -> Result<Option<Position>, TellError> {
        if self.changes.has_changed().unwrap_or(false) {
            self.changes.mark_unchanged();
            self.begin().await?;
        }
        let has_none = self.appservices.services().all().is_empty();
        Ok(has_none.then(|| self.store().snapshot().position()))
    }

    async fn changed(&mut self) {
        // Noted here, looked at before the next records are.
        if self.changes.changed().await.is_ok() {
            self.changes.mark_changed();
        }
    }

    async fn take(
        &mut self,
        consumer: &mut Consumer,
        records: Vec<LogRecord>,
        last: Position,
    ) -> Result<bool, TellError> {
        let wanted = self.appservices.wanted(records).await?;
        if wanted.is_empty() {
            return Ok(false);
        }
        self.appservices.queue(consumer, last, wanted).await?;
        Ok(true)
    }
}

impl Appservices {
    /// Follows the log until the server stops.
    pub async fn run(self, stop: Stop) {
        let tasks = &self.inner.parts.tasks;
        let (typing, presence) = (self.clone(), self.clone());
        tasks.spawn("appservice-typing", |stop| typing.follow_typing(stop));
        tasks.spawn("appservice-presence", |stop| presence.follow_presence(stop));
        let follower = ServiceFollower {
            changes: self.services().changes(),
            appservices: self,
        };
        follow(follower, stop, "application services are not told").await;
    }

    /// Sends couriers for all services, and forgets what was kept for others.
    async fn begin_anew(&self) -> Result<(), StoreError> {
        self.inner.interest.lock().clear();
        let services = self.services().all();
        let known: HashSet<String> = services
            .iter()
            .map(|service| service.id().to_owned())
            .collect();
        let gone = self
            .store()
            .read_long(move |view| {
                let mut gone = HashSet::new();
                for row in view.scan(&TRANSACTION_BY_SERVICE, &()) {
                    gone.insert(row?.0);
                }
                for row in view.scan(&NEWS_BY_SERVICE, &()) {
                    gone.insert(row?.0.0);
                }
                gone.retain(|id| !known.contains(id));
                Ok::<_, StoreError>(gone)
            })
            .await?;
        for id in gone {
            log::info!("the application service {id} is gone, and with it what waited for it");
            self.store()
                .commit(move |_, _, batch| {
                    batch.delete_prefix(&NEWS_BY_SERVICE, &(id.clone(),));
                    batch.delete(&TRANSACTION_BY_SERVICE, &id);
                    Ok::<_, StoreError>(())
                })
                .await?;
        }
        for service in services.iter() {
            self.ring(service.id());
        }
        Ok(())
    }

    async fn wanted(&self, records: Vec<LogRecord>) -> Result<Vec<Wanted>, TellError> {
        let appservices = self.clone();
        self.store()
            .read(move |view| {
                let mut wanted = Vec::new();
                for record in &records {
                    for (number, entry) in (0..).zip(&record.entries) {
                        let at = (record.position, number);
                        match LogEntry::decode(entry) {
                            Ok(entry) => appservices.route(view, at, &entry, &mut wanted)?,
                            Err(error) => {
                                log::error!("an entry of the log cannot be read: {error}");
                            }
                        }
                    }
                }
                Ok(wanted)
            })
            .await
    }

    fn route(
        &self,
        view: &Snapshot,
        (position, number): (Position, u32),
        entry: &LogEntry,
        wanted: &mut Vec<Wanted>,
    ) -> Result<(), StoreError> {
        let services = self.services().all();
        let mut interest = self.inner.interest.lock();
        let mut want = |place: usize, news: ServiceNews| {
            wanted.push(Wanted {
                service: services[place].id().to_owned(),
                position,
                number,
                news,
            });
        };
        match *entry {
            LogEntry::Event { room, event } | LogEntry::Entered { room, event } => {
                for place in interest.in_event(view, &services, room, event, position)? {
                    want(place, ServiceNews::Event { room, event });
                }
            }
            LogEntry::Receipt { room, user } | LogEntry::PrivateReceipt { room, user } => {
                let is_private = matches!(entry, LogEntry::PrivateReceipt { .. });
                if !services.iter().any(|it| it.registration.receive_ephemeral) {
                    return Ok(());
                }
                let places = interest.in_room(view, &services, room, position)?;
                let user_id = model::user_id(view, user)?.unwrap_or_default();
                let Ok(user_id) = UserId::parse(user_id) else {
                    return Ok(());
                };
                for place in places {
                    let service = &services[place];
                    let may = !is_private || service.has_user(&user_id);
                    if may && service.registration.receive_ephemeral {
                        want(place, receipts(room, user, is_private));
                    }
                }
            }
            LogEntry::ToServiceDevice { user, device } => {
                for place in encrypting_for(view, &services, user)? {
                    want(place, ServiceNews::ToDevice { user, device });
                }
            }
            LogEntry::ServiceKeys { user, device } => {
                for place in encrypting_for(view, &services, user)? {
                    want(place, ServiceNews::Keys { user, device });
                }
            }
            LogEntry::DeviceList { user } | LogEntry::RemoteDeviceList { user } => {
                if !services.iter().any(|it| it.registration.encrypts) {
                    return Ok(());
                }
                for place in interest.in_user(view, &services, user, position)? {
                    if services[place].registration.encrypts {
                        want(place, ServiceNews::DeviceList { user });
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Stores rows together with the place in the log, and tells the couriers.
    async fn queue(
        &self,
        consumer: &mut Consumer,
        last: Position,
        wanted: Vec<Wanted>,
    ) -> Result<(), StoreError> {
        let told: HashSet<String> = wanted.iter().map(|row| row.service.clone()).collect();
        consumer
            .advance_with(last, move |_, batch| {
                for row in wanted {
                    let key = (row.service, row.position, row.number);
                    batch.put(&NEWS_BY_SERVICE, &key, &row.news);
                }
                Ok(())
            })
            .await?;
        for service in told {
            self.ring(&service);
        }
        Ok(())
    }
}

/// The services that are told what concerns a user's devices.
fn encrypting_for(
    view: &Snapshot,
    services: &[Arc<Service>],
    user: UserSerial,
) -> Result<Interested, StoreError> {
    let user_id = model::user_id(view, user)?.unwrap_or_default();
    let mut places = of_user(services, &user_id);
    places.retain(|place| services[*place].registration.encrypts);
    Ok(places)
}

fn receipts(room: RoomSerial, user: UserSerial, with_private: bool) -> ServiceNews {
    ServiceNews::Receipts {
        room,
        user,
        with_private,
    }
}
