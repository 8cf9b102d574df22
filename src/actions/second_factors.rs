//! What administrators do about second factors of others, and about programs.

use model::UserSerial;
use serde_json::{Value, json};
use store::Snapshot;

use crate::{Actions, AdministrationError, Administrator, Right};

impl Actions {
    /// Removes the second factors of somebody who has lost them.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn reset_second_factor(
        &self,
        by: &Administrator,
        user: &str,
    ) -> Result<Value, AdministrationError> {
        by.must(Right::ResetSecondFactor)?;
        let found = self.user(user).await?;
        by.must_reach(found.account.roles)?;
        self.accounts.reset_factors(by.act(), found.user).await?;
        log::info!(user_id = found.user_id.as_str(); "second factors reset by an administrator");
        Ok(json!({ "user_id": found.user_id }))
    }

    /// Whether somebody has a second factor.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn has_second_factor(
        &self,
        by: &Administrator,
        user: UserSerial,
    ) -> Result<bool, AdministrationError> {
        by.must(Right::ShowPerson)?;
        let read = move |view: &Snapshot| accounts::second_factors(view, user);
        let factors: accounts::SecondFactors = self.rooms.store().read(read).await?;
        Ok(factors != accounts::SecondFactors::default())
    }

    /// Makes a token with which a program administers in somebody's name.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub(crate) async fn make_program_token(
        &self,
        by: &Administrator,
        user: &str,
        name: &str,
        days: u32,
    ) -> Result<Value, AdministrationError> {
        by.must(Right::MakeProgramTokens)?;
        let found = self.user(user).await?;
        by.must_reach(found.account.roles)?;
        let made = self
            .accounts
            .make_program_token(by.act(), found.user, name, days);
        let token = made.await?;
        log::info!(user_id = found.user_id.as_str(); "a token for a program was made");
        Ok(json!({ "user_id": found.user_id, "name": name, "days": days, "token": token }))
    }
}
