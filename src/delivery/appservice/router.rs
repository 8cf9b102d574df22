//! From the log to the services' queues.

use std::{collections::HashSet, sync::Arc, time::Duration};

use model::{
    LogEntry, RoomSerial, ServiceNews, UserSerial,
    tables::{NEWS_BY_SERVICE, TRANSACTION_BY_SERVICE},
};
use ruma_common::UserId;
use runtime::Stop;
use services::Service;
use store::{Consumer, LogRecord, Position, Read as _, Snapshot, StoreError, Value as _};

use super::{
    Appservices, TellError,
    interest::{Interested, of_user},
};

/// The consumer's name in the log.
const NAME: &str = "application services";
/// Records that are looked at in one go.
const BATCH: usize = 64;
/// How many records that nobody is interested in are passed before the place is stored,
/// and…
const STORE_AFTER: usize = 1_024;
/// …how long it may take when nothing happens.
const STORE_EVERY: Duration = Duration::from_secs(5);
/// How often the place is stored when there are no services.
const STORE_WITHOUT: Duration = Duration::from_secs(60);
/// How long to wait after a failure.
const PAUSE: Duration = Duration::from_secs(5);

/// A row for a service's queue.
struct Wanted {
    service: String,
    position: Position,
    number: u32,
    news: ServiceNews,
}

impl Appservices {
    /// Follows the log until the server stops.
    pub async fn run(self, stop: Stop) {
        let tasks = &self.inner.parts.tasks;
        let (typing, presence) = (self.clone(), self.clone());
        tasks.spawn("appservice-typing", |stop| typing.follow_typing(stop));
        tasks.spawn("appservice-presence", |stop| presence.follow_presence(stop));
        while !stop.is_stopping() {
            match self.follow(&stop).await {
                Ok(()) => return,
                Err(error) => {
                    log::error!("application services are not told, it is tried again: {error}");
                }
            }
            tokio::select! {
                () = stop.stopped() => {}
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }

    async fn follow(&self, stop: &Stop) -> Result<(), TellError> {
        let mut changes = self.services().changes();
        let mut consumer = self.consumer().await?;
        self.begin_anew().await?;
        // Records that nobody is interested in since the place was stored last.
        let mut passed = 0;
        let mut stored = Position(0);
        loop {
            if changes.has_changed().unwrap_or(false) {
                changes.mark_unchanged();
                self.begin_anew().await?;
            }
            if passed > 0 && (passed >= STORE_AFTER || stop.is_stopping()) {
                consumer.store().await?;
                passed = 0;
            }
            if stop.is_stopping() {
                return Ok(());
            }
            if self.services().all().is_empty() {
                self.skip(&mut consumer, &mut stored).await?;
                passed = 0;
                tokio::select! {
                    () = stop.stopped() => {}
                    _ = changes.changed() => changes.mark_changed(),
                    () = tokio::time::sleep(STORE_WITHOUT) => {}
                }
                continue;
            }
            let records = consumer.next(BATCH)?;
            let Some(last) = records.last().map(|record| record.position) else {
                tokio::select! {
                    () = consumer.changed() => {}
                    () = stop.stopped() => {}
                    _ = changes.changed() => changes.mark_changed(),
                    // Quiet: a good time.
                    () = tokio::time::sleep(STORE_EVERY), if passed > 0 => passed = STORE_AFTER,
                }
                continue;
            };
            let count = records.len();
            let wanted = self.wanted(records).await?;
            if wanted.is_empty() {
                consumer.pass(last);
                passed += count;
            } else {
                self.queue(&mut consumer, last, wanted).await?;
                passed = 0;
            }
        }
    }

    /// The consumer of the log. It is never trimmed past it, unless the database was used
    /// by a version that knows no application services.
    async fn consumer(&self) -> Result<Consumer, StoreError> {
        match Consumer::open(self.store(), NAME).await {
            Err(StoreError::Trimmed(position)) => {
                log::error!(
                    "application services miss events: the log no longer reaches back to {position}"
                );
                let now = self.store().snapshot().position();
                Consumer::restart(self.store(), NAME, now).await
            }
            other => other,
        }
    }

    /// Passes everything: without services it is of no interest, and the log must not be
    /// kept for it.
    async fn skip(&self, consumer: &mut Consumer, stored: &mut Position) -> Result<(), StoreError> {
        let now = self.store().snapshot().position();
        // Storing the place is a commit itself.
        if now.0 > stored.0 + 1 {
            consumer.pass(now);
            consumer.store().await?;
            *stored = now;
        }
        Ok(())
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
