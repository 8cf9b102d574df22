//! Accounts that end: when they do, who is told of it, and how the end is put off.

use std::time::Duration;

use accounts::{EndingAccount, Session};
use model::UserSerial;
use runtime::Stop;
use store::StoreError;

use crate::{
    Actions, AdministrationError, Administrator, PeopleError, Right, people_letters::Words,
};

/// How often it is looked whose accounts end soon.
const LOOK_EVERY: Duration = Duration::from_secs(600);
/// Milliseconds of a day.
const DAY: u64 = 24 * 60 * 60 * 1_000;
/// The page of a renewal, behind the server's address.
const PAGE: &str = "renew";

impl Actions {
    /// Sets the end of somebody's account, in ms since the Unix epoch; it has none if that is
    /// `None`. Where it is renewable the person may put it off. Nothing is deleted at the end.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn set_end_of(
        &self,
        by: &Administrator,
        user: &str,
        expires_at: Option<u64>,
        is_renewable: bool,
    ) -> Result<Option<u64>, AdministrationError> {
        by.must(Right::ChangeEnd)?;
        let found = self.user(user).await?;
        by.must_reach(found.account.roles)?;
        self.accounts
            .set_end(by.act(), found.user, expires_at, is_renewable)
            .await?;
        log::info!(user_id = found.user_id.as_str(), expires_at; "the end of an account was set");
        Ok(expires_at)
    }

    /// Renews somebody's account for as long as new accounts are valid. Returns its new end.
    ///
    /// # Errors
    /// [`AdministrationError`]; [`PeopleError::NoValidity`] where accounts have no end.
    pub async fn renew_account_of(
        &self,
        by: &Administrator,
        user: &str,
    ) -> Result<Option<u64>, AdministrationError> {
        by.must(Right::ChangeEnd)?;
        let end = self.accounts.default_end().ok_or(PeopleError::NoValidity)?;
        self.set_end_of(by, user, Some(end), true).await
    }

    /// Those whose accounts end before `until`, in ms since the Unix epoch, and have not been
    /// told, or at least some hundreds of them.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn accounts_ending(
        &self,
        by: &Administrator,
        until: u64,
    ) -> Result<Vec<EndingAccount>, AdministrationError> {
        by.must(Right::ListPeople)?;
        Ok(self.accounts.ending_accounts(until).await?)
    }

    /// Tells those whose accounts end soon, until the server stops.
    pub async fn tell_ends(&self, stop: Stop) {
        loop {
            let told = tokio::select! {
                () = stop.stopped() => return,
                told = self.tell_of_ends() => told,
            };
            if let Err(error) = told {
                log::error!("those whose accounts end were not all told: {error}");
            }
            tokio::select! {
                () = stop.stopped() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// Tells all of them now. Who was told is noted afterwards: a crash in between tells twice,
    /// and leaves nobody out.
    async fn tell_of_ends(&self) -> Result<(), StoreError> {
        self.accounts.forget_renewals().await?;
        let days = self.accounts.validity_notice_days();
        loop {
            let until = self.clock.now().0.saturating_add(days.saturating_mul(DAY));
            let ending = self.accounts.ending_accounts(until).await?;
            if ending.is_empty() {
                return Ok(());
            }
            for one in ending {
                self.tell_of_end(&one, true).await?;
                self.accounts.told_of_end(one.user, one.expires_at).await?;
            }
        }
    }

    /// Tells one of them, by e-mail if there is an address, and in the room of the server's
    /// notices where that is wanted.
    async fn tell_of_end(&self, one: &EndingAccount, speaks: bool) -> Result<bool, StoreError> {
        let link = match one.is_renewable && self.accounts.validity_days().is_some() {
            true => match self.letters.get().and_then(|letters| letters.address()) {
                Some(address) => {
                    let token = self.accounts.make_renewal(one).await?;
                    format!("{address}/{PAGE}/{token}")
                }
                None => String::new(),
            },
            false => String::new(),
        };
        let words = Words {
            server: self.accounts.server_name().as_str(),
            user: one.user_id.as_str(),
            link: &link,
            end: Some(one.expires_at),
        };
        if speaks && let Err(error) = self.say_to(&one.user_id, words.end_as_notice()).await {
            log::warn!(user_id = one.user_id.as_str(); "the end of an account was not told: {error}");
        }
        let (Some(to), Some(letters)) = (&one.email, self.letters.get()) else {
            return Ok(false);
        };
        match letters.write(words.end(to)).await {
            Ok(()) => Ok(true),
            Err(error) => {
                log::warn!(user_id = one.user_id.as_str(); "the end of an account was not written: {error}");
                Ok(false)
            }
        }
    }

    /// Writes to somebody, whose account may have ended, a letter with a link that renews it.
    /// Returns whether there was anything to write and an address to write to.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn write_renewal(&self, session: &Session) -> Result<bool, StoreError> {
        let user: UserSerial = session.user;
        match self.accounts.end_of(user).await? {
            Some(one) if one.is_renewable => self.tell_of_end(&one, false).await,
            _ => Ok(false),
        }
    }
}
