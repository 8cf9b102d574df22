//! Messages to devices (client-server API, "Send-to-Device messaging").

use accounts::Accounts;
use ruma_client_api::to_device::send_event_to_device::v3 as send;
use web::{Part, Reply, Routes, User};

use crate::ClientParts;

pub(crate) fn routes() -> Routes<ClientParts> {
    Routes::new().on(send_to_devices)
}

/// `PUT /_matrix/client/v3/sendToDevice/{eventType}/{txnId}`
async fn send_to_devices(
    Part(accounts): Part<Accounts>,
    caller: User,
    request: send::Request,
) -> Reply<send::Response> {
    let event_type = request.event_type.to_string();
    accounts
        .send_to_devices(&caller, &event_type, &request.txn_id, request.messages)
        .await?;
    Ok(send::Response::new())
}
