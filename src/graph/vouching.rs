//! Signatures that an event gets after it was made, by keys that are not published: those of policy servers (server-server API, "Policy
//! Servers").

use ruma_common::{
    AnyKeyName, ServerName, SigningKeyId,
    serde::{Base64, base64::Standard},
};

use crate::{
    Event, MAX_EVENT_BYTES, Reason,
    json::{self, Json, JsonObject},
};

impl Event {
    /// Whether the event has a valid signature of `server` by this key. `public_key` is in base64 of either alphabet, padded or not: rooms hold
    /// keys that people have copied there.
    pub fn is_signed_by(&self, server: &ServerName, key_id: &str, public_key: &str) -> bool {
        self.verify_signature(server, key_id, public_key).is_some()
    }

    fn verify_signature(&self, server: &ServerName, key_id: &str, public_key: &str) -> Option<()> {
        let object = json::read(self.json().as_bytes(), self.version()).ok()?;
        let signature = object
            .get("signatures")
            .and_then(Json::as_object)
            .and_then(|signatures| signatures.get(server.as_str()))
            .and_then(Json::as_object)
            .and_then(|of_server| of_server.get(key_id))
            .and_then(Json::as_str)?;
        let signature = Base64::<Standard>::parse(signature).ok()?;
        let public_key = public_key.replace('-', "+").replace('_', "/");
        let public_key = Base64::<Standard>::parse(public_key).ok()?;
        let key_id = <&SigningKeyId<AnyKeyName>>::try_from(key_id).ok()?;
        let kept = json::redacted(object.clone(), self.version()).ok()?;
        let signed_text = json::text_without(&kept, &["signatures", "unsigned"]).ok()?;
        crate::verify_bytes(
            &key_id.algorithm(),
            public_key.as_bytes(),
            signature.as_bytes(),
            signed_text.as_bytes(),
        )
        .ok()
    }

    /// The same event with one more signature, which is not checked. Signatures are no part of what makes its id.
    ///
    /// # Errors
    /// [`Reason::TooLarge`] if the event is too large with it.
    pub fn with_signature(
        &self,
        server: &ServerName,
        key_id: &str,
        signature: &str,
    ) -> Result<Self, Reason> {
        let mut object = json::read(self.json().as_bytes(), self.version())?;
        let mut signatures = match object.remove("signatures") {
            Some(Json::Object(signatures)) => signatures,
            _ => JsonObject::new(),
        };
        // The policy server may be the server that made the event: what it has signed stays.
        let mut of_server = match signatures.remove(server.as_str()) {
            Some(Json::Object(of_server)) => of_server,
            _ => JsonObject::new(),
        };
        of_server.insert(key_id.to_owned(), Json::String(signature.to_owned()));
        signatures.insert(server.to_string(), Json::Object(of_server));
        object.insert("signatures".to_owned(), Json::Object(signatures));
        let text = json::text_without(&object, &[])?;
        if text.len() > MAX_EVENT_BYTES {
            return Err(Reason::TooLarge {
                what: "the event",
                limit: MAX_EVENT_BYTES,
            });
        }
        Self::read(
            text,
            self.event_id().to_owned(),
            self.version(),
            self.room_id().to_owned(),
            self.rejected(),
        )
    }
}
