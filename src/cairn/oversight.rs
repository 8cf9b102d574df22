//! What the running server does to stay well: it tells the service manager that it lives,
//! measures itself, takes replaced certificates into use, and warns.

use std::{convert::Infallible, time::Duration};

use runtime::{Metrics, Tasks};

use crate::{gauges::Gauges, health::Overseer, systemd::Manager};

/// How often the numbers of the metrics are looked up that are not counted as they happen.
const MEASURE_EVERY: Duration = Duration::from_secs(5);
/// How often the bytes of files are added up.
const MEDIA_EVERY: Duration = Duration::from_secs(600);
/// How often the files of certificates are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(60);
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
