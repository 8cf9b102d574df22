//! From a transaction to its service.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::Method;
use model::ServiceTransaction;
use ruma_common::OwnedUserId;
use runtime::Stop;
use services::Service;
use tokio::time::Instant;

use super::{Appservices, AskError, Bell, asking::Question};

/// How long a service may take to take a transaction.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How long a request may go on when the server stops.
const GRACE: Duration = Duration::from_secs(3);
/// The first wait before a service that failed is tried again.
const FIRST_DELAY: Duration = Duration::from_secs(1);

impl Appservices {
    /// Lets a service's courier look at its queue: the one that is there, or a new one.
    pub(super) fn ring(&self, service: &str) {
        let mut couriers = self.inner.couriers.lock();
        if let Some(bell) = couriers.get(service) {
            bell.news.notify_one();
            return;
        }
        let bell = Arc::new(Bell::default());
        couriers.insert(service.to_owned(), bell.clone());
        drop(couriers);
        let trip = Trip {
            appservices: self.clone(),
            id: service.to_owned(),
            bell,
        };
        let tasks = &self.inner.parts.tasks;
        tasks.spawn("appservice-courier", |stop| async move {
            trip.deliver(&stop).await;
        });
    }

    /// A service was heard of: what waits for it need not wait longer.
    pub(super) fn wake(&self, service: &str) {
        if let Some(bell) = self.inner.couriers.lock().get(service) {
            bell.awake.notify_one();
        }
    }

    /// Sends a transaction.
    async fn send(
        &self,
        service: &Service,
        transaction: &ServiceTransaction,
    ) -> Result<(), AskError> {
        let question = Question {
            purpose: "appservice",
            method: Method::PUT,
            path: &["transactions", &transaction.id],
            old_prefix: &[],
            query: &[],
            body: Bytes::from(transaction.body.clone()),
            timeout: TIMEOUT,
        };
        let answer = self.ask(service, question).await?;
        if answer.status.is_success() {
            return Ok(());
        }
        Err(AskError::Status(answer.status))
    }

    /// Asks a service to make those of its users that events tell of and that are not
    /// there (application service API, "Querying").
    async fn make_users(&self, service: &Service, users: &[String]) {
        for user in users {
            let Ok(user_id) = OwnedUserId::try_from(user.as_str()) else {
                continue;
            };
            let accounts = &self.inner.parts.accounts;
            if let Ok(true) = accounts.is_unknown(user_id.clone()).await {
                // Whatever it answers, it is told of the event.
                let _ = self.ask_for_user(service, &user_id).await;
            }
        }
    }

    fn count(&self, outcome: &str) {
        self.inner.outcomes.with_label_values(&[outcome]).inc();
    }

    /// Twice as long after each failure, and somewhat different each time.
    fn delay(&self, failures: u32) -> Duration {
        let longest = Duration::from_secs(self.inner.options.retry_delay_max.max(1));
        let exponent = failures.saturating_sub(1).min(20);
        let delay = FIRST_DELAY.saturating_mul(1 << exponent).min(longest);
        let part = u32::try_from(self.inner.parts.random.number() % 100).unwrap_or(0);
        delay - delay * part / 400
    }
}

/// A courier for one service.
struct Trip {
    appservices: Appservices,
    id: String,
    bell: Arc<Bell>,
}

/// However a courier ends, the next ring sends another one.
impl Drop for Trip {
    fn drop(&mut self) {
        let mut couriers = self.appservices.inner.couriers.lock();
        let is_own = |bell: &Arc<Bell>| Arc::ptr_eq(bell, &self.bell);
        if couriers.get(&self.id).is_some_and(is_own) {
            couriers.remove(&self.id);
        }
    }
}

impl Trip {
    /// Sends what waits for the service, in its order, as long as it is registered.
    async fn deliver(&self, stop: &Stop) {
        let mut failures = 0;
        let mut confirmed: Option<String> = None;
        while !stop.is_stopping() {
            let Some(service) = self.appservices.services().by_id(&self.id) else {
                return;
            };
            if service.registration.url.is_none() {
                return;
            }
            let next = self
                .appservices
                .next_transaction(&service, confirmed.as_deref());
            let transaction = match next.await {
                Ok(Some(transaction)) => transaction,
                Ok(None) => {
                    tokio::select! {
                        () = self.bell.news.notified() => {}
                        () = stop.stopped() => {}
                    }
                    continue;
                }
                Err(error) => {
                    log::error!("what waits for {} cannot be read: {error}", self.id);
                    failures += 1;
                    self.wait(failures, stop).await;
                    continue;
                }
            };
            let sent = tokio::select! {
                sent = self.hand_over(&service, &transaction, failures) => sent,
                // What is not settled is sent again.
                () = grace(stop) => return,
            };
            match sent {
                Ok(()) => {
                    failures = 0;
                    confirmed = Some(transaction.id);
                }
                Err(()) => {
                    failures += 1;
                    self.wait(failures, stop).await;
                }
            }
        }
    }

    async fn hand_over(
        &self,
        service: &Service,
        transaction: &ServiceTransaction,
        failures: u32,
    ) -> Result<(), ()> {
        let (appservices, id) = (&self.appservices, &self.id);
        if failures == 0 {
            appservices.make_users(service, &transaction.users).await;
        }
        if let Err(error) = appservices.send(service, transaction).await {
            appservices.count("failed");
            if failures == 0 {
                log::warn!("the application service {id} takes nothing: {error}");
            } else {
                log::debug!("the application service {id} still takes nothing: {error}");
            }
            return Err(());
        }
        appservices.count("delivered");
        if failures > 0 {
            log::info!("the application service {id} takes events again");
        }
        if let Err(error) = appservices.settle(id).await {
            // The next one takes its place.
            log::error!("a transaction of {id} was not settled: {error}");
        }
        Ok(())
    }

    /// Waits before the next attempt, longer each time, unless the service shows up.
    async fn wait(&self, failures: u32, stop: &Stop) {
        let until = Instant::now() + self.appservices.delay(failures);
        let mut changes = self.appservices.services().changes();
        tokio::select! {
            () = stop.stopped() => {}
            () = self.bell.awake.notified() => {}
            // It may be registered elsewhere now.
            _ = changes.changed() => {}
            () = tokio::time::sleep_until(until) => {}
        }
    }
}

/// Returns some time after the server was told to stop.
async fn grace(stop: &Stop) {
    stop.stopped().await;
    tokio::time::sleep(GRACE).await;
}
