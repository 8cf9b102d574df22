//! The request by which a push rule is set.

use ruma_client_api::push::set_pushrule::v3 as set_rule;
use ruma_common::{
    api::{
        IncomingRequest,
        auth_scheme::AccessToken,
        error::{DeserializationError, Error},
    },
    metadata,
};
use serde_json::{Map, Value};

metadata! {
    method: PUT,
    rate_limited: true,
    authentication: AccessToken,
    history: {
        1.0 => "/_matrix/client/r0/pushrules/global/{kind}/{rule_id}",
        1.1 => "/_matrix/client/v3/pushrules/global/{kind}/{rule_id}",
    }
}

/// The request. ruma's own insists on `conditions`, which may be left out.
pub(crate) struct Request(pub(crate) set_rule::Request);

impl IncomingRequest for Request {
    type EndpointError = Error;
    type OutgoingResponse = set_rule::Response;

    fn try_from_http_request_inner(
        request: http::Request<&[u8]>,
        path_args: &[&str],
    ) -> Result<Self, DeserializationError> {
        let (parts, body) = request.into_parts();
        let mut object: Map<String, Value> = serde_json::from_slice(body)?;
        object
            .entry("conditions")
            .or_insert_with(|| Value::Array(Vec::new()));
        let body = serde_json::to_vec(&object)?;
        let request = http::Request::from_parts(parts, body.as_slice());
        set_rule::Request::try_from_http_request_inner(request, path_args).map(Self)
    }
}
