//! The parts of this crate over fake ones.

mod back_off;
mod discovery;
mod documents;
mod listed;
mod recognising;
mod ring;
mod well_known;

use std::{path::Path, sync::Arc};

use graph::SigningKey;
use outgoing::{Outgoing, OutgoingOptions};
use ruma_common::{OwnedServerName, ServerName};
use runtime::{Clock, Metrics, Random, Timestamp};
use store::{Store, StoreOptions};

use crate::{FederationOptions, Peers, PeersParts};

/// 2026-11-26T12:00:00Z.
pub(super) const NOW: Timestamp = Timestamp(1_795_694_400_000);

pub(super) fn name(text: &str) -> OwnedServerName {
    ServerName::parse(text).unwrap()
}

pub(super) fn open(folder: &Path, clock: &Clock) -> Store {
    let (options, random) = (StoreOptions::default(), Random::seeded(1));
    Store::open(folder, "own.test", &options, clock, &random).unwrap()
}

pub(super) fn signing_key(seed: u8) -> SigningKey {
    SigningKey::generate([seed; 32], format!("k{seed}")).unwrap()
}

/// The peers of `own.test`, which signs with the key of seed 1.
pub(super) fn peers(store: Store, clock: Clock, options: FederationOptions) -> Peers {
    Peers::new(PeersParts {
        store,
        outgoing: Outgoing::new(&OutgoingOptions::default(), &Metrics::new()).unwrap(),
        clock,
        random: Random::seeded(2),
        server_name: name("own.test"),
        key: Arc::new(signing_key(1)),
        options,
    })
    .unwrap()
}
