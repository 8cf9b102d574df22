//! E-mail addresses that people confirm: the confirmation is `accounts`', the letter goes
//! over `mail`.

use std::sync::{Arc, OnceLock};

use accounts::{Accounts, ConfirmationError, NewConfirmation};
use mail::{Letter, MailError, Mailer};
use store::StoreError;

use crate::letters;

/// Where a letter's link leads, behind the server's address: the page of a confirmation.
const PAGE: &str = "confirm";

/// Why nobody was written to.
#[derive(Debug, thiserror::Error)]
pub enum ContactError {
    /// The server sends no e-mail (403 `M_THREEPID_DENIED`).
    #[error("this server confirms no e-mail addresses")]
    Denied,
    /// The address cannot be confirmed.
    #[error(transparent)]
    Confirmation(#[from] ConfirmationError),
    /// The relay has not taken the letter: later it may (500 `M_UNKNOWN`).
    #[error("the e-mail could not be sent; try again later")]
    NotSent,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Confirms addresses. Cheap to clone.
#[derive(Clone)]
pub struct Contacts {
    accounts: Accounts,
    mailer: Option<Mailer>,
    /// The server's address for people, without a slash at its end.
    address: Arc<OnceLock<String>>,
}

impl Contacts {
    /// Confirms addresses by letters of `mailer`; refuses all without one.
    pub fn new(accounts: Accounts, mailer: Option<Mailer>) -> Self {
        if mailer.is_some() {
            accounts.offer_email();
        }
        Self {
            accounts,
            mailer,
            address: Arc::default(),
        }
    }

    /// Says where people reach this server: `https://chat.council.example`. The first
    /// address counts; nothing is sent before there is one.
    pub fn reached_at(&self, address: &str) {
        let _ = self.address.set(address.to_owned());
    }

    /// Whether addresses are confirmed at all.
    pub fn are_on(&self) -> bool {
        self.mailer.is_some()
    }

    /// Where people reach this server, once that is known and letters are sent at all.
    pub(crate) fn address(&self) -> Option<&str> {
        let address = self.address.get()?;
        self.are_on().then_some(address.as_str())
    }

    /// Sends a letter. When this returns, the relay has it.
    ///
    /// # Errors
    /// [`ContactError`].
    pub(crate) async fn write(&self, letter: Letter) -> Result<(), ContactError> {
        let mailer = self.mailer.as_ref().ok_or(ContactError::Denied)?;
        let sent = mailer.send(letter).await;
        sent.map_err(|error| match error {
            MailError::Address => ConfirmationError::Address.into(),
            MailError::Relay(_) | MailError::Refused(_) | MailError::Timeout => {
                ContactError::NotSent
            }
        })
    }

    /// Begins the confirmation of an address, for which the person gets a letter. Returns the
    /// confirmation's id. When this returns, the relay has the letter.
    ///
    /// # Errors
    /// [`ContactError`]; then the same question can be asked again.
    pub async fn confirm(&self, new: NewConfirmation) -> Result<String, ContactError> {
        let (Some(mailer), Some(address)) = (&self.mailer, self.address.get()) else {
            return Err(ContactError::Denied);
        };
        let begun = self.accounts.begin_confirmation(new).await?;
        let Some(new) = begun.letter else {
            return Ok(begun.id);
        };
        let link = format!("{address}/{PAGE}/{}/{}", begun.id, new.token);
        let letter = letters::letter(&new, self.accounts.server_name(), &link);
        match mailer.send(letter).await {
            Ok(()) => Ok(begun.id),
            Err(error) => {
                let forgotten = self.accounts.forget_confirmation(&begun.id, &new.token);
                forgotten.await?;
                match error {
                    MailError::Address => Err(ConfirmationError::Address.into()),
                    MailError::Relay(_) | MailError::Refused(_) | MailError::Timeout => {
                        Err(ContactError::NotSent)
                    }
                }
            }
        }
    }
}
