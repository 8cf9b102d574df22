//! Tokens that sign another device in without a password (client-server API, "Login
//! with token", `POST /login/get_token`). In memory only, for some minutes.

use std::{collections::HashMap, time::Duration};

use audit::Act;
use model::{TokenHash, UserSerial};
use ruma_common::{OwnedDeviceId, OwnedUserId};

use crate::{Accounts, LoginError, Session, SignedIn, tokens::token_hash};

/// How long such a token works.
const LIFETIME: Duration = Duration::from_secs(120);
/// The most tokens that wait to be used; the oldest make room.
const MOST: usize = 1_000;

/// The tokens that wait to be used.
#[derive(Default)]
pub(crate) struct LoginTokens {
    by_hash: HashMap<TokenHash, Waiting>,
}

struct Waiting {
    user_id: OwnedUserId,
    user: UserSerial,
    /// In ms since the Unix epoch.
    expires_at: u64,
}

/// A token that was just made.
#[derive(Clone)]
pub struct LoginToken {
    /// The token. It works once.
    pub token: String,
    /// How long it works.
    pub expires_in: Duration,
}

/// A device that signs in.
#[derive(Clone, Default)]
pub struct NewDevice {
    /// The device's id; a new one if `None` or unknown.
    pub device_id: Option<OwnedDeviceId>,
    /// The name of the device if it is new.
    pub initial_device_display_name: Option<String>,
    /// Whether the client can refresh tokens.
    pub refresh_token: bool,
    /// The network address, for the audit trail.
    pub from: Option<String>,
}

impl LoginTokens {
    fn add(&mut self, hash: TokenHash, waiting: Waiting, now: u64) {
        self.by_hash.retain(|_, known| known.expires_at > now);
        if self.by_hash.len() >= MOST {
            let oldest = self
                .by_hash
                .iter()
                .min_by_key(|(_, known)| known.expires_at);
            if let Some(oldest) = oldest.map(|(hash, _)| *hash) {
                self.by_hash.remove(&oldest);
            }
        }
        self.by_hash.insert(hash, waiting);
    }
}

impl Accounts {
    /// Makes a token with which another device of the caller can sign in, once.
    pub fn login_token(&self, session: &Session) -> LoginToken {
        let token = self.inner.random.token();
        let now = self.inner.clock.now();
        let waiting = Waiting {
            user_id: session.user_id.clone(),
            user: session.user,
            expires_at: now.plus(LIFETIME).0,
        };
        let mut tokens = self.inner.login_tokens.lock();
        tokens.add(token_hash(&token), waiting, now.0);
        LoginToken {
            token,
            expires_in: LIFETIME,
        }
    }

    /// Signs somebody in with such a token (`m.login.token`).
    ///
    /// # Errors
    /// [`LoginError::Forbidden`] for a token that does not work, or not any more.
    pub async fn login_with_token(
        &self,
        token: &str,
        device: NewDevice,
    ) -> Result<SignedIn, LoginError> {
        let draft = self.draft_session(
            device.device_id,
            device.initial_device_display_name,
            device.refresh_token,
        )?;
        let hash = token_hash(token);
        let waiting = self.inner.login_tokens.lock().by_hash.remove(&hash);
        let waiting = waiting
            .filter(|waiting| waiting.expires_at > self.now())
            .ok_or(LoginError::Forbidden)?;
        let act = Act::person(waiting.user_id.as_str(), device.from);
        self.open_session(draft, &act, waiting.user_id, waiting.user, None)
            .await
    }
}
