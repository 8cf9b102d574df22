//! Background work with a name, a stop and a metric.

use std::{collections::BTreeMap, future::Future, pin::Pin, sync::Arc, time::Duration};

use parking_lot::Mutex;
use prometheus::{IntCounterVec, IntGaugeVec};
use tokio::sync::{Notify, watch};

use crate::Metrics;

/// A future of one type, whatever it does. Each crate that waits for a bare one compiles all of it
/// once more: what is long and called from many crates is given in a box.
pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// All background tasks of one server. Clones share them.
///
/// Must be used inside a tokio runtime. A task that panics is logged and
/// counted (`cairn_task_panics_total`); the others go on.
#[derive(Clone, Debug)]
pub struct Tasks(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    stop: watch::Sender<bool>,
    /// How many tasks of each name run; a name without tasks has no entry.
    running: Mutex<BTreeMap<&'static str, usize>>,
    /// Told when the last task has ended.
    idle: Notify,
    running_gauge: IntGaugeVec,
    panics: IntCounterVec,
}

impl Tasks {
    /// No tasks yet, and metrics that nobody reads: for tests and tools.
    pub fn new() -> Self {
        Self::measured(&Metrics::new())
    }

    /// No tasks yet. Their number and their panics appear in `metrics`, by name.
    pub fn measured(metrics: &Metrics) -> Self {
        Self(Arc::new(Inner {
            stop: watch::Sender::new(false),
            running: Mutex::default(),
            idle: Notify::new(),
            running_gauge: metrics.gauge_with("cairn_tasks", "Running tasks.", &["task"]),
            panics: metrics.counter_with(
                "cairn_task_panics_total",
                "Tasks that ended in a panic.",
                &["task"],
            ),
        }))
    }

    /// Starts a task. `task` gets the server's stop and must end soon after it,
    /// at a point where nothing is lost.
    ///
    /// `name` says what the task does and labels its metrics; many tasks may share
    /// a name.
    pub fn spawn<F>(&self, name: &'static str, task: impl FnOnce(Stop) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let entry = Entry::new(self.0.clone(), name);
        let future = task(self.stop());
        #[expect(clippy::disallowed_methods, reason = "the one place that starts tasks")]
        tokio::spawn(async move {
            // Moved in whole, so that it ends with the task, however that ends.
            let _entry = entry;
            future.await;
        });
    }

    /// The stop that every task of this server gets.
    pub fn stop(&self) -> Stop {
        Stop(self.0.stop.subscribe())
    }

    /// Tells all tasks to stop and waits until they have ended, at most
    /// `deadline` long. Returns the names of those that still run, each once; they
    /// are left running, as the caller is about to end the process.
    pub async fn shutdown(&self, deadline: Duration) -> Vec<&'static str> {
        self.0.stop.send_replace(true);
        let all_ended = async {
            loop {
                let idle = self.0.idle.notified();
                if self.0.running.lock().is_empty() {
                    return;
                }
                idle.await;
            }
        };
        if tokio::time::timeout(deadline, all_ended).await.is_ok() {
            return Vec::new();
        }
        self.0.running.lock().keys().copied().collect()
    }
}

impl Default for Tasks {
    fn default() -> Self {
        Self::new()
    }
}

/// A running task; dropped when it ends.
struct Entry {
    tasks: Arc<Inner>,
    name: &'static str,
}

impl Entry {
    fn new(tasks: Arc<Inner>, name: &'static str) -> Self {
        *tasks.running.lock().entry(name).or_default() += 1;
        tasks.running_gauge.with_label_values(&[name]).inc();
        Self { tasks, name }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        // A task's values are dropped while its panic unwinds.
        if std::thread::panicking() {
            self.tasks.panics.with_label_values(&[self.name]).inc();
            ::log::error!(task = self.name; "a task ended in a panic");
        }
        self.tasks
            .running_gauge
            .with_label_values(&[self.name])
            .dec();
        let mut running = self.tasks.running.lock();
        if let Some(count) = running.get_mut(self.name) {
            *count -= 1;
            if *count == 0 {
                running.remove(self.name);
            }
        }
        if running.is_empty() {
            self.tasks.idle.notify_waiters();
        }
    }
}

/// Tells a task that the server stops. Also true when the server's [`Tasks`] are
/// gone.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Waits until the server stops. Dropping the future loses nothing.
    pub async fn stopped(&self) {
        // An error means that no `Tasks` are left, which is a stop as well.
        let _ = self.0.clone().wait_for(|stopping| *stopping).await;
    }

    /// Whether the server stops.
    pub fn is_stopping(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn shutdown_names_the_tasks_that_do_not_stop() {
        let tasks = Tasks::new();
        tasks.spawn("obedient", |stop| async move { stop.stopped().await });
        for _ in 0..2 {
            tasks.spawn("deaf", |_| std::future::pending());
        }
        assert_eq!(tasks.shutdown(Duration::from_millis(50)).await, ["deaf"]);
        assert!(tasks.stop().is_stopping());
    }

    #[tokio::test]
    async fn shutdown_ends_with_the_last_task() {
        let tasks = Tasks::new();
        assert!(tasks.shutdown(Duration::ZERO).await.is_empty());
        tasks.spawn("late", |stop| async move {
            stop.stopped().await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        });
        assert!(tasks.shutdown(Duration::from_secs(60)).await.is_empty());
    }

    #[tokio::test]
    async fn a_panic_is_counted_and_kills_nobody_else() {
        let metrics = Metrics::new();
        let tasks = Tasks::measured(&metrics);
        tasks.spawn("clumsy", |_| async { panic!("on purpose") });
        assert!(tasks.shutdown(Duration::from_secs(60)).await.is_empty());
        let text = metrics.render();
        assert!(
            text.contains("cairn_task_panics_total{task=\"clumsy\"} 1"),
            "{text}"
        );
        assert!(text.contains("cairn_tasks{task=\"clumsy\"} 0"), "{text}");
    }

    #[tokio::test]
    async fn without_tasks_the_stop_has_come() {
        let stop = Tasks::new().stop();
        stop.stopped().await;
        assert!(stop.is_stopping());
    }
}
