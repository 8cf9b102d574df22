//! The sections of the configuration that no crate below has options for.

use std::net::SocketAddr;

use runtime::{Network, options};
use serde::{Deserialize, Serialize};
use web::{Serves, TlsFiles};

options! {
    /// An address that the server listens on. Repeat the section for each.
    pub(crate) struct ListenerOptions in "listener" {
        /// IP address and port. Port 0 takes any free one.
        pub(crate) address: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 8008)),
        /// What is served there, any of: "client" (apps, and the page that an invitation's
        /// link opens), "federation" (other servers), "admin" (the console at /console/, and
        /// programs that administer), "metrics" (/metrics for Prometheus, and /_cairn/health).
        pub(crate) serves: Vec<Serves> = vec![Serves::Client],
        /// Networks of the reverse proxies in front of this listener, for instance
        /// "127.0.0.1/32". Only their X-Forwarded-For header is believed.
        pub(crate) trusted_proxies: Vec<Network> = Vec::new(),
        /// PEM files of the certificate chain and its key. Leave it out for plain HTTP.
        /// Files that were replaced are read again within a minute, or at once on SIGHUP.
        pub(crate) tls: Option<TlsFiles> = None,
    }
}

impl ListenerOptions {
    /// The same for the floor that listens.
    pub(crate) fn for_web(&self) -> web::ListenerOptions {
        web::ListenerOptions {
            address: self.address,
            serves: self.serves.clone(),
            tls: self.tls.clone(),
            trusted_proxies: self.trusted_proxies.clone(),
        }
    }
}

options! {
    /// The log, written to journald under systemd and to standard error elsewhere.
    pub(crate) struct LogOptions in "log" {
        /// The least urgent entries to write: "error", "warn", "info", "debug" or "trace".
        pub(crate) level: LogLevel = LogLevel::Info,
    }
}

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LogLevel {
    /// What somebody must look at.
    Error,
    /// What somebody may have to look at.
    Warn,
    /// What the server does.
    Info,
    /// How it does it.
    Debug,
    /// Everything.
    Trace,
}

impl From<LogLevel> for log::LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::Error,
            LogLevel::Warn => Self::Warn,
            LogLevel::Info => Self::Info,
            LogLevel::Debug => Self::Debug,
            LogLevel::Trace => Self::Trace,
        }
    }
}
