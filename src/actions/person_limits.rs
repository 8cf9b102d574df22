//! What one person may use, where that is not what everybody may.

use model::{PersonLimits, PersonRecord};
use serde::{Deserialize, Serialize};

use crate::{Actions, AdministrationError, Administrator, Right};

/// What is to be changed of a person's limits; what is left out stays. `None` inside: as
/// everybody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LimitChanges {
    /// Whether all limits of their own are taken away first.
    pub reset: bool,
    /// Requests in each second; no limit at all if 0.
    pub requests_per_second: Option<u64>,
    /// Requests at once.
    pub burst: Option<u64>,
    /// Bytes of files.
    pub media_bytes: Option<u64>,
    /// Devices that are signed in.
    pub devices: Option<u32>,
}

impl LimitChanges {
    fn of(self, before: PersonLimits) -> PersonLimits {
        let before = match self.reset {
            true => PersonLimits::default(),
            false => before,
        };
        PersonLimits {
            requests_per_second: self.requests_per_second.or(before.requests_per_second),
            burst: self.burst.or(before.burst),
            media_bytes: self.media_bytes.or(before.media_bytes),
            devices: self.devices.or(before.devices),
        }
    }
}

impl Actions {
    /// What is known of a person beside the account.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn about_person(
        &self,
        by: &Administrator,
        user: &str,
    ) -> Result<PersonRecord, AdministrationError> {
        by.must(Right::ShowPerson)?;
        self.read_of(user, accounts::person).await
    }

    /// The names of a person's departments.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn departments_of(
        &self,
        by: &Administrator,
        user: &str,
    ) -> Result<Vec<String>, AdministrationError> {
        by.must(Right::ShowPerson)?;
        self.read_of(user, accounts::departments_of).await
    }

    /// Gives a person limits of their own, or takes them away. Returns those from now on.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn change_limits_of(
        &self,
        by: &Administrator,
        user: &str,
        changes: LimitChanges,
    ) -> Result<PersonLimits, AdministrationError> {
        by.must(Right::ChangeLimits)?;
        let found = self.user(user).await?;
        by.must_reach(found.account.roles)?;
        let change = move |before| changes.of(before);
        self.accounts
            .set_limits(by.act(), found.user, change)
            .await?;
        log::info!(user_id = found.user_id.as_str(); "the limits of a person were set");
        let person = self.read_of(user, accounts::person);
        Ok(person.await?.limits)
    }
}
