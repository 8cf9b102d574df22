//! What every door of the server shares: listeners, TLS, callers, typed requests
//! and answers, CORS, proxies, Matrix error bodies, limits.
//!
//! Floor: web. It stands on the domain, which it asks who is calling and whose
//! errors it turns into statuses and error codes. The doors above (`client_api`,
//! `admin_api`) bring handlers and tables of routes; no handler lives here.
//!
//! The way of a request: a [`Listener`] accepts a connection and hands each
//! request to its [`Front`], which gives it an id, finds the client's address,
//! answers CORS preflights and measures. The router behind it, made by
//! [`Routes`], finds the handler; the handler's arguments say who is calling
//! ([`User`], [`Admin`], [`Appservice`], [`Server`], [`Anonymous`], [`Operator`]) and what is asked (a typed
//! request). Its error is an [`ApiError`], whose status and code are decided in
//! `refusals.rs` and nowhere else.
//!
//! What must never happen here: a decision about who may see what, a wait
//! without a limit, content or tokens in the log. Paths that hold a token are logged
//! by their template alone.

mod answers;
mod callers;
mod conditions;
mod connections;
mod cors;
mod errors;
mod exchange;
mod file_form;
mod files;
mod front;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod guests;
mod health;
mod json;
mod limits;
mod listener;
mod logged;
mod measures;
mod multipart;
mod options;
mod plain;
mod proxies;
mod refusals;
mod requests;
mod routes;
#[cfg(test)]
#[path = "../../tests/fuzz/seeds.rs"]
mod seeds;
mod stream;
mod sync_slots;
mod tls;

#[cfg(test)]
mod tests;

pub use answers::{Answer, Pieces, RawJson, Reply, Whole};
pub use axum::extract::State as Part;
pub use callers::{
    Admin, Anonymous, Anyone, Appservice, LockedOrNot, Newcomer, Operator, Server, User,
};
pub use conditions::Conditions;
pub use errors::ApiError;
pub use exchange::Origin;
pub use file_form::FileForm;
pub use files::{FileAnswer, SentFile, Upload};
pub use front::{Front, FrontParts, Peer};
pub use health::{Health, health_routes};
pub use limits::{LimitExceeded, Limits, SignInAttempt};
pub use listener::{BindError, Listener};
pub use measures::{Measures, metrics_routes};
pub use multipart::MultipartFile;
pub use options::{LimitsOptions, ListenerOptions, Serves, TlsFiles};
pub use plain::{FormBody, JsonBody, PathOf, QueryOf, TextBody};
pub use requests::{Asked, Interactive, Received, Tried, WithBody, Wrong};
pub use routes::{Call, Endpoint, Routes, Serving};
pub use sync_slots::SyncSlot;
pub use tls::{Tls, TlsError};
