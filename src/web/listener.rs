//! Sockets that wait for connections.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use runtime::{Stop, Tasks};
use tokio::{
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use crate::{
    Front, Peer, Tls,
    connections::{self, ByAddress, Held},
};

/// How long running requests may take to end after the server's stop.
const STOP_GRACE: Duration = Duration::from_secs(20);
/// How long accepting rests after a failure, mostly of too many open files.
const ACCEPT_REST: Duration = Duration::from_millis(100);
/// How long a warning of too many connections is not repeated.
const WARN_AGAIN: Duration = Duration::from_secs(60);

/// Why a socket cannot be listened on. Each reads as one sentence for a person.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody else listens there.
    #[error("{0} is in use already: stop the other server or choose another port")]
    AddressInUse(SocketAddr),
    /// This machine does not have the address.
    #[error("{0} cannot be listened on: this machine does not have that address")]
    AddressNotAvailable(SocketAddr),
    /// A port below 1024, mostly.
    #[error("{0} cannot be listened on: this user may not use that port")]
    PermissionDenied(SocketAddr),
    /// Anything else with a network address.
    #[error("{address} cannot be listened on: {reason}")]
    Address {
        /// The address.
        address: SocketAddr,
        /// The system's word for it.
        reason: io::Error,
    },
    /// The administration socket could not be made.
    #[error("the socket {} cannot be made: {reason}", path.display())]
    Socket {
        /// The socket's path.
        path: PathBuf,
        /// The system's word for it.
        reason: io::Error,
    },
}

impl BindError {
    fn of(address: SocketAddr, reason: io::Error) -> Self {
        match reason.kind() {
            io::ErrorKind::AddrInUse => Self::AddressInUse(address),
            io::ErrorKind::AddrNotAvailable => Self::AddressNotAvailable(address),
            io::ErrorKind::PermissionDenied => Self::PermissionDenied(address),
            _ => Self::Address { address, reason },
        }
    }
}

/// A bound socket. Connections wait in it until it is [served](Self::serve).
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    tls: Option<Tls>,
}

#[derive(Debug)]
enum Socket {
    Network(TcpListener, SocketAddr),
    Local {
        socket: UnixListener,
        /// Held to be dropped with the socket.
        _file: RemovedWithIt,
    },
}

/// A socket's file, removed when its listener ends.
#[derive(Debug)]
struct RemovedWithIt(PathBuf);

impl Drop for RemovedWithIt {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

enum Stream {
    Network(TcpStream),
    Local(UnixStream),
}

impl Listener {
    /// Binds an address; port 0 for any free one. Speaks HTTPS if there is `tls`,
    /// HTTP/1.1 and HTTP/2 in both cases.
    ///
    /// # Errors
    /// [`BindError`].
    pub async fn bind(address: SocketAddr, tls: Option<Tls>) -> Result<Self, BindError> {
        let socket = TcpListener::bind(address)
            .await
            .map_err(|reason| BindError::of(address, reason))?;
        let bound = socket
            .local_addr()
            .map_err(|reason| BindError::of(address, reason))?;
        Ok(Self {
            socket: Socket::Network(socket, bound),
            tls,
        })
    }

    /// Takes a socket that is bound already and listens, as a service manager hands it over.
    ///
    /// # Errors
    /// [`BindError::Address`] if the system refuses.
    pub fn adopt(socket: std::net::TcpListener, tls: Option<Tls>) -> Result<Self, BindError> {
        let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
        let bound = socket
            .local_addr()
            .map_err(|reason| BindError::of(unknown, reason))?;
        let socket = socket
            .set_nonblocking(true)
            .and_then(|()| TcpListener::from_std(socket))
            .map_err(|reason| BindError::of(bound, reason))?;
        Ok(Self {
            socket: Socket::Network(socket, bound),
            tls,
        })
    }

    /// Makes the administration socket at `path`, which only this system user may
    /// open, in place of a file that is there. The caller makes sure that no other
    /// server runs on the folder. The file is removed at the end.
    ///
    /// # Errors
    /// [`BindError::Socket`].
    pub fn bind_local(path: &Path) -> Result<Self, BindError> {
        let failed = |reason| BindError::Socket {
            path: path.to_owned(),
            reason,
        };
        // Under its name it is never there with other permissions.
        let unfinished = path.with_extension("new");
        let _ = fs::remove_file(&unfinished);
        let socket = UnixListener::bind(&unfinished).map_err(failed)?;
        fs::set_permissions(&unfinished, fs::Permissions::from_mode(0o600)).map_err(failed)?;
        fs::rename(&unfinished, path).map_err(failed)?;
        Ok(Self {
            socket: Socket::Local {
                socket,
                _file: RemovedWithIt(path.to_owned()),
            },
            tls: None,
        })
    }

    /// The bound address with its real port; none for the administration socket.
    pub fn address(&self) -> Option<SocketAddr> {
        match &self.socket {
            Socket::Network(_, address) => Some(*address),
            Socket::Local { .. } => None,
        }
    }

    /// Answers what comes with `front`, as a task, until the server stops. Then
    /// it accepts nothing more, lets running requests end within 20 seconds, and
    /// closes the rest.
    pub fn serve(self, front: Front, tasks: &Tasks) {
        tasks.spawn("listener", |stop| self.run(front, stop));
    }

    async fn run(self, front: Front, stop: Stop) {
        let by_address = ByAddress::default();
        let mut running = JoinSet::new();
        let mut places = Places::of(&self.socket, &front);
        loop {
            let most = front.parts().limits.options().max_connections.max(1);
            let has_room = (running.len() as u64) < most;
            tokio::select! {
                biased;
                () = stop.stopped() => break,
                Some(_) = running.join_next() => {}
                () = places.next(), if !places.has_one() => {}
                accepted = self.socket.accept(), if has_room && places.has_one() => match accepted {
                    Ok((stream, peer)) => {
                        if let Some(held) = admit(peer, &front, &by_address) {
                            let (tls, front, stop) = (self.tls.clone(), front.clone(), stop.clone());
                            let held = (held, places.take());
                            running.spawn(connection(stream, tls, peer, front, stop, held));
                        }
                    }
                    Err(error) => {
                        log::warn!("a connection cannot be accepted: {error}");
                        sleep(ACCEPT_REST).await;
                    }
                },
            }
        }
        // No new connections: the port is free from here on.
        drop(self);
        let ended = timeout(STOP_GRACE, async {
            while running.join_next().await.is_some() {}
        });
        if ended.await.is_err() {
            log::warn!("{} connections were cut off by the stop", running.len());
            running.shutdown().await;
        }
    }
}

impl Socket {
    async fn accept(&self) -> io::Result<(Stream, Peer)> {
        match self {
            Self::Network(socket, _) => {
                let (stream, address) = socket.accept().await?;
                // Answers are written whole: waiting to fill packets only delays.
                let _ = stream.set_nodelay(true);
                let peer = Peer {
                    address: address.ip().to_canonical(),
                    is_local: false,
                };
                Ok((Stream::Network(stream), peer))
            }
            Self::Local { socket, .. } => {
                let (stream, _) = socket.accept().await?;
                let peer = Peer {
                    address: IpAddr::V4(Ipv4Addr::LOCALHOST),
                    is_local: true,
                };
                Ok((Stream::Local(stream), peer))
            }
        }
    }
}

/// Where a listener finds a place for its next connection among those of all listeners.
struct Places {
    /// None for the administration socket.
    shared: Option<Arc<Semaphore>>,
    next: Option<OwnedSemaphorePermit>,
    warned: Option<Instant>,
}

impl Places {
    fn of(socket: &Socket, front: &Front) -> Self {
        let is_local = matches!(socket, Socket::Local { .. });
        Self {
            shared: (!is_local).then(|| front.parts().places.clone()),
            next: None,
            warned: None,
        }
    }

    fn has_one(&self) -> bool {
        self.shared.is_none() || self.next.is_some()
    }

    /// Waits until there is one.
    async fn next(&mut self) {
        let Some(shared) = &self.shared else {
            return;
        };
        if shared.available_permits() == 0 && self.warned.is_none_or(|at| at.elapsed() > WARN_AGAIN)
        {
            log::warn!(
                "no connection is accepted until another one ends: the limit of open files (LimitNOFILE= of the unit) allows no more"
            );
            self.warned = Some(Instant::now());
        }
        self.next = shared.clone().acquire_owned().await.ok();
    }

    fn take(&mut self) -> Option<OwnedSemaphorePermit> {
        self.next.take()
    }
}

/// Counts a connection for its address; none if that has too many. A proxy
/// stands for many clients, and this machine for its proxy.
fn admit(peer: Peer, front: &Front, by_address: &ByAddress) -> Option<Held> {
    let parts = front.parts();
    let is_exempt = peer.address.is_loopback()
        || parts
            .trusted_proxies
            .iter()
            .any(|network| network.contains(peer.address));
    let most = match is_exempt {
        true => u64::MAX,
        false => parts.limits.options().max_connections_per_address,
    };
    let held = by_address.take(peer.address, most);
    if held.is_none() {
        parts.measures.refused_connections.inc();
    }
    held
}

async fn connection(
    stream: Stream,
    tls: Option<Tls>,
    peer: Peer,
    front: Front,
    stop: Stop,
    _held: (Held, Option<OwnedSemaphorePermit>),
) {
    let _open = Open::new(&front);
    match (stream, tls) {
        (Stream::Local(stream), _) => connections::serve(stream, peer, front, stop).await,
        (Stream::Network(stream), None) => connections::serve(stream, peer, front, stop).await,
        (Stream::Network(stream), Some(tls)) => {
            let shaken = tokio::select! {
                shaken = tls.accept(stream) => shaken,
                () = stop.stopped() => return,
            };
            match shaken {
                Ok(stream) => connections::serve(stream, peer, front, stop).await,
                Err(error) => log::debug!(address:% = peer.address; "no TLS handshake: {error}"),
            }
        }
    }
}

/// An open connection, in the gauge.
struct Open(prometheus::IntGauge);

impl Open {
    fn new(front: &Front) -> Self {
        let gauge = front.parts().measures.connections.clone();
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}
