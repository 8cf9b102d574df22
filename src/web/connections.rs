//! One connection: its requests, its silences and its end.

use std::{
    collections::HashMap,
    convert::Infallible,
    net::IpAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use http::Request;
use hyper::{
    body::{Frame, Incoming, SizeHint},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use parking_lot::Mutex;
use runtime::Stop;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, sleep_until},
};

use crate::{Front, Peer, limits::network_of, stream::Impatient};

/// How long a new connection may be silent before its first request is there.
const FIRST_REQUEST: Duration = Duration::from_secs(20);
/// How long a connection may be silent between requests.
const SILENCE: Duration = Duration::from_secs(90);
/// How long the head of a request may take; HTTP/1 counts the silence before it.
const HEAD: Duration = Duration::from_secs(90);
/// How long a connection without requests that was asked to close may take for it.
const FAREWELL: Duration = Duration::from_secs(5);
/// The longest head of a request, in bytes.
const HEAD_BYTES: u32 = 64 * 1_024;
/// The most requests at the same time on one HTTP/2 connection.
const STREAMS: u32 = 128;
/// How often a silent HTTP/2 client is asked whether it is still there.
const PING: Duration = Duration::from_secs(60);

/// Serves one connection until it ends: by the client, by silence, or, after the
/// requests that run, by the server's stop.
pub(crate) async fn serve<S>(stream: S, peer: Peer, front: Front, stop: Stop)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let activity = Activity::default();
    let service = {
        let activity = activity.clone();
        service_fn(move |request: Request<Incoming>| {
            let busy = activity.begin();
            let front = front.clone();
            async move {
                let response = front.answer(request, peer).await;
                let response = response.map(|body| Body::new(Busily { body, _busy: busy }));
                Ok::<_, Infallible>(response)
            }
        })
    };
    let builder = builder();
    let io = TokioIo::new(Impatient::new(stream));
    let mut connection = pin!(builder.serve_connection(io, service));
    let mut closing: Option<Instant> = None;
    loop {
        let deadline = closing.unwrap_or_else(|| activity.deadline());
        tokio::select! {
            // How it ended is the client's affair: resets are daily bread.
            _ = connection.as_mut() => return,
            () = stop.stopped(), if closing.is_none() => {
                connection.as_mut().graceful_shutdown();
                closing = Some(Instant::now() + FAREWELL);
            }
            () = sleep_until(deadline) => match closing {
                Some(_) if activity.is_idle() => return,
                // Requests still run: the listener's stop ends the wait for them.
                Some(_) => closing = Some(Instant::now() + FAREWELL),
                None if activity.is_overdue() => {
                    connection.as_mut().graceful_shutdown();
                    closing = Some(Instant::now() + FAREWELL);
                }
                None => {}
            },
        }
    }
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_BYTES as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEAD_BYTES)
        .keep_alive_interval(PING)
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}

/// Whether requests run on a connection, and since when none does.
#[derive(Clone)]
struct Activity(Arc<Mutex<State>>);

struct State {
    running: usize,
    /// When the silence is over-long, if it goes on.
    deadline: Instant,
}

impl Default for Activity {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(State {
            running: 0,
            deadline: Instant::now() + FIRST_REQUEST,
        })))
    }
}

impl Activity {
    fn begin(&self) -> Busy {
        self.0.lock().running += 1;
        Busy(self.clone())
    }

    /// When to look whether the connection is overdue.
    fn deadline(&self) -> Instant {
        let state = self.0.lock();
        if state.running > 0 {
            Instant::now() + SILENCE
        } else {
            state.deadline
        }
    }

    fn is_idle(&self) -> bool {
        self.0.lock().running == 0
    }

    fn is_overdue(&self) -> bool {
        let state = self.0.lock();
        state.running == 0 && state.deadline <= Instant::now()
    }
}

/// A request that runs; dropped when its answer has been sent.
struct Busy(Activity);

impl Drop for Busy {
    fn drop(&mut self) {
        let mut state = self.0.0.lock();
        state.running -= 1;
        state.deadline = Instant::now() + SILENCE;
    }
}

/// The body of an answer; its connection is busy until it is sent.
struct Busily {
    body: Body,
    _busy: Busy,
}

impl HttpBody for Busily {
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

/// How many connections each address holds.
#[derive(Clone, Default)]
pub(crate) struct ByAddress(Arc<Mutex<HashMap<IpAddr, u64>>>);

impl ByAddress {
    /// Counts a connection of `address`; none if it, or the network that a client of IPv6
    /// has for itself, has `most` already.
    pub(crate) fn take(&self, address: IpAddr, most: u64) -> Option<Held> {
        let address = network_of(address);
        let mut held = self.0.lock();
        let count = held.entry(address).or_default();
        if *count >= most.max(1) {
            return None;
        }
        *count += 1;
        Some(Held {
            by_address: self.clone(),
            address,
        })
    }
}

/// A counted connection.
pub(crate) struct Held {
    by_address: ByAddress,
    address: IpAddr,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut held = self.by_address.0.lock();
        if let Some(count) = held.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_holds_only_so_many_connections() {
        let by_address = ByAddress::default();
        let (here, there) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let first = by_address.take(here, 2);
        let second = by_address.take(here, 2);
        assert!(first.is_some() && second.is_some());
        assert!(by_address.take(here, 2).is_none());
        assert!(by_address.take(there, 2).is_some());
        drop(first);
        assert!(by_address.take(here, 2).is_some());
        drop(second);
        // Of another network, and twice of one.
        let addresses = ["2001:db8:0:1::1", "2001:db8::1", "2001:db8::2"];
        let held = addresses.map(|address| by_address.take(address.parse().unwrap(), 1));
        assert!(held[0].is_some() && held[1].is_some() && held[2].is_none());
        drop(held);
        assert!(by_address.0.lock().is_empty());
    }
}
