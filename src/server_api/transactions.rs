//! What other servers send by themselves (server-server API, "Transactions").

use actions::{Actions, Transaction};
use ruma_federation_api::transactions::send_transaction_message::v1 as send;
use web::{Part, Reply, Routes, Server};

use crate::ServerParts;

pub(crate) fn routes() -> Routes<ServerParts> {
    Routes::new().on(send)
}

/// `PUT /_matrix/federation/v1/send/{txnId}`
async fn send(
    Part(actions): Part<Actions>,
    origin: Server,
    request: send::Request,
) -> Reply<send::Response> {
    let transaction = Transaction {
        id: request.transaction_id,
        origin: request.origin,
        events: request.pdus,
        edus: request.edus,
    };
    let answer = actions.receive_transaction(&origin, transaction).await?;
    Ok(send::Response::new(answer))
}
