//! Tables of routes: which handler answers which endpoint.

use std::{future::Future, pin::Pin, sync::Arc};

use axum::{
    Router,
    extract::{FromRequestParts, Request},
    handler::Handler,
    response::{IntoResponse as _, Response},
    routing::{MethodFilter, MethodRouter},
};
use http::{Method, request::Parts};
use ruma_common::api::{IncomingRequest, Metadata, path_builder::PathBuilder as _};
use tokio::sync::oneshot;

use crate::{
    Answer, ApiError, Reply,
    exchange::Exchange,
    requests::{self, Asked, Takes, Untyped},
};

/// The handlers of a door, over the parts `S` that they need.
///
/// ```ignore
/// pub fn routes() -> Routes<Parts> {
///     Routes::new().on(whoami).on(set_typing)
/// }
/// ```
pub struct Routes<S>(Router<S>);

/// How an endpoint differs from most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Serving {
    /// Also serve the paths with `/unstable/` that came before the stable ones.
    pub unstable: bool,
    /// It waits for news and changes nothing: when the client goes away, the
    /// handler ends at once, although its method is not `GET`.
    pub waiting: bool,
}

impl<S: Clone + Send + Sync + 'static> Routes<S> {
    /// No routes yet.
    pub fn new() -> Self {
        Self(Router::new())
    }

    /// Answers an endpoint with `handler`, under every stable path it ever had.
    /// Method and paths come from the type of the handler's last argument.
    ///
    /// Panics if another handler has one of these paths with this method: tables
    /// of routes are constant, so any start finds it.
    #[must_use]
    pub fn on<E, Args>(self, handler: E) -> Self
    where
        E: Endpoint<Args, S>,
    {
        self.on_with(handler, Serving::default())
    }

    /// Like [`on`](Self::on), for an endpoint that differs from most.
    #[must_use]
    pub fn on_with<E, Args>(mut self, handler: E, serving: Serving) -> Self
    where
        E: Endpoint<Args, S>,
    {
        let method = <E::Request as Metadata>::METHOD;
        let call = Call {
            takes: Takes::by(&method),
            is_shielded: !serving.waiting && method != Method::GET,
        };
        let answer = Erased::new(move |request, state| handler.clone().call(request, state, call));
        for path in paths::<E::Request>(serving.unstable) {
            for pattern in patterns(path) {
                self = self.at(&pattern, &method, answer.clone().named(path));
            }
        }
        self
    }

    /// Answers a path that ruma does not know with a handler of axum, whose
    /// extractors should be those of this crate ([`crate::JsonBody`],
    /// [`crate::QueryOf`], [`crate::PathOf`]): their errors are Matrix errors.
    /// `path` is written as axum does, `/_cairn/admin/v1/users/{user_id}`.
    #[must_use]
    pub fn plain<H, T>(self, method: Method, path: &'static str, handler: H) -> Self
    where
        H: Handler<T, S>,
        T: 'static,
    {
        let answer = Erased::new(move |request, state| -> Answering {
            Box::pin(handler.clone().call(request, state))
        });
        let answer = match method {
            Method::GET => answer,
            _ => answer.shielded(),
        };
        self.at(path, &method, answer.named(path))
    }

    fn at(self, pattern: &str, method: &Method, answer: Erased<S>) -> Self {
        let methods = MethodRouter::new().on(filter(method), answer);
        Self(self.0.route(pattern, methods))
    }

    /// These routes and `others`.
    #[must_use]
    pub fn merge(self, others: Self) -> Self {
        Self(self.0.merge(others.0))
    }

    /// The routes with the parts they need: for [`crate::Front`]. Routers of
    /// several doors are put together with [`Router::merge`].
    pub fn into_router(self, parts: S) -> Router {
        self.0.with_state(parts)
    }
}

impl<S: Clone + Send + Sync + 'static> Default for Routes<S> {
    fn default() -> Self {
        Self::new()
    }
}

/// What becomes a response.
type Answering = Pin<Box<dyn Future<Output = Response> + Send>>;

/// What becomes a response or an error.
type Replying = Pin<Box<dyn Future<Output = Reply<Response>> + Send>>;

/// A handler as axum sees it: of one type, whichever it is. Hundreds of handlers with types of
/// their own would have axum and tokio compiled hundreds of times, and be in the binary as often.
struct Erased<S>(Arc<dyn Fn(Request, S) -> Answering + Send + Sync>);

impl<S> Erased<S> {
    fn new(answer: impl Fn(Request, S) -> Answering + Send + Sync + 'static) -> Self {
        Self(Arc::new(answer))
    }
}

impl<S: 'static> Erased<S> {
    /// The same, which tells the exchange which endpoint it turned out to be.
    fn named(self, path: &'static str) -> Self {
        Self::new(move |request, state| {
            if let Some(exchange) = request.extensions().get::<Arc<Exchange>>() {
                let _ = exchange.endpoint.set(path);
            }
            (self.0)(request, state)
        })
    }

    /// The same, which runs to its end.
    fn shielded(self) -> Self {
        Self::new(move |request: Request, state| {
            let exchange = request.extensions().get::<Arc<Exchange>>().cloned();
            let answering = (self.0)(request, state);
            match exchange {
                Some(exchange) => {
                    let answering = Box::pin(async { Ok(answering.await) });
                    Box::pin(async move { shield(&exchange, answering).await.into_response() })
                }
                None => answering,
            }
        })
    }
}

impl<S> Clone for Erased<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S: Send + Sync + 'static> Handler<(), S> for Erased<S> {
    type Future = Answering;

    fn call(self, request: Request, state: S) -> Answering {
        (self.0)(request, state)
    }
}

/// How a handler is called.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    takes: Takes,
    is_shielded: bool,
}

/// A handler: an `async fn` of any extractors and, last, what is [`Asked`] (a
/// typed request of ruma), which returns a [`Reply`].
///
/// The arguments are extracted in their order, the request last: whoever is not
/// allowed to call is refused before the body is read.
pub trait Endpoint<Args, S>: Clone + Send + Sync + 'static {
    /// The request it answers.
    type Request: IncomingRequest;

    /// Reads the arguments and calls the handler.
    fn call(self, request: Request, state: S, call: Call) -> Answering;
}

/// The arguments of a handler but the last. How they are read depends on their types alone: it is
/// compiled once for all handlers that have the same.
trait Arguments<S>: Sized {
    /// Reads them, in their order; or answers the request.
    fn read(parts: &mut Parts, state: &S) -> impl Future<Output = Result<Self, Response>> + Send;
}

/// What becomes the arguments of a handler and what its request's type is made of.
type Reading<T> =
    Pin<Box<dyn Future<Output = Result<(T, Arc<Exchange>, Untyped), Response>> + Send>>;

/// What becomes a response of the handler, which runs then, or one without it.
type Beginning = Pin<Box<dyn Future<Output = Result<(Arc<Exchange>, Replying), Response>> + Send>>;

macro_rules! endpoint {
    ($($part:ident)*) => {
        impl<S, $($part,)*> Arguments<S> for ($($part,)*)
        where
            S: Send + Sync,
            $($part: FromRequestParts<S> + Send + 'static,)*
        {
            #[allow(unused_variables, reason = "one pattern for every length")]
            async fn read(parts: &mut Parts, state: &S) -> Result<Self, Response> {
                Ok(($(
                    $part::from_request_parts(parts, state)
                        .await
                        .map_err(|refusal| refusal.into_response())?,
                )*))
            }
        }

        impl<F, Handling, A, Q, S, $($part,)*> Endpoint<($($part,)* Q,), S> for F
        where
            F: Fn($($part,)* Q) -> Handling + Clone + Send + Sync + 'static,
            Handling: Future<Output = Reply<A>> + Send + 'static,
            A: Answer + 'static,
            Q: Asked,
            S: Send + Sync + 'static,
            $($part: FromRequestParts<S> + Send + 'static,)*
        {
            type Request = Q::Request;

            #[allow(non_snake_case, reason = "one pattern for every length")]
            fn call(self, request: Request, state: S, call: Call) -> Answering {
                let beginning = Box::pin(async move {
                    let reading = read::<($($part,)*), S>(request, state, call.takes, Q::IS_STREAMED);
                    let (($($part,)*), exchange, untyped) = reading.await?;
                    let request = requests::typed::<Q>(untyped, call.takes).await;
                    let request = request.map_err(|error| error.into_response())?;
                    let answering = self($($part,)* request);
                    let replying: Replying =
                        Box::pin(async { answering.await.and_then(Answer::into_answer) });
                    Ok((exchange, replying))
                });
                answer(beginning, call)
            }
        }
    };
}

endpoint!();
endpoint!(P1);
endpoint!(P1 P2);
endpoint!(P1 P2 P3);
endpoint!(P1 P2 P3 P4);
endpoint!(P1 P2 P3 P4 P5);
endpoint!(P1 P2 P3 P4 P5 P6);
endpoint!(P1 P2 P3 P4 P5 P6 P7);
endpoint!(P1 P2 P3 P4 P5 P6 P7 P8);

/// Reads all of a request but its type.
fn read<T, S>(request: Request, state: S, takes: Takes, is_streamed: bool) -> Reading<T>
where
    T: Arguments<S> + Send,
    S: Send + Sync + 'static,
{
    Box::pin(async move {
        let (mut parts, body) = request.into_parts();
        let exchange = Exchange::of(&parts).map_err(|error| error.into_response())?;
        // By `requests::receive`, below.
        let _ = exchange.is_verified.set(());
        let arguments = match T::read(&mut parts, &state).await {
            Ok(arguments) => arguments,
            Err(refusal) => {
                requests::discard(body).await;
                return Err(refusal);
            }
        };
        let untyped = requests::receive(parts, body, &exchange, takes, is_streamed).await;
        let untyped = untyped.map_err(|error| error.into_response())?;
        Ok((arguments, exchange, untyped))
    })
}

/// Makes a response of what a handler returns.
fn answer(beginning: Beginning, call: Call) -> Answering {
    Box::pin(async move {
        let (exchange, replying) = match beginning.await {
            Ok(begun) => begun,
            Err(refusal) => return refusal,
        };
        let reply = if call.is_shielded {
            shield(&exchange, replying).await
        } else {
            replying.await
        };
        reply.into_response()
    })
}

/// Runs something that changes things to its end, even if the client goes away
/// meanwhile: dropped half-way, it could leave its work half done. A stop of the
/// server waits for it.
async fn shield(exchange: &Exchange, replying: Replying) -> Reply<Response> {
    let (sender, receiver) = oneshot::channel();
    exchange.tasks.spawn("request", |_| async move {
        let _ = sender.send(replying.await);
    });
    let reply = receiver.await;
    reply.unwrap_or_else(|_| Err(ApiError::internal("the handler panicked")))
}

fn filter(method: &Method) -> MethodFilter {
    // The methods of Matrix are all known to axum.
    MethodFilter::try_from(method.clone()).unwrap_or(MethodFilter::GET)
}

/// The paths of an endpoint as ruma writes them.
fn paths<R: Metadata>(with_unstable: bool) -> Vec<&'static str> {
    R::PATH_BUILDER
        .all_paths()
        .filter(move |path| with_unstable || !path.contains("/unstable/"))
        .collect()
}

/// A path as axum's patterns. Arguments are named by their place alone: two
/// endpoints may call the same place by different names.
fn patterns(path: &str) -> Vec<String> {
    let mut place = 0;
    let segments: Vec<String> = path
        .split('/')
        .map(|segment| {
            if segment.starts_with('{') {
                place += 1;
                format!("{{p{place}}}")
            } else {
                segment.to_owned()
            }
        })
        .collect();
    let pattern = segments.join("/");
    if path.ends_with("/{state_key}") {
        // An empty state key is left out, with its slash or without.
        let without = segments[..segments.len() - 1].join("/");
        return vec![pattern, format!("{without}/"), without];
    }
    match pattern.strip_suffix('/') {
        Some(without) => vec![without.to_owned(), pattern],
        None => vec![pattern],
    }
}

#[cfg(test)]
mod tests {
    use ruma_client_api::state::get_state_event_for_key;

    use super::*;

    #[test]
    fn paths_become_patterns() {
        for (path, expected) in [
            ("/_matrix/client/v3/sync", &["/_matrix/client/v3/sync"][..]),
            ("/a/{room_id}/b/{user_id}", &["/a/{p1}/b/{p2}"]),
            ("/a/pushrules/", &["/a/pushrules", "/a/pushrules/"]),
            (
                "/a/{event_type}/{state_key}",
                &["/a/{p1}/{p2}", "/a/{p1}/", "/a/{p1}"],
            ),
        ] {
            assert_eq!(patterns(path), expected);
        }
    }

    #[test]
    fn all_stable_paths_are_served() {
        assert_eq!(
            paths::<get_state_event_for_key::v3::Request>(false),
            [
                "/_matrix/client/r0/rooms/{room_id}/state/{event_type}/{state_key}",
                "/_matrix/client/v3/rooms/{room_id}/state/{event_type}/{state_key}",
            ]
        );
    }
}
