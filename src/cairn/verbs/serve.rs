//! `cairn serve`: the server, until it is told to stop.

use std::{collections::HashSet, io::Write, net::SocketAddr, sync::Arc, time::Duration};

use actions::{Contacts, Files};
use admin_api::AdminParts;
use axum::Router;
use certificates::{Keeper, KeeperParts};
use client_api::{ClientParts, ServerInfo};
use console::{Console, Support};
use delivery::{Appservices, AppservicesParts, Federation, FederationParts, Push, PushParts};
use mail::{Mailer, MailerParts};
use previews::{Previews, PreviewsParts};
use runtime::{Metrics, Tasks};
use search::Search;
use serde_json::{Value, json};
use server_api::ServerParts;
use store::Store;
use sync::Sync;
use tokio::sync::Notify;
use web::{Front, FrontParts, Limits, Listener, Measures, Serves, Tls};

use super::{Answer, Failure, administer::SOCKET, backup};
use crate::{
    command_line::Common,
    config::Config,
    health::Overseer,
    oversight::{keep_certificate, oversee, repeat},
    parts::Parts,
    signals::Signals,
    systemd::{self, Manager},
};

/// How long a stop may take before what still runs is named and left.
const STOP_DEADLINE: Duration = Duration::from_secs(25);
/// How often what is not needed any more is removed.
const SWEEP_EVERY: Duration = Duration::from_secs(600);
/// How often the device lists of those are forgotten with whom no room is shared any more.
const STRANGERS_EVERY: Duration = Duration::from_secs(3_600);
/// How often long unread counts are written down.
const KEEP_EVERY: Duration = Duration::from_secs(60);
/// How often the log is told where the audit trail ends.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long the log keeps what every consumer has read, in ms.
const LOG_AGE: u64 = 60 * 60 * 1000;

/// Runs the server. Returns after a clean stop.
pub(super) fn run(common: &Common) -> Result<Answer, Failure> {
    let config = Config::load(&common.config)?;
    runtime::log::init(config.log.level.into())
        .map_err(|error| Failure::Other(format!("the log cannot be written: {error}")))?;
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
    threads.block_on(serve(config, common))
}

/// The confirmations of e-mail addresses, over the relay of the configuration.
fn contacts(config: &Config, parts: &Parts, metrics: &Metrics) -> Result<Contacts, Failure> {
    let mailer = Mailer::new(MailerParts {
        options: &config.mail,
        trust: &config.outgoing,
        outgoing: parts.outgoing.clone(),
        server_name: config.server_name.as_str(),
        clock: parts.clock.clone(),
        random: parts.random.clone(),
        metrics,
    });
    let mailer = mailer.map_err(|error| Failure::Other(error.to_string()))?;
    Ok(Contacts::new(parts.accounts.clone(), mailer))
}

/// What the doors stand on.
struct Served {
    client: ClientParts,
    others: ServerParts,
    /// Whether other servers find a door at all.
    speaks_to_others: bool,
}

/// What the running server holds in its hands.
struct Server {
    config: Config,
    tasks: Tasks,
    limits: Limits,
    tls: Vec<Tls>,
    /// Who sees to the certificate, if that is this server.
    keeper: Option<Arc<Keeper>>,
}

async fn serve(config: Config, common: &Common) -> Result<Answer, Failure> {
    let metrics = Metrics::new();
    let tasks = Tasks::measured(&metrics);
    let parts = Parts::open(&config, &metrics, tasks.stop())
        .map_err(|error| Failure::Other(error.to_string()))?;
    backup::remove_left_copy(&config.data_dir);
    let limits = Limits::new(config.limits.clone(), parts.clock.clone());
    let sync = Sync::new(
        parts.store.clone(),
        parts.rooms.clone(),
        parts.accounts.clone(),
        parts.clock.clone(),
        tasks.stop(),
    );
    let search = Search::new(
        parts.store.clone(),
        parts.rooms.clone(),
        parts.clock.clone(),
    );
    let media = parts.media.clone();
    let previews = Previews::new(PreviewsParts {
        store: parts.store.clone(),
        media: media.clone(),
        outgoing: parts.outgoing.clone(),
        clock: parts.clock.clone(),
        options: config.url_previews.clone(),
        metrics: metrics.clone(),
    });
    register_services(&parts, &config).await?;
    let appservices_parts = AppservicesParts {
        store: parts.store.clone(),
        accounts: parts.accounts.clone(),
        rooms: parts.rooms.clone(),
        outgoing: parts.outgoing.clone(),
        clock: parts.clock.clone(),
        random: parts.random.clone(),
        tasks: tasks.clone(),
    };
    let options = config.application_services.clone();
    let appservices = Appservices::new(appservices_parts, options, &metrics);
    let client = ClientParts {
        accounts: parts.accounts.clone(),
        rooms: parts.rooms.clone(),
        sync,
        search: search.clone(),
        media: media.clone(),
        previews: previews.clone(),
        files: Files::new(media.clone(), parts.peers.clone()),
        actions: parts.actions.clone(),
        contacts: contacts(&config, &parts, &metrics)?,
        appservices: appservices.clone(),
        limits: limits.clone(),
        clock: parts.clock.clone(),
        info: Arc::new(ServerInfo {
            default_room_version: config.rooms.default_version.clone(),
            well_known: config.well_known.clone(),
            turn: config.turn.clone(),
            rtc: config.rtc.clone(),
            thread_subscriptions: config.accounts.thread_subscriptions,
            plain_push_gateways: parts.outgoing.reaches_private_networks(),
        }),
    };
    let served = Served {
        others: ServerParts {
            accounts: parts.accounts.clone(),
            rooms: parts.rooms.clone(),
            actions: parts.actions.clone(),
            media: media.clone(),
            peers: parts.peers.clone(),
            clock: parts.clock.clone(),
            info: Arc::new(server_api::ServerInfo {
                well_known_server: config.well_known.server.clone(),
            }),
        },
        speaks_to_others: config.federation.enabled,
        client,
    };
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
    };
    let manager = Manager::from_environment();
    audit::begin(&parts.store, &parts.clock)
        .await
        .map_err(|error| Failure::Other(error.to_string()))?;
    // Signals are heard from before the first listener is announced.
    let mut signals = Signals::new()?;
    let overseer = server
        .listen(&parts, &served, &metrics, common.json)
        .await?;
    oversee(&overseer, &manager, &metrics, &server.tasks);
    keep_certificate(&overseer, &parts.outgoing, &server.tasks);
    manager.ready();
    settle(&parts, &server.tasks);
    sweep(&parts, &server.tasks);
    deliver(&parts, &server, &metrics);
    follow_devices(&parts, &server.tasks);
    repeat(&server.tasks, "forget-previews", SWEEP_EVERY, move || {
        let previews = previews.clone();
        async move { previews.sweep().await }
    });
    let presence = parts.rooms.clone();
    server
        .tasks
        .spawn("expire-presence", move |stop| async move {
            presence.expire_presence(stop).await;
        });
    server.tasks.spawn("search", |stop| search.run(stop));
    server
        .tasks
        .spawn("appservices", |stop| appservices.run(stop));
    let rooms = parts.rooms.clone();
    server.tasks.spawn("expire-typing", move |stop| async move {
        rooms.expire_typing(stop).await;
    });
    follow_audit(&parts, &server);
    let accounts = parts.accounts.clone();
    server
        .tasks
        .spawn("complete-user-directory", move |stop| async move {
            if let Err(error) = accounts.complete_user_directory(stop).await {
                log::error!("the user directory is not complete, until a restart: {error}");
            }
        });
    server.tasks.spawn("sweep-media", move |stop| async move {
        media.sweep(stop).await;
    });
    log::info!(server_name = server.config.server_name.as_str(), version = env!("CARGO_PKG_VERSION"); "serving");
    let restart = overseer.restart.clone();
    let must_restart = loop {
        tokio::select! {
            signal = signals.next() => match signal {
                Some(()) => {
                    manager.reloading();
                    server.reload(common, &parts).await;
                    manager.ready();
                }
                None => break false,
            },
            () = restart.notified() => break true,
        }
    };
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

impl Server {
    /// Opens every listener and the administration socket.
    async fn listen(
        &mut self,
        parts: &Parts,
        parts_of_doors: &Served,
        metrics: &Metrics,
        json: bool,
    ) -> Result<Overseer, Failure> {
        let measures = Measures::new(metrics);
        let contact: Arc<str> = self.config.contact().into();
        let front = |router, trusted_proxies, tasks: &Tasks, limits: &Limits| {
            Front::new(FrontParts {
                router,
                trusted_proxies,
                limits: limits.clone(),
                measures: measures.clone(),
                contact: contact.clone(),
                tasks: tasks.clone(),
                clock: parts.clock.clone(),
                random: parts.random.clone(),
            })
        };
        if let Some(keeper) = &self.keeper {
            let prepared = keeper.prepare();
            prepared.map_err(|error| Failure::Other(error.to_string()))?;
        }
        let mut bound = Vec::new();
        let mut handed = systemd::handed_over();
        for options in &self.config.listeners {
            let options = options.for_web();
            let tls = options
                .tls
                .as_ref()
                .map(|files| {
                    let keeper = self.keeper.as_ref();
                    let own = keeper.filter(|keeper| keeper.file() == files.certificate);
                    let challenges = own.map(|keeper| keeper.challenges());
                    Tls::load_with(&files.certificate, &files.key, challenges)
                })
                .transpose()
                .map_err(|error| Failure::Other(error.to_string()))?;
            let place = handed
                .iter()
                .position(|(address, _)| *address == options.address);
            let listener = match place {
                Some(place) => Listener::adopt(handed.swap_remove(place).1, tls.clone()),
                None => Listener::bind(options.address, tls.clone()).await,
            };
            let listener = listener.map_err(|error| Failure::Other(error.to_string()))?;
            self.tls.extend(tls);
            bound.push((listener, options));
        }
        for (address, _) in handed {
            log::warn!(
                "the service manager listens on {address}, and no [[listener]] has that address"
            );
        }
        let overseer = Overseer {
            store: parts.store.clone(),
            rooms: parts.rooms.clone(),
            data_dir: self.config.data_dir.clone(),
            reserved_bytes: self.config.media.reserved_disk_bytes,
            tls: self.tls.clone(),
            keeper: self.keeper.clone(),
            clock: parts.clock.clone(),
            stop: self.tasks.stop(),
            restart: Arc::new(Notify::new()),
        };
        let socket = Listener::bind_local(&self.config.data_dir.join(SOCKET))
            .map_err(|error| Failure::Other(error.to_string()))?;
        let administration = admin_api::socket_routes().into_router(parts.actions.clone());
        let administration = administration.merge(health_routes(&overseer));
        socket.serve(
            front(administration, Vec::new(), &self.tasks, &self.limits),
            &self.tasks,
        );
        // Nothing is announced before everything is bound.
        for (listener, options) in bound {
            announce(&listener, &options, json);
            let serves: HashSet<Serves> = options.serves.iter().copied().collect();
            let bound = listener.address().unwrap_or(options.address);
            if serves.contains(&Serves::Client) {
                let address = self.config.address_on(bound, options.tls.is_some());
                parts_of_doors.client.contacts.reached_at(&address);
            }
            let console = self.console(parts, bound, options.tls.is_some());
            let mut served = router(&serves, parts_of_doors, console, metrics);
            if serves.contains(&Serves::Metrics) {
                served = served.merge(health_routes(&overseer));
            }
            let front = front(served, options.trusted_proxies, &self.tasks, &self.limits);
            listener.serve(front, &self.tasks);
        }
        Ok(overseer)
    }

    /// The pages of a listener, which tell its address where no other is named.
    fn console(&self, parts: &Parts, bound: SocketAddr, is_tls: bool) -> Console {
        Console {
            accounts: parts.accounts.clone(),
            limits: self.limits.clone(),
            address: self.config.address_on(bound, is_tls).into(),
            joining: Arc::new(self.config.joining.clone()),
            support: Arc::new(Support {
                page: self.config.well_known.support_page.clone(),
                email: self.config.well_known.support_email.clone(),
                user: self.config.well_known.support_user.clone(),
            }),
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

/// Has memberships and power levels written into the audit trail, and tells the log each day
/// where the trail ends: whoever keeps the log elsewhere can prove the trail.
fn follow_audit(parts: &Parts, server: &Server) {
    let (store, clock) = (parts.store.clone(), parts.clock.clone());
    let name = server.config.server_name.clone();
    let rooms = parts.rooms.clone();
    server
        .tasks
        .spawn("complete-register", move |stop| async move {
            if let Err(error) = rooms.complete_register(stop).await {
                log::error!("the register is not complete, until a restart: {error}");
            }
        });
    server
        .tasks
        .spawn("audit", move |stop| audit::follow(store, name, clock, stop));
    tell_audit_head(&parts.store);
    let store = parts.store.clone();
    repeat(&server.tasks, "tell-audit-head", DAY, move || {
        tell_audit_head(&store);
        std::future::ready(Ok::<_, std::convert::Infallible>(()))
    });
}

fn tell_audit_head(store: &Store) {
    match audit::head(&store.snapshot()) {
        Ok(head) => {
            let hash = audit::hexadecimal(&head.hash);
            log::info!(entries = head.entries, hash = hash.as_str(); "the audit trail ends here");
        }
        Err(error) => log::error!("the end of the audit trail cannot be read: {error}"),
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

fn router(serves: &HashSet<Serves>, parts: &Served, console: Console, metrics: &Metrics) -> Router {
    let client = &parts.client;
    let mut router = Router::new();
    if serves.contains(&Serves::Client) {
        router = router
            .merge(client_api::routes().into_router(client.clone()))
            .merge(console::routes().into_router(console));
    }
    if serves.contains(&Serves::Federation) && parts.speaks_to_others {
        router = router.merge(server_api::routes().into_router(parts.others.clone()));
    }
    if serves.contains(&Serves::Admin) {
        let parts = AdminParts {
            accounts: client.accounts.clone(),
            actions: client.actions.clone(),
            limits: client.limits.clone(),
        };
        router = router.merge(admin_api::network_routes().into_router(parts));
    }
    if serves.contains(&Serves::Metrics) {
        router = router.merge(web::metrics_routes(metrics.clone()));
    }
    router
}

fn health_routes(overseer: &Overseer) -> Router {
    let overseer = overseer.clone();
    web::health_routes(move || {
        let overseer = overseer.clone();
        async move { overseer.health().await }
    })
}

/// Says where the server listens: for people, or a line of JSON for programs.
fn announce(listener: &Listener, options: &web::ListenerOptions, json: bool) {
    let Some(address) = listener.address() else {
        return;
    };
    let scheme = if options.tls.is_some() {
        "https"
    } else {
        "http"
    };
    let line = if json {
        json!({ "event": "listening", "address": address, "scheme": scheme, "serves": options.serves })
            .to_string()
    } else {
        format!("Listening on {scheme}://{address}")
    };
    let mut output = std::io::stdout();
    // Nobody may be reading, and the server serves all the same.
    let _ = writeln!(output, "{line}").and_then(|()| output.flush());
}

/// Starts the readers that tell others.
fn deliver(parts: &Parts, server: &Server, metrics: &Metrics) {
    let push_parts = PushParts {
        store: parts.store.clone(),
        accounts: parts.accounts.clone(),
        rooms: parts.rooms.clone(),
        outgoing: parts.outgoing.clone(),
        clock: parts.clock.clone(),
        random: parts.random.clone(),
        tasks: server.tasks.clone(),
    };
    let push = Push::new(push_parts, server.config.push.clone(), metrics);
    server.tasks.spawn("push", |stop| push.run(stop));
    let federation_parts = FederationParts {
        store: parts.store.clone(),
        rooms: parts.rooms.clone(),
        peers: parts.peers.clone(),
        clock: parts.clock.clone(),
        random: parts.random.clone(),
        tasks: server.tasks.clone(),
    };
    let peers = parts.peers.clone();
    server
        .tasks
        .spawn("peer-list", |stop| peers.follow_list(stop));
    let options = server.config.federation.clone();
    let federation = Federation::new(federation_parts, options, metrics);
    server
        .tasks
        .spawn("federation", |stop| federation.run(stop));
}

/// Brings what is stored to what this version and its options say, in the background.
fn settle(parts: &Parts, tasks: &Tasks) {
    let accounts = parts.accounts.clone();
    tasks.spawn("settle-push-rules", move |stop| async move {
        let settled = tokio::select! {
            () = stop.stopped() => return,
            settled = accounts.settle_push_rules() => settled,
        };
        match settled {
            Ok(0) => {}
            Ok(count) => log::info!("{count} accounts got the push rules of now"),
            Err(error) => log::error!("push rules could not be brought up to date: {error}"),
        }
    });
}

/// Begins the work that is done in its time: delayed events are sent, the log is kept as short as its consumers
/// allow, transaction ids are forgotten, long unread counts written down.
fn sweep(parts: &Parts, tasks: &Tasks) {
    let rooms = parts.rooms.clone();
    let working = rooms.clone();
    tasks.spawn("work-on-rooms", move |stop| async move {
        working.work_on_tasks(stop).await;
    });
    tasks.spawn("send-delayed-events", move |stop| async move {
        rooms.send_delayed(stop).await;
    });
    let (store, clock) = (parts.store.clone(), parts.clock.clone());
    repeat(tasks, "trim-log", SWEEP_EVERY, move || {
        let (store, before) = (store.clone(), clock.now().0.saturating_sub(LOG_AGE));
        async move { store::trim(&store, before).await.map(drop) }
    });
    let store = parts.store.clone();
    repeat(tasks, "give-back-disk", SWEEP_EVERY, move || {
        let store = store.clone();
        async move { store.give_back().await }
    });
    let rooms = parts.rooms.clone();
    repeat(tasks, "forget-transactions", SWEEP_EVERY, move || {
        let rooms = rooms.clone();
        async move { rooms.forget_transactions().await.map(drop) }
    });
    let rooms = parts.rooms.clone();
    repeat(
        tasks,
        "forget-delayed-and-sticky-events",
        SWEEP_EVERY,
        move || {
            let rooms = rooms.clone();
            async move {
                rooms.forget_sticky().await?;
                rooms.forget_delayed().await
            }
        },
    );
    let rooms = parts.rooms.clone();
    repeat(tasks, "keep-unread-counts", KEEP_EVERY, move || {
        let rooms = rooms.clone();
        async move { rooms.keep_unread_counts().await }
    });
}

/// Keeps the device lists of other servers' users with whom rooms are shared.
fn follow_devices(parts: &Parts, tasks: &Tasks) {
    let actions = parts.actions.clone();
    tasks.spawn("fetch-device-lists", move |stop| async move {
        actions.fetch_device_lists(stop).await;
    });
    let actions = parts.actions.clone();
    tasks.spawn("complete-rooms", move |stop| async move {
        actions.complete_rooms(stop).await;
    });
    let accounts = parts.accounts.clone();
    repeat(
        tasks,
        "forget-strangers-devices",
        STRANGERS_EVERY,
        move || {
            let accounts = accounts.clone();
            async move { accounts.forget_strangers_devices().await.map(drop) }
        },
    );
}
