//! What the running server does to stay well: it tells the service manager that it lives,
//! measures itself, takes replaced certificates into use, and warns.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use outgoing::Outgoing;
use parking_lot::Mutex;
use runtime::{Metrics, Tasks};
use store::StoreError;

use crate::{gauges::Gauges, health::Overseer, systemd::Manager};

/// How often the numbers of the metrics are looked up that are not counted as they happen.
const MEASURE_EVERY: Duration = Duration::from_secs(5);
/// How often what is left of the disk is looked at, whether or not somebody writes.
const DISK_EVERY: Duration = Duration::from_secs(2);
/// How often memory is given back that was of use and is not any more.
const REST_EVERY: Duration = Duration::from_secs(60);
/// How often the bytes of files are added up.
const MEDIA_EVERY: Duration = Duration::from_secs(600);
/// How often the files of certificates are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// How often it is looked whether the certificate is to be renewed, and how soon after a
/// first failure.
const RENEW_EVERY: Duration = Duration::from_secs(60 * 60);
const RENEW_AGAIN: Duration = Duration::from_secs(60);
/// How often an operator is warned of the same thing.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Begins to look after the running server: tells the service manager that it is alive,
/// measures, takes certificates that were replaced, and warns.
pub(crate) fn oversee(overseer: &Overseer, manager: &Manager, metrics: &Metrics, tasks: &Tasks) {
    if let Some(within) = manager.watchdog() {
        let (overseer, manager) = (overseer.clone(), manager.clone());
        repeat(tasks, "watchdog", within / 3, move || {
            let (overseer, manager) = (overseer.clone(), manager.clone());
            async move {
                // A server whose database hangs is not alive.
                match overseer.answers().await {
                    true => manager.alive(),
                    false => log::error!("the database does not answer"),
                }
                Ok::<_, Infallible>(())
            }
        });
    }
    let gauges = Gauges::new(metrics, &overseer.clock);
    let (watched, measured) = (overseer.clone(), gauges.clone());
    // At once, so that whoever asks first sees them all.
    tasks.spawn("measure-first", |_| async move {
        measured.measure(&watched).await;
        if let Err(error) = measured.measure_media(&watched.store).await {
            log::error!("files cannot be measured: {error}");
        }
    });
    let (watched, measured) = (overseer.clone(), gauges.clone());
    repeat(tasks, "measure", MEASURE_EVERY, move || {
        let (overseer, gauges) = (watched.clone(), measured.clone());
        async move {
            gauges.measure(&overseer).await;
            Ok::<_, Infallible>(())
        }
    });
    let store = overseer.store.clone();
    repeat(tasks, "measure-media", MEDIA_EVERY, move || {
        let (store, gauges) = (store.clone(), gauges.clone());
        async move { gauges.measure_media(&store).await }
    });
    watch_disk(overseer, tasks);
    give_memory_back(overseer, tasks);
    let watched = overseer.clone();
    repeat(tasks, "watch-certificates", LOOK_EVERY, move || {
        let overseer = watched.clone();
        async move {
            for tls in &overseer.tls {
                let file = tls.certificate().display();
                match tls.reload_if_changed() {
                    Ok(true) => log::info!("the certificate {file} was replaced"),
                    Ok(false) => {}
                    Err(error) => log::error!("the certificate in use stays in use: {error}"),
                }
            }
            Ok::<_, Infallible>(())
        }
    });
    let watched = overseer.clone();
    warn_of_certificates(&watched);
    repeat(tasks, "warn-of-certificates", DAY, move || {
        warn_of_certificates(&watched);
        std::future::ready(Ok::<_, Infallible>(()))
    });
}

/// Spares a disk that is nearly full; and has a server that found it full in the middle of a
/// write, and may write nothing more, begin anew once there is room.
fn watch_disk(overseer: &Overseer, tasks: &Tasks) {
    let (overseer, is_put_off) = (overseer.clone(), Arc::new(AtomicBool::new(false)));
    repeat(tasks, "watch-disk", DISK_EVERY, move || {
        let (overseer, is_put_off) = (overseer.clone(), is_put_off.clone());
        async move {
            if overseer.store.needs_restart() {
                overseer.restart.notify_one();
                return Ok(());
            }
            overseer.store.keep_mark().await?;
            let before = is_put_off.load(Ordering::Acquire);
            let now = overseer.store.spare_disk(before).await?;
            is_put_off.store(now, Ordering::Release);
            Ok::<_, StoreError>(())
        }
    });
}

/// Lets go, little by little, of what is kept in memory and nobody has asked for lately.
fn give_memory_back(overseer: &Overseer, tasks: &Tasks) {
    let (overseer, last) = (overseer.clone(), Arc::new(Mutex::new(None)));
    repeat(tasks, "give-memory-back", REST_EVERY, move || {
        let (overseer, last) = (overseer.clone(), last.clone());
        async move {
            overseer.rooms.rest();
            let before = *last.lock();
            let now = overseer.store.rest(before).await?;
            *last.lock() = Some(now);
            Ok::<_, StoreError>(())
        }
    });
}

/// Sees to it that the certificate is renewed in time, where that is the server's own matter.
pub(crate) fn keep_certificate(overseer: &Overseer, outgoing: &Outgoing, tasks: &Tasks) {
    let Some(keeper) = overseer.keeper.clone() else {
        return;
    };
    let (outgoing, tls) = (outgoing.clone(), overseer.tls.clone());
    tasks.spawn("renew-certificate", move |stop| async move {
        let mut failures = 0_u32;
        loop {
            let kept = tokio::select! {
                () = stop.stopped() => return,
                kept = keeper.keep(&outgoing) => kept,
            };
            failures = match kept {
                Ok(was_renewed) => {
                    if was_renewed {
                        log::info!("the certificate was renewed");
                        // What fails is tried again when files are looked at.
                        tls.iter().for_each(|tls| drop(tls.reload_if_changed()));
                    }
                    0
                }
                Err(error) => {
                    log::error!("the certificate is not renewed, it is tried again: {error}");
                    failures + 1
                }
            };
            // An authority that is asked too often does not answer any more.
            let pause = RENEW_AGAIN.saturating_mul(1 << failures.saturating_sub(1).min(10));
            let pause = match failures {
                0 => RENEW_EVERY,
                _ => pause.min(RENEW_EVERY),
            };
            tokio::select! {
                () = stop.stopped() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    });
}

fn warn_of_certificates(overseer: &Overseer) {
    for reason in overseer.certificate_reasons() {
        log::warn!("{reason}");
    }
}

/// Does something again and again until the server stops; what fails is tried again
/// the next time.
pub(crate) fn repeat<Work, E>(
    tasks: &Tasks,
    name: &'static str,
    every: Duration,
    work: impl Fn() -> Work + Send + 'static,
) where
    Work: Future<Output = Result<(), E>> + Send + 'static,
    E: std::fmt::Display + 'static,
{
    tasks.spawn(name, move |stop| async move {
        loop {
            tokio::select! {
                () = stop.stopped() => return,
                () = tokio::time::sleep(every) => {}
            }
            let done = tokio::select! {
                () = stop.stopped() => return,
                done = work() => done,
            };
            if let Err(error) = done {
                log::error!("{name} failed: {error}");
            }
        }
    });
}
