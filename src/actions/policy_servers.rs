//! Asking the policy servers of rooms (server-server API, "Policy Servers").

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use graph::Event;
use model::RoomSerial;
use peers::{Ask, PeerError, Peers};
use rooms::{Incoming, POLICY_KEY, PolicyError, PolicyServer, Signing};
use ruma_common::{OwnedServerName, ServerName};
use tokio::task::JoinSet;

use crate::Actions;

/// Where a policy server signs.
const SIGN: &str = "/_matrix/policy/v1/sign";
/// How long a policy server may look at an event: it may have to look at a file.
const WAIT: Duration = Duration::from_secs(30);
/// How many events of a room a policy server is asked about at the same time.
const MOST_ASKED: usize = 8;

/// Policy servers, asked as other servers are.
pub(crate) struct PolicyServers(pub(crate) Peers);

impl rooms::PolicyServers for PolicyServers {
    fn sign<'a>(&'a self, server: &'a ServerName, event: &'a Event) -> Signing<'a> {
        Box::pin(async move {
            let ask = Ask::new("policy").within(WAIT);
            let body = event.json().as_bytes();
            let answer = self.0.post_text(server, SIGN, body, ask).await;
            let answer = answer.map_err(refusal)?;
            let signatures: BTreeMap<OwnedServerName, BTreeMap<String, String>> =
                serde_json::from_slice(&answer)
                    .map_err(|error| PolicyError::Unanswered(error.to_string()))?;
            let mut signatures = signatures.into_iter().find(|(name, _)| name == server);
            signatures
                .as_mut()
                .and_then(|(_, of_server)| of_server.remove(POLICY_KEY))
                .ok_or_else(|| PolicyError::Unanswered("it gave no signature".to_owned()))
        })
    }
}

fn refusal(error: PeerError) -> PolicyError {
    match error {
        PeerError::Status {
            status,
            errcode,
            message,
        } => PolicyError::Refused {
            status: status.as_u16(),
            errcode,
            message,
        },
        other => PolicyError::Unanswered(other.to_string()),
    }
}

impl Actions {
    /// The same events, with the signature of the room's policy server as far as it gives
    /// one. What it does not sign, the room does not show.
    pub(crate) async fn recommended(
        &self,
        room: RoomSerial,
        events: Vec<Incoming>,
    ) -> Vec<Incoming> {
        let policy = match self.rooms.policy_server(room).await {
            Ok(Some(policy)) => Arc::new(policy),
            Ok(None) => return events,
            Err(error) => {
                log::error!("a room's policy server cannot be read: {error}");
                return events;
            }
        };
        let mut asking = JoinSet::new();
        let mut answered = Vec::with_capacity(events.len());
        for (number, incoming) in events.into_iter().enumerate() {
            if asking.len() >= MOST_ASKED {
                answered.extend(asking.join_next().await);
            }
            let (actions, policy) = (self.clone(), policy.clone());
            asking.spawn(async move { (number, actions.ask_for(&policy, incoming).await) });
        }
        while let Some(one) = asking.join_next().await {
            answered.push(one);
        }
        let mut answered: Vec<_> = answered.into_iter().flatten().collect();
        answered.sort_by_key(|(number, _)| *number);
        answered.into_iter().map(|(_, incoming)| incoming).collect()
    }

    async fn ask_for(&self, policy: &PolicyServer, mut incoming: Incoming) -> Incoming {
        if incoming.is_unvouched {
            return incoming;
        }
        let event = &incoming.received.event;
        match self.rooms.recommended_by(policy, event).await {
            Ok(signed) => incoming.received.event = signed,
            Err(error) => log::info!("{} of {}: {error}", event.event_id(), event.room_id()),
        }
        incoming
    }
}
