//! The connections along each route, kept apart: two routes may ask for the same host.

use std::{collections::HashMap, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper_util::{
    client::legacy,
    rt::{TokioExecutor, TokioTimer},
};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::connector::{Connector, Route};

/// How long a connection is kept for the next request.
const IDLE: Duration = Duration::from_secs(60);
/// The most connections to one server that are kept.
const IDLE_CONNECTIONS: usize = 8;
/// At this many routes those that are idle are forgotten.
const MANY_ROUTES: usize = 1_000;
/// The most routes. Beyond it, connections are made for one request.
const MOST_ROUTES: usize = 10_000;

pub(crate) type Client = legacy::Client<Connector, Full<Bytes>>;

/// A client that makes its connections with `connector`.
pub(crate) fn client(connector: Connector) -> Client {
    legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(IDLE_CONNECTIONS)
        .http2_max_header_list_size(64 * 1024)
        .build(connector)
}

/// One client for each route.
pub(crate) struct Routes {
    connector: Connector,
    clients: Mutex<HashMap<Route, (Client, Instant)>>,
}

impl Routes {
    pub(crate) fn new(connector: Connector) -> Self {
        Self {
            connector,
            clients: Mutex::default(),
        }
    }

    /// The client whose connections go along `route`.
    pub(crate) fn client(&self, route: &Route) -> Client {
        let now = Instant::now();
        let mut clients = self.clients.lock();
        if let Some((client, used)) = clients.get_mut(route) {
            *used = now;
            return client.clone();
        }
        if clients.len() >= MANY_ROUTES {
            clients.retain(|_, (_, used)| now.duration_since(*used) < IDLE);
        }
        let client = client(self.connector.along(route.clone()));
        if clients.len() < MOST_ROUTES {
            clients.insert(route.clone(), (client.clone(), now));
        }
        client
    }
}
