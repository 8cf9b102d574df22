//! Requests of the first versions of endpoints, which ruma does not know any more. Only their
//! answers differ from the second.

use ruma_common::api::{
    IncomingRequest,
    error::{DeserializationError, Error},
};
use ruma_federation_api::membership::{
    create_join_event::v2 as send_join, create_leave_event::v2 as send_leave,
};

macro_rules! old_request {
    ($(#[$doc:meta])* $name:ident, $module:ident, $new:ident, $path:literal) => {
        mod $module {
            use ruma_common::metadata;
            use ruma_federation_api::authentication::ServerSignatures;

            metadata! {
                method: PUT,
                rate_limited: false,
                authentication: ServerSignatures,
                path: $path,
            }

            $(#[$doc])*
            pub(crate) struct Request(pub(crate) super::$new::Request);
        }
        pub(crate) use $module::Request as $name;

        impl IncomingRequest for $name {
            type EndpointError = Error;
            type OutgoingResponse = $new::Response;

            fn try_from_http_request_inner(
                request: http::Request<&[u8]>,
                path_args: &[&str],
            ) -> Result<Self, DeserializationError> {
                $new::Request::try_from_http_request_inner(request, path_args).map(Self)
            }
        }
    };
}

old_request!(
    /// `PUT /_matrix/federation/v1/send_join/{roomId}/{eventId}`
    SendJoin,
    join,
    send_join,
    "/_matrix/federation/v1/send_join/{room_id}/{event_id}"
);
old_request!(
    /// `PUT /_matrix/federation/v1/send_leave/{roomId}/{eventId}`
    SendLeave,
    leave,
    send_leave,
    "/_matrix/federation/v1/send_leave/{room_id}/{event_id}"
);
