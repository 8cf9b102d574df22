//! Connections: to an address that was checked, with TLS where the URL says so.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper::rt::ReadBufCursor;
use hyper_util::{
    client::legacy::connect::{Connected, Connection},
    rt::TokioIo,
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tokio_rustls::TlsConnector;
use tower_service::Service;

use crate::{OutgoingError, client::client_config, names::Names, reach::Reach};

/// How long one address may take to answer.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// The most addresses of one name that are tried.
const MAX_ADDRESSES: usize = 4;
/// The most targets of one route that are tried.
const MAX_TARGETS: usize = 8;

/// Where a request goes, past the host of its URL, which then only says what is asked
/// for. Such connections speak HTTP/2 where the other side offers it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Route {
    /// Hosts, names or addresses, with their ports, in the order in which they are tried.
    pub targets: Vec<(String, u16)>,
    /// Whom the certificate must be for: a name or an address.
    pub tls_name: String,
    /// The authorities of which one must have signed it, as PEM; those that are trusted
    /// everywhere, if this is none.
    pub authorities: Option<Arc<str>>,
}

/// The address at which a server was reached.
#[derive(Clone, Copy)]
pub(crate) struct Reached(pub(crate) SocketAddr);

/// A connection and its place among those that may be open.
type Opened = (TcpStream, OwnedSemaphorePermit);

/// Makes the connections of the client.
#[derive(Clone)]
pub(crate) struct Connector {
    pub(crate) reach: Arc<Reach>,
    pub(crate) names: Arc<Names>,
    /// One for each connection that may be open.
    places: Arc<Semaphore>,
    tls: TlsConnector,
    /// Offers HTTP/2 too.
    tls_of_routes: TlsConnector,
    route: Option<Arc<Route>>,
    /// Whether public addresses may be asked without TLS.
    allows_plain: bool,
}

impl Connector {
    /// `most` connections may be open at once; whoever wants one more waits.
    pub(crate) fn new(reach: Reach, names: Names, tls: ClientConfig, most: usize) -> Self {
        Self {
            reach: Arc::new(reach),
            names: Arc::new(names),
            places: Arc::new(Semaphore::new(most)),
            tls_of_routes: of_routes(tls.clone()),
            tls: TlsConnector::from(Arc::new(tls)),
            route: None,
            allows_plain: false,
        }
    }

    /// The same for connections that go where `route` says.
    pub(crate) fn along(&self, route: Route) -> Self {
        Self {
            route: Some(Arc::new(route)),
            ..self.clone()
        }
    }

    /// The same that also makes connections without TLS to public addresses.
    pub(crate) fn without_tls(&self) -> Self {
        Self {
            allows_plain: true,
            ..self.clone()
        }
    }

    /// The same for addresses that stand in the configuration.
    pub(crate) fn to_everywhere(&self) -> Self {
        Self {
            reach: Arc::new(Reach::everywhere()),
            ..self.clone()
        }
    }

    async fn connect(&self, uri: &Uri) -> Result<Link, OutgoingError> {
        let is_tls = uri.scheme_str() == Some("https");
        if let Some(route) = &self.route {
            if !is_tls {
                return Err(OutgoingError::PlainHttp);
            }
            return self.connect_along(route).await;
        }
        let host = bare(uri.host().ok_or(OutgoingError::Url)?);
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let opened = self.open(host, port, is_tls).await?;
        if is_tls {
            return shake(&self.tls, host, opened).await;
        }
        Link::plain(opened)
    }

    /// Connects to the first target that answers as the one that it should be.
    async fn connect_along(&self, route: &Route) -> Result<Link, OutgoingError> {
        let mut last = OutgoingError::Name("it names no place".to_owned());
        let tls = match &route.authorities {
            Some(pem) => trusting(pem).map_err(connection)?,
            None => self.tls_of_routes.clone(),
        };
        for (host, port) in route.targets.iter().take(MAX_TARGETS) {
            let opened = self.open(bare(host), *port, true).await;
            let shaken = match opened {
                Ok(opened) => shake(&tls, &route.tls_name, opened).await,
                Err(error) => Err(error),
            };
            match shaken {
                Ok(link) => return Ok(link),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Opens a connection to the first address of a host that answers, of those that
    /// may be reached.
    async fn open(&self, host: &str, port: u16, is_tls: bool) -> Result<Opened, OutgoingError> {
        let mut last = OutgoingError::Name("it has no address".to_owned());
        let addresses = self.names.addresses(host).await?;
        let place = self.places.clone().acquire_owned().await;
        let place = place.map_err(|error| connection(io::Error::other(error)))?;
        for address in addresses.into_iter().take(MAX_ADDRESSES) {
            if !self.reach.allows(address) {
                last = OutgoingError::Address(address);
                continue;
            }
            if !is_tls && !self.allows_plain && !self.reach.is_listed(address) {
                last = OutgoingError::PlainHttp;
                continue;
            }
            let address = SocketAddr::new(address.to_canonical(), port);
            match timeout(CONNECT, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    // Whole requests are written at once: waiting for more helps nobody.
                    stream.set_nodelay(true).map_err(connection)?;
                    return Ok((stream, place));
                }
                Ok(Err(error)) => last = connection(error),
                Err(_) => last = OutgoingError::Timeout,
            }
        }
        Err(last)
    }
}

/// Offers HTTP/2 too.
fn of_routes(mut tls: ClientConfig) -> TlsConnector {
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    TlsConnector::from(Arc::new(tls))
}

/// Whether a text has certificates of authorities, in PEM, and all of them can be used.
pub fn are_authorities(pem: &str) -> bool {
    authorities(pem).is_ok()
}

fn authorities(pem: &str) -> io::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(io::Error::other)?;
        roots.add(certificate).map_err(io::Error::other)?;
    }
    if roots.is_empty() {
        return Err(io::Error::other("there is no certificate authority"));
    }
    Ok(roots)
}

/// Trusts these authorities, in PEM, alone.
fn trusting(pem: &str) -> io::Result<TlsConnector> {
    let tls = client_config(authorities(pem)?).map_err(io::Error::other)?;
    Ok(of_routes(tls))
}

/// A host without the brackets of an IPv6 address.
fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

/// Begins TLS with somebody whose certificate must be for `name`.
async fn shake(tls: &TlsConnector, name: &str, opened: Opened) -> Result<Link, OutgoingError> {
    let (stream, place) = opened;
    let address = stream.peer_addr().map_err(connection)?;
    let name = ServerName::try_from(bare(name).to_owned()).map_err(|_| OutgoingError::Url)?;
    let shaken = timeout(HANDSHAKE, tls.connect(name, stream)).await;
    let stream = shaken
        .map_err(|_| OutgoingError::Timeout)?
        .map_err(connection)?;
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    Ok(Link {
        stream: TokioIo::new(Box::new(stream)),
        reached: Reached(address),
        is_http2,
        _place: place,
    })
}

fn connection(error: io::Error) -> OutgoingError {
    OutgoingError::Connection(Arc::new(error))
}

impl Service<Uri> for Connector {
    type Response = Link;
    type Error = OutgoingError;
    type Future = Pin<Box<dyn Future<Output = Result<Link, OutgoingError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), OutgoingError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move { connector.connect(&uri).await })
    }
}

trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// A connection, with TLS or without.
pub(crate) struct Link {
    stream: TokioIo<Box<dyn Wire>>,
    reached: Reached,
    is_http2: bool,
    _place: OwnedSemaphorePermit,
}

impl Link {
    fn plain((stream, place): Opened) -> Result<Self, OutgoingError> {
        let reached = Reached(stream.peer_addr().map_err(connection)?);
        Ok(Self {
            stream: TokioIo::new(Box::new(stream)),
            reached,
            is_http2: false,
            _place: place,
        })
    }
}

impl Connection for Link {
    fn connected(&self) -> Connected {
        let connected = Connected::new().extra(self.reached);
        if self.is_http2 {
            connected.negotiated_h2()
        } else {
            connected
        }
    }
}

impl hyper::rt::Read for Link {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        hyper::rt::Read::poll_read(Pin::new(&mut self.stream), context, buffer)
    }
}

impl hyper::rt::Write for Link {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        hyper::rt::Write::poll_write(Pin::new(&mut self.stream), context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        hyper::rt::Write::poll_flush(Pin::new(&mut self.stream), context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        hyper::rt::Write::poll_shutdown(Pin::new(&mut self.stream), context)
    }
}
