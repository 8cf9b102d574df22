//! What happens to every request, whatever it asks for.

use std::{
    convert::Infallible,
    future::Future,
    net::IpAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use axum::{
    Router,
    body::{Body, HttpBody},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request};
use hyper::body::{Frame, SizeHint};
use log::Level;
use runtime::{Clock, Network, Random, Tasks};
use tokio::{sync::Semaphore, time::Instant};
use tower::{BoxError, ServiceExt as _};

use crate::{
    ApiError, Limits, Measures, cors,
    errors::{Detail, Exhausted},
    exchange::Exchange,
    logged,
    measures::InFlight,
    proxies,
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What a [`Front`] is made of.
pub struct FrontParts {
    /// What is served, of one door or of several.
    pub router: Router,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Network>,
    /// Shared by all listeners.
    pub limits: Limits,
    /// Shared by all listeners.
    pub measures: Measures,
    /// One for each connection that may be open, shared by all listeners. The administration
    /// socket needs none: whoever looks after a crowd gets in.
    pub places: Arc<Semaphore>,
    /// Whom people tell when the server's resources are exhausted: an address of any kind.
    pub contact: Arc<str>,
    /// The server's secret: the log tells people apart by hashes that nobody can make without.
    pub secret: [u8; 32],
    /// Runs what a request changes to its end.
    pub tasks: Tasks,
    /// For the time of a request.
    pub clock: Clock,
    /// For request ids that differ after a restart.
    pub random: Random,
}

/// The part of a listener that answers requests: ids, proxies, CORS, panics,
/// measures, the access log. Clones are one front.
#[derive(Clone)]
pub struct Front(Arc<Inner>);

struct Inner {
    parts: FrontParts,
    /// Begins every id; tells runs of the server apart.
    run: u32,
    next_request: AtomicU64,
}

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its address; the loopback address on the administration socket.
    pub address: IpAddr,
    /// Whether this is the administration socket.
    pub is_local: bool,
}

impl Front {
    /// A front for one listener.
    pub fn new(mut parts: FrontParts) -> Self {
        parts.router = parts
            .router
            .fallback(async || ApiError::unrecognized())
            .method_not_allowed_fallback(async || ApiError::wrong_method());
        // 32 bits are enough to tell two runs apart; a collision only confuses
        // a reader of logs.
        let run = u32::from_le_bytes(parts.random.bytes());
        Self(Arc::new(Inner {
            parts,
            run,
            next_request: AtomicU64::new(1),
        }))
    }

    pub(crate) fn parts(&self) -> &FrontParts {
        &self.0.parts
    }

    /// Answers one request. Never fails and never panics.
    pub async fn answer<B>(&self, request: Request<B>, peer: Peer) -> Response
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let begun = Instant::now();
        let in_flight = self.parts().measures.begin();
        let exchange = Arc::new(self.exchange(&request, peer));
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());

        let mut response = if method == Method::OPTIONS && cors::is_open(&path) {
            cors::preflight()
        } else {
            self.route(request, &exchange).await
        };
        if let Some(exhausted) = response.extensions_mut().remove::<Exhausted>() {
            response = exhausted.into_response(&self.parts().contact);
        }
        if cors::is_open(&path) {
            cors::allow(response.headers_mut());
        }
        if let Ok(id) = HeaderValue::from_str(&exchange.id) {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        self.record(&exchange, &method, &path, &mut response, begun);
        response.map(|body| {
            Body::new(Watched {
                body,
                _in_flight: in_flight,
            })
        })
    }

    fn exchange<B>(&self, request: &Request<B>, peer: Peer) -> Exchange {
        let parts = self.parts();
        let number = self.0.next_request.fetch_add(1, Ordering::Relaxed);
        Exchange {
            id: format!("{:08x}-{number:x}", self.0.run),
            address: proxies::client_address(
                peer.address,
                request.headers(),
                &parts.trusted_proxies,
            ),
            is_local: peer.is_local,
            received: parts.clock.now(),
            limits: parts.limits.clone(),
            tasks: parts.tasks.clone(),
            endpoint: OnceLock::new(),
            user_id: OnceLock::new(),
            is_verified: OnceLock::new(),
            claim: OnceLock::new(),
        }
    }

    async fn route<B>(&self, mut request: Request<B>, exchange: &Arc<Exchange>) -> Response
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        request.extensions_mut().insert(exchange.clone());
        let answering = self.parts().router.clone().oneshot(request);
        match CatchPanic(Box::pin(answering)).await {
            Ok(Ok(response)) => response,
            Ok(Err(never)) => match never {},
            Err(Panicked) => ApiError::internal("the handler panicked").into_response(),
        }
    }

    /// Measures and logs. Paths are logged without their query, which may hold an
    /// access token, and without what else is secret in them.
    fn record(
        &self,
        exchange: &Exchange,
        method: &Method,
        path: &str,
        response: &mut Response,
        begun: Instant,
    ) {
        let status = response.status().as_u16();
        let seconds = begun.elapsed().as_secs_f64();
        let endpoint = exchange.endpoint.get().copied().unwrap_or("unknown");
        self.parts()
            .measures
            .answered(endpoint, method_label(method), status, seconds);
        let id = exchange.id.as_str();
        let user = exchange.user_id.get().map(|user_id| user_id.as_str());
        let hash =
            || user.map_or_else(String::new, |user| logged::hash(&self.parts().secret, user));
        let room = || logged::room(path).unwrap_or_default();
        if let Some(Detail(detail)) = response.extensions_mut().remove::<Detail>() {
            // 503 is overload and passes; 500 is somebody's mistake.
            let level = if status == 503 {
                Level::Warn
            } else {
                Level::Error
            };
            log::log!(
                level,
                request_id = id, user_hash = hash(), room = room();
                "{method} {endpoint} failed with {status}: {detail}"
            );
        }
        log::debug!(
            request_id = id,
            address:% = exchange.address,
            user = user.unwrap_or_default(),
            user_hash = hash(),
            room = room(),
            server = exchange.claim.get().map_or("", |(_, claim)| claim.origin().as_str());
            "{method} {} {status} in {:.1} ms", logged::path(path), seconds * 1_000.0
        );
    }
}

/// A method as a label: one of a fixed set, whatever clients invent.
fn method_label(method: &Method) -> &str {
    match *method {
        Method::GET
        | Method::PUT
        | Method::POST
        | Method::DELETE
        | Method::HEAD
        | Method::OPTIONS => method.as_str(),
        _ => "other",
    }
}

/// A response's body; its request is in flight until it is sent or given up.
struct Watched {
    body: Body,
    _in_flight: InFlight,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

struct Panicked;

/// A future whose panic is a value: one broken handler must not end the
/// connection, on which other requests may run. (The panic itself is logged by
/// the process' hook.)
struct CatchPanic<F>(Pin<Box<F>>);

impl<T, F: Future<Output = Result<T, Infallible>>> Future for CatchPanic<F> {
    type Output = Result<Result<T, Infallible>, Panicked>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // Nothing of the future is looked at again after a panic.
        let poll = AssertUnwindSafe(|| self.0.as_mut().poll(context));
        match catch_unwind(poll) {
            Ok(poll) => poll.map(Ok),
            Err(_) => Poll::Ready(Err(Panicked)),
        }
    }
}
