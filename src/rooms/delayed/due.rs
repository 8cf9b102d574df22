//! Delayed events whose time has come.

use std::{ops::ControlFlow, time::Duration};

use model::{DelayedEventRecord, DelayedFailure, DelayedOutcome, tables};
use ruma_common::UserId;
use runtime::Stop;
use store::{Read, StoreError};

use super::{DelayError, REMEMBERED, rows};
use crate::{
    AppendError, PolicyError, Rooms, Sender, append::Plan, rows::Extra, send::message_plan,
    staging::Staging,
};

/// How long to wait at most before the clock is looked at again: somebody may have
/// set it.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// How long to wait when something failed that has nothing to do with the event.
const AFTER_FAILURE: Duration = Duration::from_secs(5);
/// How long a room's policy server may look at one: others are due meanwhile.
const LONGEST_LOOK: Duration = Duration::from_secs(10);
/// How many that have ended are forgotten in one commit.
const STEP: usize = 200;

impl Rooms {
    /// Sends delayed events in their time until the server stops, first those whose time
    /// came while it did not run. Run it once, as a task.
    pub async fn send_delayed(&self, stop: Stop) {
        loop {
            let wait = match self.send_next_due().await {
                Ok(ControlFlow::Continue(())) => continue,
                Ok(ControlFlow::Break(wait)) => wait.min(LONGEST_WAIT),
                Err(error) => {
                    log::error!("delayed events could not be sent: {error}");
                    AFTER_FAILURE
                }
            };
            tokio::select! {
                () = stop.stopped() => return,
                () = tokio::time::sleep(wait) => {}
                () = self.inner.delayed.notified() => {}
            }
        }
    }

    /// Sends the event that is due first, or says how long until one is.
    async fn send_next_due(&self) -> Result<ControlFlow<Duration>, DelayError> {
        let next = self
            .inner
            .store
            .prepare(|latest| {
                let mut waiting = latest.scan(&tables::DELAYED_EVENT_BY_TIME, &(rows::WAITING,));
                let Some(row) = waiting.next() else {
                    return Ok(None);
                };
                let ((_, due, delay_id), ()) = row?;
                let record = rows::owned(latest, None, &delay_id)?;
                let is_void = rows::is_void(latest, &record)?;
                Ok::<_, DelayError>(Some((due, delay_id, record, is_void)))
            })
            .await?;
        let Some((due, delay_id, record, is_void)) = next else {
            return Ok(ControlFlow::Break(LONGEST_WAIT));
        };
        let now = self.inner.clock.now().0;
        if due > now {
            return Ok(ControlFlow::Break(Duration::from_millis(due - now)));
        }
        let outcome = if is_void {
            DelayedOutcome::Cancelled
        } else {
            let delivery = self.deliver_delayed(&delay_id, record);
            let delivered = tokio::time::timeout(LONGEST_LOOK, delivery).await;
            match delivered.unwrap_or_else(|_| Err(took_too_long())) {
                Ok(()) => return Ok(ControlFlow::Continue(())),
                Err(error @ (DelayError::Store(_) | DelayError::Append(AppendError::Store(_)))) => {
                    return Err(error);
                }
                Err(error) => {
                    let (failure, text) = failure(&error);
                    DelayedOutcome::Failed(failure, text)
                }
            }
        };
        self.end_delayed(&delay_id, outcome).await?;
        Ok(ControlFlow::Continue(()))
    }

    /// Ends the waiting of a delayed event, unless it has ended meanwhile.
    async fn end_delayed(&self, delay_id: &str, outcome: DelayedOutcome) -> Result<(), DelayError> {
        let (id, now) = (delay_id.to_owned(), self.inner.clock.now().0);
        self.inner
            .store
            .commit(move |latest, _, batch| {
                let record = rows::owned(latest, None, &id)?;
                if record.outcome.is_none() {
                    rows::end(latest, batch, &id, record, now, outcome)?;
                }
                Ok(())
            })
            .await
    }

    /// Brings a delayed event into its room. Its waiting ends in the same commit.
    pub(super) async fn deliver_delayed(
        &self,
        delay_id: &str,
        record: DelayedEventRecord,
    ) -> Result<(), DelayError> {
        let sender = self.delayed_sender(&record).await?;
        let (id, now) = (delay_id.to_owned(), self.inner.clock.now().0);
        let extra = Extra::beside(move |latest, staging, batch| {
            let Some(sent) = staging.events.last() else {
                return Ok(());
            };
            let record = rows::owned(latest, None, &id)
                .ok()
                .filter(|record| record.outcome.is_none());
            // Cancelled or sent by another request just now: this one does nothing.
            let record = record.ok_or(AppendError::UnknownTarget)?;
            batch.put(&tables::DELAY_ID_BY_EVENT, &sent.serial, &id);
            let outcome = DelayedOutcome::Sent(sent.event.event_id().to_string());
            Ok(rows::end(latest, batch, &id, record, now, outcome)?)
        });
        let appended = match &record.state_key {
            Some(state_key) => {
                let (kind, content) = (&record.event_type, &record.content);
                let plan = self.state_plan(&sender, kind, state_key, content, record.sticky)?;
                self.append_delayed(&record, &sender, extra, plan).await
            }
            None => {
                let (kind, content) = (&record.event_type, &record.content);
                let plan = message_plan(record.room, kind, content, record.sticky)?;
                self.append_delayed(&record, &sender, extra, plan).await
            }
        };
        match appended {
            // The state says so already: the event that does is as good as this one.
            Ok(Some(event_id)) => {
                self.end_delayed(delay_id, DelayedOutcome::Sent(event_id))
                    .await
            }
            Ok(None) => Ok(()),
            Err(error) => {
                self.unless_ended(delay_id).await?;
                Err(error.into())
            }
        }
    }

    /// Says how a delayed event has ended, if it has.
    async fn unless_ended(&self, delay_id: &str) -> Result<(), DelayError> {
        let id = delay_id.to_owned();
        let outcome = self
            .inner
            .store
            .prepare(move |latest| Ok::<_, DelayError>(rows::owned(latest, None, &id)?.outcome))
            .await?;
        match outcome {
            None => Ok(()),
            Some((_, DelayedOutcome::Sent(_))) => Err(DelayError::Ended(super::SENT)),
            Some(_) => Err(DelayError::Ended(super::CANCELLED)),
        }
    }

    /// Returns the id of the event that made a new one needless, if one did.
    async fn append_delayed(
        &self,
        record: &DelayedEventRecord,
        sender: &Sender,
        extra: Extra,
        plan: impl FnOnce(&store::Latest, &mut Staging) -> Result<Plan, AppendError> + Send + 'static,
    ) -> Result<Option<String>, AppendError> {
        let (appended, written) = self
            .append_beside(record.room, sender, None, extra, plan)
            .await?;
        match written {
            Some(written) => {
                written.durable().await?;
                Ok(None)
            }
            None => {
                self.wait_for_earlier().await?;
                Ok(appended.last().map(|found| found.event_id.to_string()))
            }
        }
    }

    async fn delayed_sender(&self, record: &DelayedEventRecord) -> Result<Sender, DelayError> {
        let user = record.user;
        let user_id = self
            .inner
            .store
            .prepare(move |latest| model::user_id(latest, user))
            .await?;
        let user_id = user_id.and_then(|user_id| UserId::parse(user_id).ok());
        Ok(Sender {
            user_id: user_id.ok_or(DelayError::NotFound)?,
            user,
            device: None,
            sent_at: None,
        })
    }

    /// Forgets the delayed events that ended long ago. To be called now and then, by one
    /// caller.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn forget_delayed(&self) -> Result<(), StoreError> {
        let before = self.inner.clock.now().0.saturating_sub(REMEMBERED);
        loop {
            // As last written: what was just forgotten is not published yet.
            let old = self.inner.store.prepare(move |view| {
                let rows = view.scan(&tables::DELAYED_EVENT_BY_TIME, &(rows::ENDED,));
                let old = rows.take(STEP).take_while(|row| match row {
                    Ok(((_, at, _), ())) => *at < before,
                    Err(_) => true,
                });
                old.collect::<Result<Vec<_>, StoreError>>()
            });
            let old = old.await?;
            let is_last = old.len() < STEP;
            self.inner
                .store
                .commit_later(move |latest, _, batch| {
                    let old = old.into_iter().map(|((_, at, id), ())| (at, id));
                    rows::forget(latest, batch, old)
                })
                .await?;
            if is_last {
                return Ok(());
            }
        }
    }
}

fn took_too_long() -> DelayError {
    let reason = "it takes too long".to_owned();
    AppendError::from(PolicyError::Unanswered(reason)).into()
}

/// What is remembered of a refusal.
fn failure(error: &DelayError) -> (DelayedFailure, String) {
    let failure = match error {
        DelayError::Append(
            AppendError::Forbidden(_)
            | AppendError::UnknownRoom
            | AppendError::Refused(graph::Reason::Forbidden(_)),
        ) => DelayedFailure::Forbidden,
        DelayError::Append(AppendError::NotFound(_) | AppendError::UnknownTarget)
        | DelayError::NotFound => DelayedFailure::NotFound,
        _ => DelayedFailure::Invalid,
    };
    (failure, error.to_string())
}
