//! Numbers that are looked up now and then for the metrics: the database's, the disk's,
//! the certificates' and the process' own.

use std::fs;

use model::tables::{MEDIA_USAGE_BY_USER, REMOTE_MEDIA_USAGE, THUMBNAIL_USAGE};
use prometheus::{IntCounter, IntGauge, IntGaugeVec};
use runtime::{Clock, Metrics, OpenFiles};
use store::{Read as _, Store, StoreError};

use crate::health::Overseer;

/// The gauges. Clones share them.
#[derive(Clone)]
pub(crate) struct Gauges {
    position: IntGauge,
    unread: IntGaugeVec,
    watches: IntGauge,
    database: IntGaugeVec,
    families: IntGaugeVec,
    events: IntGauge,
    media: IntGaugeVec,
    free: IntGauge,
    full: IntGauge,
    certificates: IntGaugeVec,
    ready: IntGauge,
    degraded: IntGauge,
    resident: IntGauge,
    files: IntGauge,
    most_files: IntGauge,
    threads: IntGauge,
    seconds: IntCounter,
}

impl Gauges {
    /// Registers them in `metrics`.
    pub(crate) fn new(metrics: &Metrics, clock: &Clock) -> Self {
        let version = metrics.gauge_with(
            "cairn_version_info",
            "1, with the server's version.",
            &["version"],
        );
        version
            .with_label_values(&[env!("CARGO_PKG_VERSION")])
            .set(1);
        let start = metrics.gauge(
            "process_start_time_seconds",
            "When the server was started, in seconds since the Unix epoch.",
        );
        start.set(signed(clock.now().0 / 1_000));
        Self {
            position: metrics.gauge("cairn_log_position", "The last published commit."),
            unread: metrics.gauge_with(
                "cairn_log_unread",
                "Commits that a reader of the log has not read, counted up to 10,000.",
                &["reader"],
            ),
            watches: metrics.gauge(
                "cairn_watches",
                "Rooms, users and devices that are waited for, mostly by syncs, each as often as somebody waits for it.",
            ),
            database: metrics.gauge_with(
                "cairn_database",
                "RocksDB's own numbers: errors of background work, bytes of cache, running compactions and flushes, snapshots, and whether writing is slowed down or stopped.",
                &["number"],
            ),
            families: metrics.gauge_with(
                "cairn_database_family",
                "RocksDB's own numbers for each column family: bytes in sorted files, in memory and waiting for compaction, files at level 0, estimated rows.",
                &["family", "number"],
            ),
            events: metrics.gauge(
                "cairn_remembered_event_bytes",
                "Bytes of events that are kept in memory for those who read them next.",
            ),
            media: metrics.gauge_with(
                "cairn_media_bytes",
                "Bytes of files: uploaded here, fetched from other servers, thumbnails.",
                &["kind"],
            ),
            free: metrics.gauge(
                "cairn_disk_free_bytes",
                "Bytes on the data folder's disk that can still be taken.",
            ),
            full: metrics.gauge(
                "cairn_disk_full",
                "What is refused for want of room: 0 nothing, 1 files, 2 everything new.",
            ),
            certificates: metrics.gauge_with(
                "cairn_certificate_ends_seconds",
                "When a certificate in use ends, in seconds since the Unix epoch.",
                &["certificate"],
            ),
            ready: metrics.gauge("cairn_ready", "1 if the server answers as it should."),
            degraded: metrics.gauge(
                "cairn_degraded",
                "How many things an operator should look at; /_cairn/health says which.",
            ),
            resident: metrics.gauge("process_resident_memory_bytes", "Memory in use."),
            files: metrics.gauge("process_open_fds", "Open files and connections."),
            most_files: metrics.gauge("process_max_fds", "How many there may be."),
            threads: metrics.gauge("process_threads", "Threads."),
            seconds: metrics.counter("process_cpu_seconds_total", "Time of processors."),
        }
    }

    /// Looks everything up.
    pub(crate) async fn measure(&self, overseer: &Overseer) {
        self.process();
        self.events.set(signed(overseer.rooms.remembered_bytes()));
        self.free.set(signed(overseer.store.space().free));
        self.full.set(overseer.refused() as i64);
        for tls in &overseer.tls {
            if let Some(ends) = tls.ends_at() {
                let name = tls.certificate().display().to_string();
                let gauge = self.certificates.with_label_values(&[name.as_str()]);
                gauge.set(signed(ends.0 / 1_000));
            }
        }
        if let Ok(internals) = overseer.store.internals().await {
            self.position.set(signed(internals.position.0));
            self.watches.set(signed(internals.watches));
            for (reader, unread) in internals.unread {
                let gauge = self.unread.with_label_values(&[reader.as_str()]);
                gauge.set(signed(unread));
            }
            for (name, value) in internals.whole {
                self.database.with_label_values(&[name]).set(signed(value));
            }
            for (family, name, value) in internals.families {
                let gauge = self.families.with_label_values(&[family, name]);
                gauge.set(signed(value));
            }
        }
        let health = overseer.health().await;
        self.ready.set(i64::from(health.ready));
        self.degraded.set(signed(health.reasons.len() as u64));
    }

    /// Adds up the bytes of files: one row for each person, so less often than the rest.
    pub(crate) async fn measure_media(&self, store: &Store) -> Result<(), StoreError> {
        let counted = store.read_long(|view| {
            let mut uploaded = 0;
            for row in view.scan(&MEDIA_USAGE_BY_USER, &()) {
                uploaded += row?.1.bytes;
            }
            let fetched = view.get(&REMOTE_MEDIA_USAGE, &())?.unwrap_or(0);
            let thumbnails = view.get(&THUMBNAIL_USAGE, &())?.unwrap_or(0);
            Ok::<_, StoreError>([uploaded, fetched, thumbnails])
        });
        for (kind, bytes) in ["uploaded", "fetched", "thumbnails"]
            .iter()
            .zip(counted.await?)
        {
            self.media.with_label_values(&[kind]).set(signed(bytes));
        }
        Ok(())
    }

    fn process(&self) {
        if let Ok(listed) = fs::read_dir("/proc/self/fd") {
            self.files.set(signed(listed.count() as u64));
        }
        self.most_files
            .set(signed(OpenFiles::of_this_process().all() as u64));
        if let Ok(text) = fs::read_to_string("/proc/self/status") {
            let number = |name: &str| {
                let line = text.lines().find_map(|line| line.strip_prefix(name))?;
                line.split_whitespace().next()?.parse::<u64>().ok()
            };
            if let Some(kilobytes) = number("VmRSS:") {
                self.resident.set(signed(kilobytes * 1_024));
            }
            if let Some(threads) = number("Threads:") {
                self.threads.set(signed(threads));
            }
        }
        if let Some(seconds) = processor_seconds() {
            self.seconds
                .inc_by(seconds.saturating_sub(self.seconds.get()));
        }
    }
}

/// The whole seconds that all threads have computed.
fn processor_seconds() -> Option<u64> {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    u64::try_from(used.tv_sec).ok()
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
