//! Whether events are signed by those who must have signed them.

use std::collections::{BTreeMap, HashMap};

use graph::{Reason, Received, RequiredSignature, SignatureError, Unchecked, VerifyKey, Version};
use peers::Refused;
use rooms::Incoming;
use ruma_common::{OwnedServerName, ServerName};
use runtime::{Boxed, Timestamp};
use serde_json::value::RawValue;
use tokio::task::JoinSet;

use crate::Actions;

/// How many events are checked before others have a turn on the thread.
const STEP: usize = 32;
/// The most servers whose keys are asked for at the same time.
const MOST_ASKED: usize = 50;

/// Why an event of another server is not looked at any further.
#[derive(Debug, thiserror::Error)]
pub enum UnusableEvent {
    /// It is no event of its room version.
    #[error(transparent)]
    Form(#[from] Reason),
    /// Nobody vouches for it.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// This server does not speak to one that must have signed it, and has no key of it. In its
    /// room it can have its place as a rejected event ([`Incoming::unvouched`]).
    #[error("the event is of a server that this one does not speak to")]
    Denied(Box<Unchecked>),
}

/// Keys by server and id, with the greatest time for which each is wanted.
pub(super) type Wanted = BTreeMap<OwnedServerName, BTreeMap<String, u64>>;

impl Actions {
    /// Reads events of a room of this version and checks that they are signed; the keys are
    /// fetched, of all servers at the same time. The answers are in the order of the events.
    pub async fn check_events(
        &self,
        version: Version,
        events: Vec<Box<RawValue>>,
    ) -> Vec<Result<Received, UnusableEvent>> {
        let mut readable = Vec::with_capacity(events.len());
        let mut places = Vec::with_capacity(events.len());
        for (number, event) in events.into_iter().enumerate() {
            if number % STEP == STEP - 1 {
                tokio::task::yield_now().await;
            }
            match Unchecked::read(event.get().as_bytes(), version) {
                Ok(unchecked) => {
                    places.push(Ok(()));
                    readable.push(unchecked);
                }
                Err(reason) => places.push(Err(reason)),
            }
        }
        let mut checked = self.check_read(readable).await.into_iter();
        let answers = places.into_iter().filter_map(|place| match place {
            Ok(()) => checked.next(),
            Err(reason) => Some(Err(reason.into())),
        });
        answers.collect()
    }

    /// [`Actions::check_events`] of events that are read already.
    pub(crate) fn check_read(
        &self,
        events: Vec<Unchecked>,
    ) -> Boxed<'_, Vec<Result<Received, UnusableEvent>>> {
        Box::pin(self.check_each(events))
    }

    async fn check_each(&self, events: Vec<Unchecked>) -> Vec<Result<Received, UnusableEvent>> {
        self.fetch_keys(&events).await;
        let mut checked = Vec::with_capacity(events.len());
        for (number, event) in events.into_iter().enumerate() {
            if number % STEP == STEP - 1 {
                tokio::task::yield_now().await;
            }
            let keys = self.keys_of(&event).await;
            let find = |server: &ServerName, key_id: &str, _: u64| {
                let public_key = keys.get(&(server.to_owned(), key_id.to_owned()))?;
                Some(VerifyKey {
                    public_key: public_key.clone(),
                    // The key ring has looked whether it was valid then.
                    valid_until: u64::MAX,
                })
            };
            checked.push(if self.is_denied(&event, find) {
                Err(UnusableEvent::Denied(Box::new(event)))
            } else {
                event.check(find).map_err(Into::into)
            });
        }
        checked
    }

    /// Whether nothing is wrong with an event's signatures but that this server does not speak
    /// to some of those who made them, and has no key of theirs.
    fn is_denied(
        &self,
        event: &Unchecked,
        key: impl Fn(&ServerName, &str, u64) -> Option<VerifyKey>,
    ) -> bool {
        let signers = event.required_signatures();
        let unwanted = |required: &RequiredSignature| self.is_unwanted(&required.server);
        // Of nearly all events, which need not be verified twice.
        if !signers.iter().any(unwanted) {
            return false;
        }
        let mut lacks = false;
        for signer in &signers {
            match event.check_signature_of(&signer.server, &key) {
                Ok(()) => {}
                Err(SignatureError::UnknownKeys { .. }) if unwanted(signer) => lacks = true,
                Err(_) => return false,
            }
        }
        lacks
    }

    /// Whether this server does not speak to another because of who that is.
    fn is_unwanted(&self, server: &ServerName) -> bool {
        let refused = self.peers.may_speak_to(server).err();
        refused.is_some_and(Refused::is_about_it)
    }

    /// A checked event as it comes into its room: what is of a server that this one does not
    /// speak to is not shown there.
    ///
    /// # Errors
    /// [`UnusableEvent`].
    pub(super) fn incoming(
        &self,
        checked: Result<Received, UnusableEvent>,
    ) -> Result<Incoming, UnusableEvent> {
        match checked {
            Ok(received) => Ok(Incoming {
                is_unwanted: self.is_unwanted(received.event.sender().server_name()),
                ..Incoming::new(received)
            }),
            Err(UnusableEvent::Denied(event)) => Ok(Incoming::unvouched(*event)),
            Err(error) => Err(error),
        }
    }

    /// The keys with which an event claims to be signed, as far as they can be had.
    async fn keys_of(&self, event: &Unchecked) -> HashMap<(OwnedServerName, String), String> {
        let at = signed_at(event);
        let mut keys = HashMap::new();
        for required in event.required_signatures() {
            for key_id in required.key_ids {
                match self
                    .peers
                    .key(&required.server, &key_id, Timestamp(at))
                    .await
                {
                    Ok(key) => {
                        keys.insert((required.server.clone(), key_id), key);
                    }
                    Err(error) => log::debug!("{}: {error}", event.event_id()),
                }
            }
        }
        keys
    }

    /// Asks for the keys of many events at once, so that each is there when it is needed.
    async fn fetch_keys(&self, events: &[Unchecked]) {
        let mut wanted = Wanted::new();
        for event in events {
            let at = signed_at(event);
            for required in event.required_signatures() {
                let keys = wanted.entry(required.server).or_default();
                for key_id in required.key_ids {
                    let latest = keys.entry(key_id).or_default();
                    *latest = at.max(*latest);
                }
            }
        }
        self.fetch_wanted(wanted).await;
    }

    /// Asks for keys of many servers at the same time.
    pub(super) async fn fetch_wanted(&self, wanted: Wanted) {
        // One server's keys are fetched as quickly when the first event needs them.
        if wanted.len() < 2 {
            return;
        }
        let mut asking = JoinSet::new();
        for (server, keys) in wanted {
            if asking.len() >= MOST_ASKED {
                asking.join_next().await;
            }
            let peers = self.peers.clone();
            asking.spawn(async move {
                for (key_id, at) in keys {
                    // Who has no key is told when the event is checked.
                    let _ = peers.key(&server, &key_id, Timestamp(at)).await;
                }
            });
        }
        while asking.join_next().await.is_some() {}
    }
}

/// The time for which the keys of an event must have been valid, in ms since the Unix
/// epoch; before version 5 that does not matter.
fn signed_at(event: &Unchecked) -> u64 {
    if event.enforces_key_validity() {
        event.origin_server_ts()
    } else {
        0
    }
}
