//! `cairn serve`: the server, until it is told to stop.

mod doors;
mod rehearsal;
mod work;

use std::{sync::Arc, time::Duration};

use certificates::{Keeper, KeeperParts};
use runtime::{Metrics, OpenFiles, Tasks};
use serde_json::{Value, json};
use store::StoreError;
use web::{Limits, Tls};

use self::doors::Served;
pub(super) use self::rehearsal::rehearse;
use super::{Answer, Failure, backup};
use crate::{
    allocator,
    backoff::Backoff,
    command_line::Common,
    config::Config,
    health::Overseer,
    oversight::{keep_certificate, oversee},
    parts::Parts,
    sight::Settings,
    signals::Signals,
    systemd::Manager,
};

/// How long a stop may take before what still runs is named and left.
const STOP_DEADLINE: Duration = Duration::from_secs(25);

/// Runs the server. Returns after a clean stop.
pub(super) fn run(common: &Common) -> Result<Answer, Failure> {
    let manager = Manager::from_environment();
    let backoff = Backoff::from_environment();
    backoff.wait(&common.config, &manager);
    let config = Config::load(&common.config)?;
    runtime::log::init(config.log.level.into())
        .map_err(|error| Failure::Other(format!("the log cannot be written: {error}")))?;
    allocator::give_back_by_itself();
    OpenFiles::ask_for_more();
    if let Some(name) = config.absent_credentials().first() {
        return Err(Failure::Other(format!(
            "there is no credential {name}: hand it over with LoadCredential= (man systemd.exec)"
        )));
    }
    let threads = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("cairn")
        .build()
        .map_err(|error| Failure::Other(format!("the server cannot start: {error}")))?;
    let answer = threads.block_on(serve(config, common, &manager))?;
    backoff.end();
    Ok(answer)
}

/// What the running server holds in its hands.
struct Server {
    config: Config,
    tasks: Tasks,
    limits: Limits,
    tls: Vec<Tls>,
    /// Who sees to the certificate, if that is this server.
    keeper: Option<Arc<Keeper>>,
    /// What the console shows of the configuration.
    settings: Settings,
}

async fn serve(config: Config, common: &Common, manager: &Manager) -> Result<Answer, Failure> {
    let metrics = Metrics::new();
    let tasks = Tasks::measured(&metrics);
    let parts = Parts::open(&config, &metrics, tasks.stop())
        .map_err(|error| Failure::Other(error.to_string()))?;
    backup::remove_left_copy(&config.data_dir);
    let limits = Limits::new(config.limits.clone(), parts.clock.clone());
    register_services(&parts, &config).await?;
    let served = Served::new(&config, &parts, &limits, &tasks, &metrics)?;
    let keeper = Keeper::new(KeeperParts {
        options: config.certificates.clone(),
        server_name: config.server_name.host().to_owned(),
        data_dir: config.data_dir.clone(),
        clock: parts.clock.clone(),
    });
    let mut server = Server {
        config,
        tasks,
        limits,
        tls: Vec::new(),
        keeper: keeper.map(Arc::new),
        settings: Settings::default(),
    };
    audit::begin(&parts.store, &parts.clock)
        .await
        .map_err(|error| Failure::Other(error.to_string()))?;
    complete_lists(&parts, &server.tasks)
        .await
        .map_err(|error| Failure::Other(error.to_string()))?;
    // Signals are heard from before the first listener is announced.
    let mut signals = Signals::new()?;
    let overseer = server
        .listen(&parts, &served, &metrics, common.json)
        .await?;
    oversee(&overseer, manager, &metrics, &server.tasks);
    keep_certificate(&overseer, &parts.outgoing, &server.tasks);
    manager.ready();
    work::begin(&parts, &served, &server, &metrics);
    log::info!(server_name = server.config.server_name.as_str(), version = env!("CARGO_PKG_VERSION"); "serving");
    let must_restart = server
        .until_stopped(&mut signals, &overseer, manager, common, &parts)
        .await;
    log::info!("stopping");
    manager.stopping();
    let still_running = server.tasks.shutdown(STOP_DEADLINE).await;
    if !still_running.is_empty() {
        log::warn!(
            "stopped while these still ran: {}",
            still_running.join(", ")
        );
    }
    // The last sync of the store happens here.
    drop((parts, served, overseer));
    log::info!("stopped");
    if must_restart {
        return Err(Failure::Other(
            "the disk was full in the middle of a write, and has room again: start the server anew (systemd does)".to_owned(),
        ));
    }
    Ok(Answer {
        text: String::new(),
        json: json!({ "event": "stopped" }),
    })
}

/// Puts what an earlier version has stored into the lists of people and rooms that it did not keep, so
/// that nobody is shown half of them.
async fn complete_lists(parts: &Parts, tasks: &Tasks) -> Result<(), StoreError> {
    parts.accounts.complete_people_lists(tasks.stop()).await?;
    parts.rooms.complete_rooms_lists(tasks.stop()).await
}

impl Server {
    /// Serves until it is told to stop, or must begin anew: whether that.
    async fn until_stopped(
        &mut self,
        signals: &mut Signals,
        overseer: &Overseer,
        manager: &Manager,
        common: &Common,
        parts: &Parts,
    ) -> bool {
        loop {
            tokio::select! {
                signal = signals.next() => match signal {
                    Some(()) => {
                        manager.reloading();
                        self.reload(common, parts).await;
                        manager.ready();
                    }
                    None => return false,
                },
                () = overseer.restart.notified() => return true,
            }
        }
    }

    /// Reads configuration and certificates again. What cannot change while the
    /// server runs stays as it is, and is named.
    async fn reload(&mut self, common: &Common, parts: &Parts) {
        for tls in &self.tls {
            if let Err(error) = tls.reload() {
                log::error!("the certificate in use stays in use: {error}");
            }
        }
        let config = match Config::load(&common.config) {
            Ok(config) => config,
            Err(error) => {
                log::error!("the configuration in use stays in use: {error}");
                return;
            }
        };
        if let Err(error) = register_services(parts, &config).await {
            log::error!("the application services were not all registered: {error}");
        }
        self.limits.change(config.limits.clone());
        runtime::log::set_level(config.log.level.into());
        self.settings.show_changed(&config);
        let comparable = |config: &Config| {
            let mut value = serde_json::to_value(config).unwrap_or(Value::Null);
            value["limits"] = Value::Null;
            value["log"] = Value::Null;
            value["application_services"]["registrations"] = Value::Null;
            value
        };
        if comparable(&config) != comparable(&self.config) {
            log::warn!(
                "limits, log level and application services are in effect; the other changes need a restart"
            );
        }
        log::info!("configuration and certificates were read again");
    }
}

/// Registers the application services of the configuration, each with its own user.
async fn register_services(parts: &Parts, config: &Config) -> Result<(), Failure> {
    let services = parts.accounts.services();
    services
        .replace(config.registrations.clone())
        .map_err(|error| Failure::Other(error.to_string()))?;
    let made = parts.accounts.make_service_users().await;
    made.map_err(|error| {
        Failure::Other(format!(
            "the users of the application services cannot be made: {error}"
        ))
    })
}
