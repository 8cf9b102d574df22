//! What the listeners serve, and on which addresses.

use std::{collections::HashSet, io::Write, net::SocketAddr, sync::Arc};

use actions::{Contacts, Files};
use admin_api::AdminParts;
use axum::Router;
use client_api::{ClientParts, ServerInfo};
use console::{Console, Support};
use delivery::{Appservices, AppservicesParts};
use mail::{Mailer, MailerParts};
use previews::{Previews, PreviewsParts};
use runtime::{Metrics, OpenFiles, Tasks};
use search::Search;
use serde_json::json;
use server_api::ServerParts;
use sync::Sync;
use tokio::sync::{Notify, Semaphore};
use web::{Front, FrontParts, Limits, Listener, Measures, Serves, Tls};

use super::Server;
use crate::{
    config::Config,
    health::Overseer,
    parts::Parts,
    sight::Sight,
    systemd,
    verbs::{Failure, administer::SOCKET},
};

/// What the doors stand on.
pub(super) struct Served {
    pub(super) client: ClientParts,
    others: ServerParts,
    /// Whether other servers find a door at all.
    speaks_to_others: bool,
}

impl Served {
    /// Builds it from the parts of the house.
    ///
    /// # Errors
    /// If the configuration's mail cannot be sent.
    pub(super) fn new(
        config: &Config,
        parts: &Parts,
        limits: &Limits,
        tasks: &Tasks,
        metrics: &Metrics,
    ) -> Result<Self, Failure> {
        let client = ClientParts {
            accounts: parts.accounts.clone(),
            rooms: parts.rooms.clone(),
            sync: Sync::new(
                parts.store.clone(),
                parts.rooms.clone(),
                parts.accounts.clone(),
                parts.clock.clone(),
                tasks.stop(),
            ),
            search: Search::new(
                parts.store.clone(),
                parts.rooms.clone(),
                parts.clock.clone(),
            ),
            media: parts.media.clone(),
            previews: previews(config, parts, metrics),
            files: Files::new(parts.media.clone(), parts.peers.clone()),
            actions: parts.actions.clone(),
            contacts: contacts(config, parts, metrics)?,
            appservices: appservices(config, parts, tasks, metrics),
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
        let others = ServerParts {
            accounts: parts.accounts.clone(),
            rooms: parts.rooms.clone(),
            actions: parts.actions.clone(),
            media: parts.media.clone(),
            peers: parts.peers.clone(),
            clock: parts.clock.clone(),
            info: Arc::new(server_api::ServerInfo {
                well_known_server: config.well_known.server.clone(),
            }),
        };
        Ok(Self {
            client,
            others,
            speaks_to_others: config.federation.enabled,
        })
    }
}

fn previews(config: &Config, parts: &Parts, metrics: &Metrics) -> Previews {
    Previews::new(PreviewsParts {
        store: parts.store.clone(),
        media: parts.media.clone(),
        outgoing: parts.outgoing.clone(),
        clock: parts.clock.clone(),
        options: config.url_previews.clone(),
        metrics: metrics.clone(),
    })
}

fn appservices(config: &Config, parts: &Parts, tasks: &Tasks, metrics: &Metrics) -> Appservices {
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
    Appservices::new(appservices_parts, options, metrics)
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
    let contacts = Contacts::new(parts.accounts.clone(), mailer);
    parts.actions.write_by(contacts.clone());
    Ok(contacts)
}

impl Server {
    /// Opens every listener and the administration socket.
    pub(super) async fn listen(
        &mut self,
        parts: &Parts,
        parts_of_doors: &Served,
        metrics: &Metrics,
        json: bool,
    ) -> Result<Overseer, Failure> {
        let measures = Measures::new(metrics);
        let places = Arc::new(Semaphore::new(OpenFiles::of_this_process().incoming()));
        let contact: Arc<str> = self.config.contact().into();
        let front = |router, trusted_proxies, tasks: &Tasks, limits: &Limits| {
            Front::new(FrontParts {
                router,
                trusted_proxies,
                limits: limits.clone(),
                measures: measures.clone(),
                places: places.clone(),
                contact: contact.clone(),
                secret: *parts.store.secret(),
                tasks: tasks.clone(),
                clock: parts.clock.clone(),
                random: parts.random.clone(),
            })
        };
        if let Some(keeper) = &self.keeper {
            let prepared = keeper.prepare();
            prepared.map_err(|error| Failure::Other(error.to_string()))?;
        }
        let bound = self.bind().await?;
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
        let administration = administration
            .merge(health_routes(&overseer))
            .merge(web::metrics_routes(metrics.clone()));
        socket.serve(
            front(administration, Vec::new(), &self.tasks, &self.limits),
            &self.tasks,
        );
        let sight = Sight::new(&overseer, &self.settings, &self.config);
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
            if serves.contains(&Serves::Admin) {
                let address = self.config.address_on(bound, options.tls.is_some());
                let desk = sight.desk(parts, &self.limits, address);
                served = served.merge(console::desk_routes().into_router(desk));
            }
            if serves.contains(&Serves::Metrics) {
                served = served.merge(health_routes(&overseer));
            }
            let front = front(served, options.trusted_proxies, &self.tasks, &self.limits);
            listener.serve(front, &self.tasks);
        }
        Ok(overseer)
    }

    /// Opens every listener, or takes it over from the service manager.
    async fn bind(&mut self) -> Result<Vec<(Listener, web::ListenerOptions)>, Failure> {
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
        Ok(bound)
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
