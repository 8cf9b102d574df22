//! Bounded lanes for blocking work.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use parking_lot::{Condvar, Mutex};
use prometheus::{IntCounter, IntGauge};
use tokio::sync::oneshot;

use crate::Metrics;

/// A few threads of its own with a queue before them, for work that blocks or
/// computes long: reads of the database, password hashing. Clones share them.
///
/// When the last clone is dropped the threads do what is queued and end.
#[derive(Clone)]
pub struct Lane(Arc<Handle>);

/// Why a job of a [`Lane`] has no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LaneError {
    /// As many jobs wait as may wait; trying again later may work.
    #[error("too much of this work is waiting already")]
    Full,
    /// The lane is stopping, or the job itself panicked (which is logged and
    /// counted; the lane goes on).
    #[error("the work was stopped before it was done")]
    Stopped,
}

/// Closes the queue when the last [`Lane`] is dropped. The threads hold only the
/// queue, or they would keep each other alive.
struct Handle {
    queue: Arc<Queue>,
}

struct Queue {
    name: &'static str,
    limit: usize,
    state: Mutex<State>,
    /// Told when a job was queued or the lane stops.
    changed: Condvar,
    waiting: IntGauge,
    refused: IntCounter,
    panics: IntCounter,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    stopped: bool,
}

type Job = Box<dyn FnOnce() + Send>;

impl Lane {
    /// A lane of `width` threads before which at most `queue_limit` jobs wait,
    /// with metrics that nobody reads.
    pub fn new(name: &'static str, width: usize, queue_limit: usize) -> Self {
        Self::measured(name, width, queue_limit, &Metrics::new())
    }

    /// Like [`Lane::new`], and its waiting jobs, refusals and panics appear in
    /// `metrics`.
    ///
    /// `name` becomes the threads' name, of which Linux shows 15 bytes. If the
    /// system gives no thread at all, every job ends as [`LaneError::Stopped`].
    pub fn measured(
        name: &'static str,
        width: usize,
        queue_limit: usize,
        metrics: &Metrics,
    ) -> Self {
        let label = &["lane"];
        let queue = Arc::new(Queue {
            name,
            limit: queue_limit,
            state: Mutex::default(),
            changed: Condvar::new(),
            waiting: metrics
                .gauge_with("cairn_lane_waiting", "Jobs that wait for a thread.", label)
                .with_label_values(&[name]),
            refused: metrics
                .counter_with(
                    "cairn_lane_refused_total",
                    "Jobs refused by a full lane.",
                    label,
                )
                .with_label_values(&[name]),
            panics: metrics
                .counter_with("cairn_lane_panics_total", "Jobs that panicked.", label)
                .with_label_values(&[name]),
        });
        let mut started = 0;
        for _ in 0..width.max(1) {
            let queue = queue.clone();
            let thread = std::thread::Builder::new().name(name.to_owned());
            match thread.spawn(move || queue.work()) {
                Ok(_) => started += 1,
                Err(error) => ::log::error!(lane = name; "a thread cannot be started: {error}"),
            }
        }
        queue.state.lock().stopped = started == 0;
        Self(Arc::new(Handle { queue }))
    }

    /// Runs `job` on one of the lane's threads and waits for what it returns.
    ///
    /// If the future is dropped, a job that has not begun is never run and one that
    /// has begun runs to its end.
    ///
    /// # Errors
    /// [`LaneError::Full`] at once when the queue is full; [`LaneError::Stopped`]
    /// when the lane stops or the job panicked.
    pub async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, LaneError> {
        let (answer, result) = oneshot::channel();
        self.0.queue.push(Box::new(move || {
            if !answer.is_closed() {
                // The caller may have gone meanwhile; then nobody wants the result.
                let _ = answer.send(job());
            }
        }))?;
        result.await.map_err(|_| LaneError::Stopped)
    }

    /// Has `job` run on one of the lane's threads; nobody waits for it, and nobody can
    /// take it back.
    ///
    /// # Errors
    /// As [`Lane::run`], but for what happens within the job.
    pub fn start(&self, job: impl FnOnce() + Send + 'static) -> Result<(), LaneError> {
        self.0.queue.push(Box::new(job))
    }

    /// Takes no further jobs; those that wait are still done.
    pub fn stop(&self) {
        self.0.queue.stop();
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.queue.stop();
    }
}

impl Queue {
    fn push(&self, job: Job) -> Result<(), LaneError> {
        let mut state = self.state.lock();
        if state.stopped {
            return Err(LaneError::Stopped);
        }
        if state.jobs.len() >= self.limit {
            self.refused.inc();
            return Err(LaneError::Full);
        }
        state.jobs.push_back(job);
        self.waiting.inc();
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    fn stop(&self) {
        self.state.lock().stopped = true;
        self.changed.notify_all();
    }

    /// The next job, waited for; `None` once the lane has stopped and is empty.
    fn next(&self) -> Option<Job> {
        let mut state = self.state.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                self.waiting.dec();
                return Some(job);
            }
            if state.stopped {
                return None;
            }
            self.changed.wait(&mut state);
        }
    }

    /// One thread's life.
    fn work(&self) {
        while let Some(job) = self.next() {
            // Unwinding drops the job's answer, which tells the caller; no state of
            // the lane is touched inside.
            if catch_unwind(AssertUnwindSafe(job)).is_err() {
                self.panics.inc();
                ::log::error!(lane = self.name; "a job panicked");
            }
        }
    }
}

impl std::fmt::Debug for Lane {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_tuple("Lane")
            .field(&self.0.queue.name)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Duration};

    use super::*;
    use crate::Tasks;

    /// Occupies the lane's only thread until the returned sender is dropped.
    async fn occupy(lane: &Lane) -> (mpsc::Sender<()>, oneshot::Receiver<()>) {
        let (release, released) = mpsc::channel::<()>();
        let (begin, begun) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        let lane = lane.clone();
        Tasks::new().spawn("occupy", |_| async move {
            let _ = lane
                .run(move || {
                    let _ = begin.send(());
                    let _ = released.recv();
                })
                .await;
            let _ = end.send(());
        });
        begun.await.unwrap();
        (release, ended)
    }

    #[tokio::test]
    async fn a_full_lane_refuses_and_a_dropped_caller_is_skipped() {
        let lane = Lane::new("test", 1, 1);
        let (release, ended) = occupy(&lane).await;

        let waiting = lane.run(|| panic!("nobody waits for this any more"));
        assert!(
            tokio::time::timeout(Duration::from_millis(10), waiting)
                .await
                .is_err()
        );
        assert_eq!(lane.run(|| 1).await, Err(LaneError::Full));

        drop(release);
        ended.await.unwrap();
        while lane.0.queue.waiting.get() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(lane.run(|| 2).await, Ok(2));
        assert_eq!(lane.0.queue.panics.get(), 0);
        assert_eq!(lane.0.queue.refused.get(), 1);
    }

    #[tokio::test]
    async fn a_panic_does_not_kill_the_lane() {
        let lane = Lane::new("test", 1, 8);
        assert_eq!(
            lane.run(|| panic!("on purpose")).await,
            Err::<(), _>(LaneError::Stopped)
        );
        assert_eq!(lane.run(|| 3).await, Ok(3));
        assert_eq!(lane.0.queue.panics.get(), 1);
    }

    #[tokio::test]
    async fn a_stopped_lane_does_what_waits_and_takes_no_more() {
        let lane = Lane::new("test", 1, 8);
        let (release, _ended) = occupy(&lane).await;
        let waiting = lane.run(|| 4);
        tokio::pin!(waiting);
        assert!(
            tokio::time::timeout(Duration::from_millis(10), &mut waiting)
                .await
                .is_err()
        );
        lane.stop();
        assert_eq!(lane.run(|| 5).await, Err(LaneError::Stopped));
        drop(release);
        assert_eq!(waiting.await, Ok(4));
    }
}
