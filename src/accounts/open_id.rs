//! Tokens by which other services learn who somebody is (client-server API, "OpenID").

use std::time::Duration;

use model::{
    OpenIdTokenRecord, TokenHash,
    tables::{OPENID_TOKEN_BY_END, OPENID_TOKEN_BY_HASH},
};
use ruma_common::OwnedUserId;
use store::{Read as _, StoreError};

use crate::{Accounts, Session, is_active, tokens::token_hash};

/// How long such a token works.
const LIFETIME: Duration = Duration::from_secs(3_600);
/// How many tokens that have ended are removed with each new one.
const REMOVED: usize = 20;

/// A token that was just made.
#[derive(Clone)]
pub struct OpenIdToken {
    /// The token. It opens nothing here.
    pub token: String,
    /// How long it works.
    pub expires_in: Duration,
}

impl Accounts {
    /// Makes a token by which another service may ask this server who the caller is.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn open_id_token(&self, session: &Session) -> Result<OpenIdToken, StoreError> {
        let token = self.inner.random.token();
        let (hash, now, user) = (token_hash(&token), self.now(), session.user);
        let expires_at = self.inner.clock.now().plus(LIFETIME).0;
        let ended = self
            .store()
            .read(move |view| {
                view.scan(&OPENID_TOKEN_BY_END, &())
                    .take(REMOVED)
                    .map(|row| row.map(|(key, ())| key))
                    .filter(|key| key.as_ref().map_or(true, |(end, _)| *end <= now))
                    .collect::<Result<Vec<(u64, TokenHash)>, StoreError>>()
            })
            .await?;
        self.store()
            .commit(move |_, _, batch| {
                for key in &ended {
                    batch.delete(&OPENID_TOKEN_BY_END, key);
                    batch.delete(&OPENID_TOKEN_BY_HASH, &key.1);
                }
                let record = OpenIdTokenRecord { user, expires_at };
                batch.put(&OPENID_TOKEN_BY_HASH, &hash, &record);
                batch.put(&OPENID_TOKEN_BY_END, &(expires_at, hash), &());
                Ok::<_, StoreError>(())
            })
            .await?;
        Ok(OpenIdToken {
            token,
            expires_in: LIFETIME,
        })
    }

    /// Who has given such a token to another service; none if it has ended.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn open_id_user(&self, token: &str) -> Result<Option<OwnedUserId>, StoreError> {
        let (hash, now) = (token_hash(token), self.now());
        self.store()
            .read(move |view| {
                let Some(record) = view.get(&OPENID_TOKEN_BY_HASH, &hash)? else {
                    return Ok(None);
                };
                if record.expires_at <= now || !is_active(view, record.user)? {
                    return Ok(None);
                }
                let user_id = model::user_id(view, record.user)?;
                Ok(user_id.and_then(|user_id| OwnedUserId::try_from(user_id).ok()))
            })
            .await
    }
}
