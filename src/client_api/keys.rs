//! Keys of devices and users (client-server API, "End-to-End Encryption").

use std::{collections::BTreeMap, time::Duration};

use accounts::{Accounts, CrossSigningUpload, SignatureFailure};
use actions::{Actions, Failures};
use js_int::UInt;
use ruma_client_api::keys::{
    claim_keys::v3 as claim, get_key_changes::v3 as changes, get_keys::v3 as query,
    upload_keys::v3 as upload, upload_signatures::v3 as upload_signatures,
    upload_signing_keys::v3 as upload_signing_keys,
};
use ruma_common::{OneTimeKeyAlgorithm, OwnedServerName};
use serde_json::{Map, Value, json};
use store::{Snapshot, Store};
use web::{Interactive, Part, RawJson, Reply, Routes, Serving, User};

use crate::{ClientParts, answers, prover::Prover};

/// Queries for more users than this are read where they delay nobody.
const FEW_USERS: usize = 50;

/// Clients know the paths of cross-signing from before it was in the specification.
const WITH_UNSTABLE: Serving = Serving {
    unstable: true,
    waiting: false,
};

pub(crate) fn routes() -> Routes<ClientParts> {
    Routes::new()
        .on(upload)
        .on(query)
        .on(claim)
        .on(changes)
        .on_with(upload_signing_keys, WITH_UNSTABLE)
        .on_with(upload_signatures, WITH_UNSTABLE)
}

/// How long other servers are waited for if the client does not say.
const PATIENCE: Duration = Duration::from_secs(10);

/// The servers that gave no keys.
fn failures(failures: Failures) -> BTreeMap<String, Value> {
    let failure = |(server, why): (OwnedServerName, String)| {
        let error = json!({ "errcode": "M_UNKNOWN", "error": why });
        (server.to_string(), error)
    };
    failures.into_iter().map(failure).collect()
}

/// `POST /_matrix/client/v3/keys/upload`
async fn upload(
    Part(accounts): Part<Accounts>,
    caller: User,
    request: upload::Request,
) -> Reply<upload::Response> {
    let counts = accounts
        .upload_keys(
            &caller,
            request.device_keys,
            request.one_time_keys,
            request.fallback_keys,
        )
        .await?;
    let counts = counts
        .into_iter()
        .map(|(algorithm, count)| (OneTimeKeyAlgorithm::from(algorithm), UInt::from(count)));
    Ok(upload::Response::new(counts.collect()))
}

/// `POST /_matrix/client/v3/keys/query`
async fn query(
    Part(store): Part<Store>,
    Part(accounts): Part<Accounts>,
    Part(actions): Part<Actions>,
    caller: User,
    request: query::Request,
) -> Reply<query::Response> {
    let (viewer, wanted) = (caller.user, request.device_keys);
    let wait = request.timeout.unwrap_or(PATIENCE);
    let remote = actions.query_remote_keys(viewer, &wanted, wait).await?;
    let is_short = wanted.len() <= FEW_USERS;
    let read =
        move |view: &Snapshot| accounts::query_keys(view, accounts.server_name(), viewer, &wanted);
    let found = if is_short {
        store.read(read).await?
    } else {
        store.read_long(read).await?
    };
    let mut response = query::Response::new();
    response.device_keys = found.device_keys;
    response.master_keys = found.master_keys;
    response.self_signing_keys = found.self_signing_keys;
    response.user_signing_keys = found.user_signing_keys;
    response.device_keys.extend(remote.device_keys);
    response.master_keys.extend(remote.master_keys);
    response.self_signing_keys.extend(remote.self_signing_keys);
    response.failures = failures(remote.failures);
    Ok(response)
}

/// `POST /_matrix/client/v3/keys/claim`
async fn claim(
    Part(accounts): Part<Accounts>,
    Part(actions): Part<Actions>,
    _: User,
    request: claim::Request,
) -> Reply<claim::Response> {
    let wait = request.timeout.unwrap_or(PATIENCE);
    let remote = actions
        .claim_remote_keys(&request.one_time_keys, wait)
        .await;
    let claimed = accounts.claim_keys(request.one_time_keys).await?;
    let mut response = claim::Response::new(claimed.one_time_keys);
    response.one_time_keys.extend(remote.one_time_keys);
    response.failures = failures(remote.failures);
    Ok(response)
}

/// `GET /_matrix/client/v3/keys/changes`
async fn changes(
    Part(sync): Part<sync::Sync>,
    caller: User,
    request: changes::Request,
) -> Reply<RawJson> {
    let changes = sync
        .key_changes(&caller, &request.from, &request.to)
        .await?;
    Ok(answers::json(
        &json!({ "changed": changes.changed, "left": changes.left }),
    ))
}

/// `POST /_matrix/client/v3/keys/device_signing/upload`
async fn upload_signing_keys(
    Part(accounts): Part<Accounts>,
    prover: Prover,
    caller: User,
    Interactive { request, operation }: Interactive<upload_signing_keys::Request>,
) -> Reply<upload_signing_keys::Response> {
    let keys = CrossSigningUpload {
        master_key: request.master_key,
        self_signing_key: request.self_signing_key,
        user_signing_key: request.user_signing_key,
    };
    let must_prove = accounts
        .cross_signing_needs_authentication(&caller, &keys)
        .await?;
    if must_prove {
        prover
            .user(&caller, operation, request.auth.as_ref())
            .await?;
    }
    accounts
        .upload_cross_signing_keys(&caller, &keys, must_prove)
        .await?;
    Ok(upload_signing_keys::Response::new())
}

/// `POST /_matrix/client/v3/keys/signatures/upload`
async fn upload_signatures(
    Part(actions): Part<Actions>,
    caller: User,
    request: upload_signatures::Request,
) -> Reply<RawJson> {
    let refused = actions
        .upload_signatures(&caller, request.signed_keys)
        .await?;
    let failures: Map<String, Value> = refused
        .iter()
        .map(|(user_id, keys)| {
            let keys = keys.iter().map(|(key, why)| (key.clone(), failure(why)));
            (user_id.to_string(), Value::Object(keys.collect()))
        })
        .collect();
    Ok(answers::json(&json!({ "failures": failures })))
}

/// Why one signature of many was not taken; the answer is a 200 nevertheless.
fn failure(why: &SignatureFailure) -> Value {
    let errcode = match why {
        SignatureFailure::Invalid(_) => "M_INVALID_SIGNATURE",
        SignatureFailure::NotFound => "M_NOT_FOUND",
    };
    json!({ "errcode": errcode, "error": why.to_string() })
}
