//! What a room's event graph is made of, for room versions 1 to 12 and the two of MSC3757: canonical JSON, hashes, signatures, event ids, redaction, power levels,
//! authorisation rules and state resolution.
//!
//! Place in the order: a pure floor. Only `ruma-common`, `ruma-events`, `ruma-signatures` and `ruma-state-res` lie below. Nothing here reads a
//! file, a socket, a clock or a random generator: whatever is needed of the outside (a seed, a time, the state of a room) is an argument.
//!
//! The way of a new event is [`Draft`] → [`authorisation_keys`] → [`build`] → [`authorise`]. [`Event`] is the only form in which an event leaves this
//! crate. Its fields are private and its constructors are few, so whoever holds one knows that its JSON is canonical, within the limits, and
//! agrees with its header. Bytes of another server become an [`Event`] by way of [`Unchecked`] only, which verifies them;
//! [`Event::from_stored`] is for this server's own database alone.
//!
//! The way of another server's event is [`Unchecked::read`] → [`Unchecked::check`] → [`authorise_by_auth_events`] → [`authorise_by_state`], and
//! where forks meet [`resolve`] says what the state is.
//!
//! Memberships that two servers make together begin as a [`template`], become an event by [`propose`] and get a second signature from
//! [`countersign`].

mod auth;
mod canonical;
mod draft;
mod event;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod handshake;
mod json;
mod owned;
mod power;
mod reason;
mod received;
mod redaction;
mod resolution;
mod signing;
mod verifying;
mod version;
mod vouching;

#[cfg(test)]
#[path = "../../tests/fuzz/seeds.rs"]
mod seeds;

pub use self::{
    auth::{
        AuthEventsError, AuthState, authorisation_keys, authorise, authorise_by_auth_events,
        authorise_by_state, authorise_with, state_keys,
    },
    canonical::{MAX_JSON_DEPTH, canonical, canonical_text},
    draft::{
        Draft, MAX_AUTH_EVENTS, MAX_EVENT_BYTES, MAX_KEY_BYTES, MAX_PREV_EVENTS, Parents, build,
    },
    event::Event,
    handshake::{Template, countersign, propose, template},
    power::{PowerLevel, PowerLevels},
    reason::Reason,
    received::{
        MAX_RECEIVED_BYTES, Received, RequiredSignature, SignatureError, Unchecked, VerifyKey,
    },
    redaction::{may_redact, redact, redaction_applies},
    resolution::{
        Conflict, Link, MAX_FORKS, ResolutionError, Resolved, RoomGraph, generation, resolve,
    },
    signing::{SigningKey, verify_json},
    verifying::verify_bytes,
    version::{StateResolution, Version},
};
