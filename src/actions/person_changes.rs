//! What administrators change of an account in one go.

use accounts::{AccountSummary, Closing, NewAccount, Session, account_summary};
use model::{DeviceSerial, PersonKind, Role, Roles};
use ruma_common::{OwnedUserId, UserId};
use serde_json::Value;
use store::Snapshot;

use crate::{Actions, AdministrationError, Administrator, Restraint, Right};

/// What is to be changed of an account; what is left out stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PersonChanges {
    /// The password.
    pub password: Option<String>,
    /// Whether devices stay signed in when the password is another one.
    pub keeps_devices: bool,
    /// The name that the person goes by; none if it is empty.
    pub display_name: Option<String>,
    /// Where the person's picture is; none if it is empty.
    pub avatar_url: Option<String>,
    /// All e-mail addresses.
    pub emails: Option<Vec<String>>,
    /// Whether the person administers the server.
    pub administers: Option<bool>,
    /// Whether the account is closed for ever, which cannot be undone.
    pub deactivated: Option<bool>,
    /// Whether the account is locked.
    pub locked: Option<bool>,
    /// What the person is to this server.
    pub kind: Option<PersonKind>,
}

/// Whether an account was there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewPerson {
    /// It was made.
    Made,
    /// It was changed.
    Known,
}

impl Actions {
    /// Makes an account if there is none of that name, and changes it.
    ///
    /// # Errors
    /// [`AdministrationError`]. What is not allowed or not possible is refused before anything
    /// was changed.
    pub async fn put_person(
        &self,
        by: &Administrator,
        user_id: &UserId,
        mut changes: PersonChanges,
    ) -> Result<NewPerson, AdministrationError> {
        if self.found(user_id).await?.is_some() {
            self.change_person(by, user_id, changes).await?;
            return Ok(NewPerson::Known);
        }
        by.must(Right::CreatePerson)?;
        self.may_change(by, Roles::NONE, &changes)?;
        let roles = match changes.administers.take() {
            Some(true) => Roles::ADMINISTRATOR,
            _ => Roles::NONE,
        };
        let new = NewAccount {
            username: Some(user_id.localpart().to_owned()),
            password: changes.password.take(),
            display_name: changes.display_name.take(),
            inhibit_login: true,
            ..NewAccount::default()
        };
        self.accounts.create_account(by.act(), new, roles).await?;
        log::info!(user_id = user_id.as_str(); "account made by an administrator");
        let rest = PersonChanges {
            deactivated: changes.deactivated.filter(|is| *is),
            locked: changes.locked.filter(|is| *is),
            ..changes
        };
        if rest != PersonChanges::default() {
            self.change_person(by, user_id, rest).await?;
        }
        Ok(NewPerson::Made)
    }

    /// Changes an account.
    ///
    /// # Errors
    /// As [`Actions::put_person`].
    pub async fn change_person(
        &self,
        by: &Administrator,
        user_id: &UserId,
        changes: PersonChanges,
    ) -> Result<(), AdministrationError> {
        let found = self.found(user_id).await?;
        let unknown = || AdministrationError::UnknownUser(user_id.to_string());
        let found = found.ok_or_else(unknown)?;
        self.may_change(by, found.account.roles, &changes)?;
        if changes.deactivated == Some(false) && found.account.deactivated_at.is_some() {
            return Err(accounts::AdministrationError::Deactivated.into());
        }
        if changes.administers == Some(false) && by.user() == Some(found.user) {
            return Err(AdministrationError::Oneself);
        }
        let fields = [
            ("displayname", changes.display_name),
            ("avatar_url", changes.avatar_url),
        ];
        for (field, value) in fields {
            if let Some(value) = value {
                self.set_profile_of(by, &found, field, value).await?;
            }
        }
        if let Some(emails) = changes.emails {
            let replaced = self.accounts.replace_emails(by.act(), found.user, emails);
            replaced.await?;
        }
        if let Some(password) = changes.password {
            let keeps = changes.keeps_devices;
            self.accounts
                .replace_password(by.act(), found.user, password, keeps)
                .await?;
        }
        if let Some(administers) = changes.administers
            && administers != found.account.is_admin()
        {
            let change = move |roles: Roles| match administers {
                true => roles.with(Role::Administrator),
                false => roles.without(Role::Administrator),
            };
            self.accounts
                .change_roles(by.act(), found.user, change)
                .await?;
        }
        if let Some(kind) = changes.kind {
            let organisation = self.about_person(by, found.user_id.as_str()).await?;
            self.set_kind_of(by, found.user_id.as_str(), kind, organisation.organisation)
                .await?;
        }
        if let Some(locked) = changes.locked
            && locked != found.account.is_locked
        {
            self.set_restraint(by, &found, Restraint::Lock, locked, None)
                .await?;
        }
        if changes.deactivated == Some(true) && found.account.deactivated_at.is_none() {
            let closing = Closing {
                hands_over: true,
                ..Closing::default()
            };
            self.close_account(by, found.user_id.as_str(), closing)
                .await?;
        }
        Ok(())
    }

    /// Refuses what somebody's roles do not allow, and what can be known not to work.
    fn may_change(
        &self,
        by: &Administrator,
        target: Roles,
        changes: &PersonChanges,
    ) -> Result<(), AdministrationError> {
        by.must_reach(target)?;
        let asked = [
            (changes.password.is_some(), Right::ResetPassword),
            (changes.display_name.is_some(), Right::ChangeProfile),
            (changes.avatar_url.is_some(), Right::ChangeProfile),
            (changes.emails.is_some(), Right::ChangeEmails),
            (changes.administers == Some(true), Right::ChangeRoles),
            (
                changes.administers == Some(false) && target.has(Role::Administrator),
                Right::ChangeRoles,
            ),
            (changes.deactivated == Some(true), Right::DeactivatePerson),
            (changes.locked == Some(true), Right::RestrainPerson),
            (changes.kind.is_some(), Right::ChangeKind),
        ];
        for (is_asked, right) in asked {
            if is_asked {
                by.must(right)?;
            }
        }
        if let Some(password) = &changes.password {
            let checked = self.accounts.check_new_password(password);
            checked.map_err(accounts::ChangePasswordError::from)?;
        }
        for email in changes.emails.iter().flatten() {
            if accounts::canonical_email(email).is_none() {
                return Err(AdministrationError::EmailAddress(email.clone()));
            }
        }
        Ok(())
    }

    async fn set_profile_of(
        &self,
        by: &Administrator,
        found: &AccountSummary,
        field: &str,
        value: String,
    ) -> Result<(), AdministrationError> {
        // Nothing in the text is nothing in the profile.
        let session = acting_as(found);
        self.set_profile_field_of(by.act(), &session, field, &Value::from(value))
            .await?;
        Ok(())
    }

    async fn found(&self, user_id: &UserId) -> Result<Option<AccountSummary>, AdministrationError> {
        if !self.accounts.is_local(user_id) {
            return Err(AdministrationError::NotLocal);
        }
        let user_id: OwnedUserId = user_id.to_owned();
        let read = move |view: &Snapshot| account_summary(view, &user_id);
        Ok(self.rooms.store().read(read).await?)
    }
}

/// Somebody in whose name the server acts, on no device of theirs.
pub(crate) fn acting_as(found: &AccountSummary) -> Session {
    Session {
        user_id: found.user_id.clone(),
        user: found.user,
        device_id: "".into(),
        device: DeviceSerial(found.user.0),
        roles: found.account.roles,
        is_guest: false,
        lacks_second_factor: false,
        service: None,
        own_rate: None,
    }
}
