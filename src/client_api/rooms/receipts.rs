//! How far one has read (client-server API, "Receipts" and "Fully read markers").

use ::rooms::{ReadMarkers, ReceiptKind, Rooms};
use ruma_client_api::{
    read_marker::set_read_marker::v3 as markers, receipt::create_receipt::v3 as receipt,
};
use ruma_common::{
    OwnedEventId, OwnedRoomId,
    api::{IncomingRequest, Metadata, error::DeserializationError},
};
use serde::{Deserialize, de::value};
use serde_json::Value;
use web::{ApiError, Part, Reply, Routes, User};

use super::sender;
use crate::ClientParts;

pub(crate) fn routes() -> Routes<ClientParts> {
    Routes::new().on(set_receipt).on(set_read_markers)
}

/// `POST /_matrix/client/v3/rooms/{roomId}/receipt/{receiptType}/{eventId}`
async fn set_receipt(
    Part(rooms): Part<Rooms>,
    caller: User,
    request: ReceiptRequest,
) -> Reply<receipt::Response> {
    let kind = ReceiptKind::from_name(&request.receipt_type)
        .ok_or_else(|| ApiError::invalid_param("There is no such type of receipt."))?;
    let thread = request.thread()?;
    rooms
        .set_receipt(
            &sender(&caller),
            &request.room_id,
            kind,
            &request.event_id,
            thread,
        )
        .await?;
    Ok(receipt::Response::new())
}

/// `POST /_matrix/client/v3/rooms/{roomId}/read_markers`
async fn set_read_markers(
    Part(rooms): Part<Rooms>,
    caller: User,
    request: markers::Request,
) -> Reply<markers::Response> {
    let markers = ReadMarkers {
        fully_read: request.fully_read,
        read: request.read_receipt,
        read_private: request.private_read_receipt,
    };
    rooms
        .set_read_markers(&sender(&caller), &request.room_id, markers)
        .await?;
    Ok(markers::Response::new())
}

/// [`receipt::Request`] with whatever stands in `thread_id`: what is wrong with it is
/// an `M_INVALID_PARAM` here, not an `M_BAD_JSON`.
struct ReceiptRequest {
    room_id: OwnedRoomId,
    receipt_type: String,
    event_id: OwnedEventId,
    thread_id: Option<Value>,
}

impl ReceiptRequest {
    fn thread(&self) -> Result<Option<String>, ApiError> {
        match &self.thread_id {
            None => Ok(None),
            Some(Value::String(thread)) if !thread.is_empty() => Ok(Some(thread.clone())),
            Some(_) => Err(ApiError::invalid_param(
                "The thread_id must be text, and not empty.",
            )),
        }
    }
}

impl Metadata for ReceiptRequest {
    const METHOD: http::Method = receipt::Request::METHOD;
    const RATE_LIMITED: bool = receipt::Request::RATE_LIMITED;
    type Authentication = <receipt::Request as Metadata>::Authentication;
    type PathBuilder = <receipt::Request as Metadata>::PathBuilder;
    const PATH_BUILDER: Self::PathBuilder = receipt::Request::PATH_BUILDER;
}

impl IncomingRequest for ReceiptRequest {
    type EndpointError = <receipt::Request as IncomingRequest>::EndpointError;
    type OutgoingResponse = receipt::Response;

    fn try_from_http_request_inner(
        request: http::Request<&[u8]>,
        path_args: &[&str],
    ) -> Result<Self, DeserializationError> {
        #[derive(Default, Deserialize)]
        struct Body {
            /// Present and `null` is wrong too.
            #[serde(default, deserialize_with = "present")]
            thread_id: Option<Value>,
        }
        let arguments = path_args.iter().copied();
        let (room_id, receipt_type, event_id) =
            Deserialize::deserialize(value::SeqDeserializer::<_, value::Error>::new(arguments))?;
        // Many clients send no body.
        let body: Body = match *request.body() {
            [] => Body::default(),
            json => serde_json::from_slice(json)?,
        };
        Ok(Self {
            room_id,
            receipt_type,
            event_id,
            thread_id: body.thread_id,
        })
    }
}

fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thread(body: &str) -> Result<Option<String>, ApiError> {
        let request = http::Request::post("/").body(body.as_bytes()).unwrap();
        let arguments = ["!room:localhost", "m.read", "$event"];
        let request = ReceiptRequest::try_from_http_request_inner(request, &arguments).unwrap();
        assert_eq!(request.receipt_type, "m.read");
        request.thread()
    }

    #[test]
    fn a_thread_is_text() {
        assert_eq!(thread("").unwrap(), None);
        assert_eq!(thread("{}").unwrap(), None);
        assert_eq!(
            thread(r#"{"thread_id":"main"}"#).unwrap(),
            Some("main".to_owned())
        );
        for body in [
            r#"{"thread_id":""}"#,
            r#"{"thread_id":null}"#,
            r#"{"thread_id":1}"#,
            r#"{"thread_id":{}}"#,
        ] {
            let error = thread(body).unwrap_err();
            assert_eq!(
                error.errcode().unwrap().as_str(),
                "M_INVALID_PARAM",
                "{body}"
            );
        }
    }
}
