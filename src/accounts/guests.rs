//! Guests: accounts for a while, without a name of their own or a password (client-server
//! API, "Guest Access").

use model::{StandingRecord, UserSerial, tables::STANDING_BY_USER};
use ruma_common::OwnedUserId;
use store::{Latest, Read as _};

use crate::{
    Accounts, AuthenticateError, NewAccount, RegisterError, Registered, Session,
    registration::Maker,
};

/// Digits of a guest's name.
const NAME: usize = 12;

/// A guest who becomes a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestProof {
    pub(crate) user: UserSerial,
    pub(crate) user_id: OwnedUserId,
}

impl Accounts {
    /// Whether there are guests.
    pub fn takes_guests(&self) -> bool {
        self.inner.registration.guests
    }

    /// Makes a guest's account and signs it in.
    ///
    /// # Errors
    /// [`RegisterError`]; [`RegisterError::NoGuests`] where there are none.
    pub async fn register_guest(
        &self,
        device_name: Option<String>,
        from: Option<String>,
    ) -> Result<Registered, RegisterError> {
        if !self.takes_guests() {
            return Err(RegisterError::NoGuests);
        }
        let digits = self.inner.random.bytes::<NAME>();
        let digits = digits.map(|byte| char::from(b'0' + byte % 10));
        let name: String = digits.iter().collect();
        let new = NewAccount {
            username: Some(format!("guest-{name}")),
            initial_device_display_name: device_name,
            from,
            ..NewAccount::default()
        };
        let standing = StandingRecord {
            is_guest: true,
            ..StandingRecord::default()
        };
        self.make_account(new, Maker::Newcomer, None, standing)
            .await
    }

    /// The guest behind an access token that a newcomer shows, who keeps the account under
    /// the name that they ask for, which must be the one they have.
    ///
    /// # Errors
    /// [`RegisterError::NotAGuest`] if the token is nobody's, or not that guest's.
    pub async fn prove_guest(
        &self,
        token: &str,
        username: Option<&str>,
    ) -> Result<GuestProof, RegisterError> {
        let session: Session = match self.authenticate(token).await {
            Ok(session) => session,
            Err(AuthenticateError::Store(error)) => return Err(error.into()),
            Err(_) => return Err(RegisterError::NotAGuest),
        };
        if !session.is_guest || username != Some(session.user_id.localpart()) {
            return Err(RegisterError::NotAGuest);
        }
        Ok(GuestProof {
            user: session.user,
            user_id: session.user_id,
        })
    }
}

/// Whether this is a guest's account still. For a commit's closure.
pub(crate) fn is_guest(latest: &Latest, user: UserSerial) -> Result<bool, store::StoreError> {
    let standing = latest.get(&STANDING_BY_USER, &user)?;
    Ok(standing.is_some_and(|standing| standing.is_guest))
}
