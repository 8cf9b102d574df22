//! What is new (client-server API, "Syncing").

use ::sync::{Sync, SyncRequest};
use accounts::Session;
use ruma_client_api::{
    filter::FilterDefinition,
    sync::sync_events::v3::{self, Filter},
};
use ruma_common::presence::PresenceState;
use store::{Snapshot, Store};
use web::{ApiError, Limits, Part, RawJson, Reply, Routes, User};

use crate::ClientParts;

pub(crate) fn routes() -> Routes<ClientParts> {
    Routes::new().on(get_sync)
}

/// `GET /_matrix/client/v3/sync`
async fn get_sync(
    Part(sync): Part<Sync>,
    Part(store): Part<Store>,
    Part(limits): Part<Limits>,
    caller: User,
    request: v3::Request,
) -> Reply<RawJson> {
    check_presence(&request.set_presence)?;
    let asked = SyncRequest {
        filter: filter(&store, &caller, request.filter).await?,
        since: request.since,
        full_state: request.full_state,
        timeout: request.timeout.unwrap_or_default(),
        use_state_after: request.use_state_after,
        set_presence: request.set_presence,
    };
    if asked.timeout.is_zero() {
        return Ok(RawJson(sync.sync(&caller, asked).await?));
    }
    let at_once = SyncRequest {
        timeout: std::time::Duration::ZERO,
        ..asked.clone()
    };
    let mut slot = limits.sync_slot(caller.device);
    // Dropping a sync that waits loses nothing: it has told nobody anything yet.
    let answer = tokio::select! {
        answer = sync.sync(&caller, asked) => answer,
        () = slot.superseded() => sync.sync(&caller, at_once).await,
    };
    Ok(RawJson(answer?))
}

/// A client can only be what the specification knows.
pub(crate) fn check_presence(presence: &PresenceState) -> Result<(), ApiError> {
    match presence {
        PresenceState::Online | PresenceState::Offline | PresenceState::Unavailable => Ok(()),
        _ => Err(ApiError::invalid_param("There is no such presence.")),
    }
}

/// The filter that a request names or brings along.
async fn filter(
    store: &Store,
    caller: &Session,
    filter: Option<Filter>,
) -> Result<FilterDefinition, ApiError> {
    let filter_id = match filter {
        None => return Ok(FilterDefinition::default()),
        Some(Filter::FilterDefinition(filter)) => return Ok(filter),
        Some(Filter::FilterId(filter_id)) => filter_id,
        Some(_) => return Err(ApiError::invalid_param("This is not a filter.")),
    };
    let user = caller.user;
    let read = move |view: &Snapshot| accounts::filter(view, user, &filter_id);
    let stored = store.read(read).await?;
    let stored = stored.ok_or_else(|| ApiError::invalid_param("There is no such filter."))?;
    serde_json::from_slice(&stored).map_err(ApiError::internal)
}
