//! Many clients at the same time, each doing one thing after the other.

use std::future::{Future, poll_fn};
use std::task::Poll;
use std::time::{Duration, Instant};

use measuring::client::{Connection, Failure};

use crate::sites::{Site, Taken};

/// After how many errors a client gives up.
const MOST_ERRORS: u64 = 10;

/// What one turn of a scenario came to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Measured {
    /// What succeeded.
    pub(crate) operations: u64,
    /// What did not.
    pub(crate) errors: u64,
    /// What the first of them was.
    pub(crate) first_error: Option<String>,
    pub(crate) seconds: f64,
    /// How long each success took, in milliseconds.
    pub(crate) latencies: Vec<f64>,
    /// The server's processor time, in milliseconds.
    pub(crate) cpu: f64,
    /// What the server had written to disks, in bytes.
    pub(crate) written: u64,
    /// The server's memory (PSS) at the end, in MiB.
    pub(crate) memory: f64,
}

/// One client.
pub(crate) struct Worker {
    pub(crate) connection: Connection,
    /// Tells it from the others, from 0 on.
    pub(crate) number: usize,
    /// How many operations it has begun.
    pub(crate) begun: usize,
    /// Where its syncs go on.
    pub(crate) since: String,
}

impl Worker {
    pub(crate) fn new(number: usize, connection: Connection) -> Self {
        Self {
            connection,
            number,
            begun: 0,
            since: String::new(),
        }
    }
}

/// Each worker does `operation` again and again.
pub(crate) async fn drive(
    site: &Site,
    workers: Vec<Worker>,
    time: Duration,
    operation: impl AsyncFn(&mut Worker) -> Result<(), Failure>,
) -> Measured {
    let meter = Meter::start(site);
    let operation = &operation;
    let working = workers.into_iter().map(|mut worker| async move {
        let mut done = Measured::default();
        while meter.begun.elapsed() < time && done.errors < MOST_ERRORS {
            let before = Instant::now();
            let outcome = operation(&mut worker).await;
            worker.begun += 1;
            match outcome {
                Ok(()) => done
                    .latencies
                    .push(before.elapsed().as_secs_f64() * 1_000.0),
                Err(failure) => {
                    done.errors += 1;
                    done.first_error.get_or_insert(failure.to_string());
                    if matches!(failure, Failure::Broken(_)) {
                        break;
                    }
                }
            }
        }
        done
    });
    let mut all = Measured::default();
    for one in join_all(working).await {
        all.errors += one.errors;
        all.first_error = all.first_error.or(one.first_error);
        all.latencies.extend(one.latencies);
    }
    all.operations = all.latencies.len() as u64;
    meter.end(site, all)
}

/// What the server had taken when a turn began.
#[derive(Clone, Copy)]
pub(crate) struct Meter {
    pub(crate) begun: Instant,
    before: Taken,
}

impl Meter {
    pub(crate) fn start(site: &Site) -> Self {
        Self {
            before: site.taken(),
            begun: Instant::now(),
        }
    }

    /// Adds what the server took to what was done.
    pub(crate) fn end(self, site: &Site, measured: Measured) -> Measured {
        let seconds = self.begun.elapsed().as_secs_f64();
        let after = site.taken();
        Measured {
            seconds,
            cpu: after.cpu - self.before.cpu,
            written: after.written.saturating_sub(self.before.written),
            memory: site.memory(),
            ..measured
        }
    }
}

/// Runs all of them at the same time on this thread, and gives what each returned, in their order.
pub(crate) async fn join_all<T>(work: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut waiting: Vec<_> = work.map(Box::pin).enumerate().collect();
    let mut ended = Vec::with_capacity(waiting.len());
    poll_fn(|context| {
        waiting.retain_mut(|(place, future)| match future.as_mut().poll(context) {
            Poll::Ready(value) => {
                ended.push((*place, value));
                false
            }
            Poll::Pending => true,
        });
        match waiting.is_empty() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
    ended.sort_unstable_by_key(|(place, _)| *place);
    ended.into_iter().map(|(_, value)| value).collect()
}
