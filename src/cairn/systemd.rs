//! What the service manager is told, and the sockets that it hands over.
//!
//! The protocol is sd_notify(3): lines of text as one datagram to the socket that
//! `NOTIFY_SOCKET` names. Without that variable nobody is told anything.

use std::{
    ffi::OsString,
    net::{SocketAddr, TcpListener},
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr as LocalAddress, UnixDatagram},
        },
    },
    time::Duration,
};

use listenfd::ListenFd;
use rustix::time::{ClockId, clock_gettime};

/// The service manager, if there is one.
#[derive(Clone, Debug)]
pub(crate) struct Manager {
    socket: Option<OsString>,
    watchdog: Option<Duration>,
}

impl Manager {
    /// The one that started this process, as its environment says.
    pub(crate) fn from_environment() -> Self {
        let watchdog_of_others = std::env::var("WATCHDOG_PID")
            .is_ok_and(|process| process != std::process::id().to_string());
        let watchdog = std::env::var("WATCHDOG_USEC")
            .ok()
            .and_then(|text| text.parse().ok())
            .filter(|microseconds| *microseconds > 0 && !watchdog_of_others)
            .map(Duration::from_micros);
        Self {
            socket: std::env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty()),
            watchdog,
        }
    }

    /// How long the server may be silent before it is taken for hung; none if nobody watches.
    pub(crate) fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// The server answers on its first listener.
    pub(crate) fn ready(&self) {
        self.tell("READY=1\nSTATUS=Serving\n");
    }

    /// What it does instead of serving, in words.
    pub(crate) fn status(&self, text: &str) {
        self.tell(&format!("STATUS={text}\n"));
    }

    /// It reads its configuration again; [`Manager::ready`] follows.
    pub(crate) fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let microseconds = now.tv_sec.saturating_mul(1_000_000) + now.tv_nsec / 1_000;
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={microseconds}\n"));
    }

    /// It stops.
    pub(crate) fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=Stopping\n");
    }

    /// It is alive.
    pub(crate) fn alive(&self) {
        self.tell("WATCHDOG=1\n");
    }

    fn tell(&self, text: &str) {
        let Some(path) = &self.socket else {
            return;
        };
        let bytes = path.as_bytes();
        let address = match bytes.strip_prefix(b"@") {
            Some(name) => LocalAddress::from_abstract_name(name),
            None => LocalAddress::from_pathname(path),
        };
        let sent = address
            .and_then(|address| UnixDatagram::unbound()?.send_to_addr(text.as_bytes(), &address));
        if let Err(error) = sent {
            log::warn!("the service manager cannot be told: {error}");
        }
    }
}

/// The sockets that the service manager has bound and handed over, each with its address.
pub(crate) fn handed_over() -> Vec<(SocketAddr, TcpListener)> {
    let mut found = Vec::new();
    let mut handed = ListenFd::from_env();
    for number in 0..handed.len() {
        let socket = match handed.take_tcp_listener(number) {
            Ok(Some(socket)) => socket,
            Ok(None) => continue,
            Err(error) => {
                log::warn!("socket {number} of the service manager cannot be used: {error}");
                continue;
            }
        };
        match socket.local_addr() {
            Ok(address) => found.push((address, socket)),
            Err(error) => log::warn!("socket {number} of the service manager is strange: {error}"),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manager(socket: Option<OsString>) -> Manager {
        Manager {
            socket,
            watchdog: None,
        }
    }

    #[test]
    fn the_manager_is_told_each_state() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let manager = manager(Some(path.into()));
        let heard = || {
            let mut bytes = [0; 256];
            let length = socket.recv(&mut bytes).unwrap();
            String::from_utf8(bytes[..length].to_vec()).unwrap()
        };
        manager.ready();
        assert_eq!(heard(), "READY=1\nSTATUS=Serving\n");
        manager.reloading();
        let told = heard();
        let (first, rest) = told.split_once('\n').unwrap();
        assert_eq!(first, "RELOADING=1");
        let number = rest.trim_end().strip_prefix("MONOTONIC_USEC=").unwrap();
        assert!(number.parse::<u64>().unwrap() > 0);
        manager.alive();
        assert_eq!(heard(), "WATCHDOG=1\n");
        manager.stopping();
        assert!(heard().starts_with("STOPPING=1\n"));
    }

    #[test]
    fn an_abstract_socket_is_reached_too() {
        let name = format!("cairn-test-{}", std::process::id());
        let address = LocalAddress::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        manager(Some(format!("@{name}").into())).alive();
        let mut bytes = [0; 64];
        let length = socket.recv(&mut bytes).unwrap();
        assert_eq!(&bytes[..length], b"WATCHDOG=1\n");
    }

    #[test]
    fn without_a_manager_nobody_is_told() {
        manager(None).ready();
        manager(Some("/nowhere/at/all".into())).ready();
    }
}
