//! Credentials for the TURN servers that calls need (client-server API, "Voice over IP";
//! the REST API of TURN servers with a shared secret).

use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use ruma_common::{
    UserId,
    serde::{Base64, base64::Standard},
};
use runtime::{Secret, Timestamp};
use sha1::Sha1;

runtime::options! {
    /// Servers that carry the voices and pictures of calls between people who cannot reach each
    /// other directly.
    pub struct TurnOptions in "turn" {
        /// The TURN servers' addresses, "turn:turn.example.com:3478?transport=udp" for instance.
        /// Empty: clients are told of none.
        pub uris: Vec<String> = Vec::new(),
        /// The secret that the TURN servers share with this one (coturn: static-auth-secret).
        pub shared_secret: Secret = Secret::default(),
        /// How long credentials work, in seconds.
        pub lifetime: u64 = 86_400,
    }
}

/// What a client shows to the TURN servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TurnCredentials {
    /// When they end, and whose they are.
    pub username: String,
    /// The proof.
    pub password: String,
    /// The servers' addresses.
    pub uris: Vec<String>,
    /// How long they work.
    pub lifetime: Duration,
}

/// Credentials for a user; none where there is no TURN server.
pub fn turn_credentials(
    options: &TurnOptions,
    user_id: &UserId,
    now: Timestamp,
) -> Option<TurnCredentials> {
    let secret = options.shared_secret.reveal();
    if options.uris.is_empty() || secret.is_empty() {
        return None;
    }
    let lifetime = Duration::from_secs(options.lifetime);
    let username = format!("{}:{user_id}", now.plus(lifetime).0 / 1_000);
    // HMAC takes keys of any length.
    let mut hmac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).ok()?;
    hmac.update(username.as_bytes());
    let password = Base64::<Standard, _>::new(hmac.finalize().into_bytes().to_vec());
    Some(TurnCredentials {
        username,
        password: padded(password.encode()),
        uris: options.uris.clone(),
        lifetime,
    })
}

/// TURN servers compare the text, whose padding belongs to it.
fn padded(mut base64: String) -> String {
    while !base64.len().is_multiple_of(4) {
        base64.push('=');
    }
    base64
}

#[cfg(test)]
mod tests {
    use ruma_common::user_id;

    use super::*;

    #[test]
    fn credentials_are_what_turn_servers_compute() {
        let options = TurnOptions {
            uris: vec!["turn:turn.example.com".to_owned()],
            shared_secret: Secret::from("north".to_owned()),
            lifetime: 86_400,
        };
        let user_id = user_id!("@alice:a.test");
        let now = Timestamp(1_700_000_000_000);
        let made = turn_credentials(&options, user_id, now).unwrap();
        assert_eq!(made.username, "1700086400:@alice:a.test");
        // printf '1700086400:@alice:a.test' | openssl dgst -sha1 -hmac north -binary | base64
        assert_eq!(made.password, "byvzFYDmOvo4u4pIpch9RkZn9kE=");
        let none = TurnOptions::default();
        assert_eq!(turn_credentials(&none, user_id, now), None);
    }
}
