//! Connections: to an address that was checked, with TLS where the URL says so.

use std::{
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use hickory_resolver::TokioResolver;
use http::Uri;
use hyper::rt::ReadBufCursor;
use hyper_util::{
    client::legacy::connect::{Connected, Connection},
    rt::TokioIo,
};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;
use tower_service::Service;

use crate::{OutgoingError, reach::Reach};

/// How long one address may take to answer.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// The most addresses of one name that are tried.
const MAX_ADDRESSES: usize = 4;

/// Makes the connections of the client.
#[derive(Clone)]
pub(crate) struct Connector {
    pub(crate) reach: Arc<Reach>,
    /// None if the system names no server to ask for names.
    pub(crate) resolver: Option<Arc<TokioResolver>>,
    pub(crate) tls: TlsConnector,
}

impl Connector {
    pub(crate) fn new(reach: Reach, tls: ClientConfig) -> Self {
        let resolver = TokioResolver::builder_tokio().and_then(|builder| builder.build());
        if let Err(error) = &resolver {
            log::warn!("names of other servers cannot be resolved: {error}");
        }
        Self {
            reach: Arc::new(reach),
            resolver: resolver.ok().map(Arc::new),
            tls: TlsConnector::from(Arc::new(tls)),
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
        let host = uri.host().ok_or(OutgoingError::Url)?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let is_tls = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let stream = self.open(host, port, is_tls).await?;
        if !is_tls {
            return Ok(Link(TokioIo::new(Box::new(stream))));
        }
        let name = ServerName::try_from(host.to_owned()).map_err(|_| OutgoingError::Url)?;
        let shaken = timeout(HANDSHAKE, self.tls.connect(name, stream)).await;
        let stream = shaken
            .map_err(|_| OutgoingError::Timeout)?
            .map_err(connection)?;
        Ok(Link(TokioIo::new(Box::new(stream))))
    }

    /// Opens a connection to the first address of a host that answers, of those that
    /// may be reached.
    async fn open(&self, host: &str, port: u16, is_tls: bool) -> Result<TcpStream, OutgoingError> {
        let mut last = OutgoingError::Name("it has no address".to_owned());
        for address in self.addresses(host).await?.into_iter().take(MAX_ADDRESSES) {
            if !self.reach.allows(address) {
                last = OutgoingError::Address(address);
                continue;
            }
            if !is_tls && !self.reach.is_listed(address) {
                last = OutgoingError::PlainHttp;
                continue;
            }
            let address = SocketAddr::new(address.to_canonical(), port);
            match timeout(CONNECT, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    // Whole requests are written at once: waiting for more helps nobody.
                    stream.set_nodelay(true).map_err(connection)?;
                    return Ok(stream);
                }
                Ok(Err(error)) => last = connection(error),
                Err(_) => last = OutgoingError::Timeout,
            }
        }
        Err(last)
    }

    async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, OutgoingError> {
        if let Ok(address) = host.parse() {
            return Ok(vec![address]);
        }
        let resolver = self
            .resolver
            .as_ref()
            .ok_or_else(|| OutgoingError::Name("this system has no name server".to_owned()))?;
        let found = resolver
            .lookup_ip(host)
            .await
            .map_err(|error| OutgoingError::Name(error.to_string()))?;
        Ok(found.iter().collect())
    }
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
pub(crate) struct Link(TokioIo<Box<dyn Wire>>);

impl Connection for Link {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl hyper::rt::Read for Link {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        hyper::rt::Read::poll_read(Pin::new(&mut self.0), context, buffer)
    }
}

impl hyper::rt::Write for Link {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        hyper::rt::Write::poll_write(Pin::new(&mut self.0), context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        hyper::rt::Write::poll_flush(Pin::new(&mut self.0), context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        hyper::rt::Write::poll_shutdown(Pin::new(&mut self.0), context)
    }
}
