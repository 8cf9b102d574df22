//! The verbs of `cairn user`, `cairn invite`, `cairn media`, `cairn database` and `cairn federation`.

use accounts::{
    AccountSummary, ChangePasswordError, InvitationError, NewAccount, NewInvitation, RegisterError,
    account_summary, accounts_after,
};
use peers::PeerListError;
use ruma_common::OwnedUserId;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use store::{Snapshot, StoreError};

use crate::{Actions, DeactivateError, FileModerationError, FileSelection, FileWish, Restraint};

/// Characters of a generated password: 16 of 64 are 96 random bits.
const PASSWORD_LENGTH: usize = 16;
/// Users of one page of a list.
const PAGE: usize = 500;
/// Milliseconds of a day.
const DAY: u64 = 24 * 60 * 60 * 1000;

/// What an administrator can ask for. The command line sends it over the running
/// server's socket, or does it itself when no server runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "snake_case", deny_unknown_fields)]
pub enum Administration {
    /// Makes an account. Without a password one is made up and answered.
    CreateUser {
        /// The localpart or the whole id.
        user: String,
        /// The password.
        password: Option<String>,
        /// Whether the user administers the server.
        administrator: bool,
    },
    /// Lists the accounts.
    ListUsers,
    /// Shows one account.
    ShowUser {
        /// The localpart or the whole id.
        user: String,
    },
    /// Sets another password and signs out every device.
    ResetPassword {
        /// The localpart or the whole id.
        user: String,
        /// The password; made up and answered if there is none.
        password: Option<String>,
    },
    /// Closes an account for ever.
    DeactivateUser {
        /// The localpart or the whole id.
        user: String,
        /// Whether to hide what the user wrote from those who join later.
        erase: bool,
    },
    /// Makes a user an administrator, or takes that away.
    SetAdministrator {
        /// The localpart or the whole id.
        user: String,
        /// Which of the two.
        administrator: bool,
    },
    /// Locks or suspends an account, or ends that.
    RestrainUser {
        /// The localpart or the whole id.
        user: String,
        /// What is done.
        restraint: Restraint,
        /// Whether it is done or ended.
        restrained: bool,
    },
    /// Does something with files.
    Files {
        /// What.
        wish: FileWish,
        /// With which.
        selection: FileSelection,
    },
    /// Lists what people have reported, the newest first.
    ListReports,
    /// Makes invitations that are alike.
    CreateInvitations {
        /// How many people may register with each.
        uses: u32,
        /// When it ends.
        expires_after_days: Option<u32>,
        /// How many such invitations.
        count: u32,
    },
    /// Lists the invitations.
    ListInvitations,
    /// Ends an invitation.
    RevokeInvitation {
        /// The token, or its name in the list.
        token: String,
    },
    /// Says how many events there are and what the database takes.
    ShowDatabase,
    /// Compacts the database.
    CompactDatabase,
    /// Copies the database as it is at some instant into the folder `checkpoint` in the data
    /// folder, in place of an earlier copy. Who asks removes it.
    CopyDatabase,
    /// Says how this server stands with others.
    FederationStatus,
    /// Looks at everything that must be right for a conversation with a server.
    FederationCheck {
        /// The server's name.
        server: String,
    },
    /// Has a server tried now that is left alone because it did not answer.
    FederationRetry {
        /// The server's name.
        server: String,
    },
    /// Forgets what waits for a server.
    FederationForget {
        /// The server's name.
        server: String,
    },
    /// Puts a signed list of servers in force.
    ImportPeerList {
        /// The list.
        list: String,
    },
    /// Gives the signed list of servers in force.
    ExportPeerList,
}

/// Why an administrator's wish was not done.
#[derive(Debug, thiserror::Error)]
pub enum AdministrationError {
    /// There is no such user.
    #[error("there is no user {0:?} on this server")]
    UnknownUser(String),
    /// It is no server's name.
    #[error("{0:?} is no server name")]
    ServerName(String),
    /// The account cannot be made.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// The password cannot be set.
    #[error(transparent)]
    Password(#[from] ChangePasswordError),
    /// The account cannot be changed.
    #[error(transparent)]
    Account(#[from] accounts::AdministrationError),
    /// The account cannot be closed.
    #[error(transparent)]
    Deactivate(#[from] DeactivateError),
    /// The invitations cannot be made, or the one cannot be ended.
    #[error(transparent)]
    Invitation(#[from] InvitationError),
    /// The files are not here, or cannot be dealt with.
    #[error(transparent)]
    Files(#[from] FileModerationError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A list of servers that is not taken.
    #[error(transparent)]
    PeerList(#[from] PeerListError),
}

impl Actions {
    /// Does what an administrator asks, and answers in JSON.
    ///
    /// # Errors
    /// [`AdministrationError`], in words for the administrator.
    pub async fn administer(&self, wish: Administration) -> Result<Value, AdministrationError> {
        match wish {
            Administration::CreateUser {
                user,
                password,
                administrator,
            } => self.create_user(user, password, administrator).await,
            Administration::ListUsers => self.list_users().await,
            Administration::ShowUser { user } => {
                let found = self.user(&user).await?;
                let devices = self.devices(&found).await?;
                let suspended = self.is_suspended(found.user).await?;
                let mut shown = shown(&found);
                shown["suspended"] = suspended.into();
                shown["devices"] = devices;
                Ok(shown)
            }
            Administration::ResetPassword { user, password } => {
                self.reset_password(user, password).await
            }
            Administration::DeactivateUser { user, erase } => {
                let found = self.user(&user).await?;
                self.deactivate(&found.user_id, found.user, erase).await?;
                log::info!(user_id = found.user_id.as_str(), erase; "account deactivated by an administrator");
                Ok(json!({ "user_id": found.user_id }))
            }
            Administration::SetAdministrator {
                user,
                administrator,
            } => {
                let found = self.user(&user).await?;
                self.accounts.set_admin(found.user, administrator).await?;
                log::info!(user_id = found.user_id.as_str(), administrator; "administrator's role changed");
                Ok(json!({ "user_id": found.user_id, "administrator": administrator }))
            }
            Administration::RestrainUser {
                user,
                restraint,
                restrained,
            } => {
                let found = self.user(&user).await?;
                self.set_restraint(&found, restraint, restrained).await?;
                Ok(json!({ "user_id": found.user_id }))
            }
            Administration::Files { wish, selection } => {
                self.administer_files(wish, &selection).await
            }
            Administration::ListReports => self.list_reports().await,
            Administration::CreateInvitations {
                uses,
                expires_after_days,
                count,
            } => {
                self.create_invitations(uses, expires_after_days, count)
                    .await
            }
            Administration::ListInvitations => self.list_invitations().await,
            Administration::RevokeInvitation { token } => {
                self.accounts.revoke_invitation(&token).await?;
                log::info!("invitation revoked by an administrator");
                Ok(json!({}))
            }
            Administration::ShowDatabase => self.show_database().await,
            Administration::CompactDatabase => self.compact_database().await,
            Administration::CopyDatabase => self.copy_database().await,
            Administration::FederationStatus => self.federation_status().await,
            Administration::FederationCheck { server } => self.federation_check(&server).await,
            Administration::FederationRetry { server } => self.federation_retry(&server).await,
            Administration::FederationForget { server } => self.federation_forget(&server).await,
            Administration::ImportPeerList { list } => self.import_peer_list(&list).await,
            Administration::ExportPeerList => self.export_peer_list().await,
        }
    }

    async fn create_user(
        &self,
        user: String,
        password: Option<String>,
        administrator: bool,
    ) -> Result<Value, AdministrationError> {
        let made_up = password.is_none().then(|| self.password());
        let localpart = self
            .accounts
            .typed_user_id(&user)
            .map_or(user, |user_id| user_id.localpart().to_owned());
        let new = NewAccount {
            username: Some(localpart),
            password: password.or_else(|| made_up.clone()),
            inhibit_login: true,
            ..NewAccount::default()
        };
        let made = self.accounts.create_account(new, administrator).await?;
        log::info!(user_id = made.user_id.as_str(), administrator; "account made by an administrator");
        Ok(json!({
            "user_id": made.user_id,
            "administrator": administrator,
            "password": made_up,
        }))
    }

    async fn reset_password(
        &self,
        user: String,
        password: Option<String>,
    ) -> Result<Value, AdministrationError> {
        let found = self.user(&user).await?;
        let made_up = password.is_none().then(|| self.password());
        let new = password.or_else(|| made_up.clone()).unwrap_or_default();
        self.accounts.reset_password(found.user, new).await?;
        log::info!(user_id = found.user_id.as_str(); "password reset by an administrator");
        Ok(json!({ "user_id": found.user_id, "password": made_up }))
    }

    async fn list_users(&self) -> Result<Value, AdministrationError> {
        let mut users = Vec::new();
        let mut after = None;
        loop {
            let page: Vec<AccountSummary> = self
                .rooms
                .store()
                .read_long(move |view| accounts_after(view, after, PAGE))
                .await?;
            after = page.last().map(|last| last.user);
            users.extend(page.iter().map(shown));
            if page.len() < PAGE {
                return Ok(json!({ "users": users }));
            }
        }
    }

    async fn create_invitations(
        &self,
        uses: u32,
        expires_after_days: Option<u32>,
        count: u32,
    ) -> Result<Value, AdministrationError> {
        let expires_at = expires_after_days.map(|days| self.clock.now().0 + u64::from(days) * DAY);
        let new = NewInvitation {
            uses_allowed: Some(uses),
            expires_at,
            created_by: None,
        };
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let tokens = self.accounts.create_invitations(new, count).await?;
        log::info!(uses, count; "invitations made by an administrator");
        let made: Vec<Value> = tokens
            .iter()
            .map(|token| json!({ "token": token, "uses": uses, "expires_at": expires_at }))
            .collect();
        Ok(json!({ "invitations": made }))
    }

    async fn list_invitations(&self) -> Result<Value, AdministrationError> {
        let invitations = self.accounts.invitations().await?;
        let shown: Vec<Value> = invitations
            .iter()
            .map(|invitation| {
                json!({
                    "name": invitation.name,
                    "uses": invitation.uses,
                    "uses_allowed": invitation.uses_allowed,
                    "created_at": invitation.created_at,
                    "expires_at": invitation.expires_at,
                })
            })
            .collect();
        Ok(json!({ "invitations": shown }))
    }

    /// The account that an administrator means.
    async fn user(&self, typed: &str) -> Result<AccountSummary, AdministrationError> {
        let unknown = || AdministrationError::UnknownUser(typed.to_owned());
        let user_id: OwnedUserId = self.accounts.typed_user_id(typed).ok_or_else(unknown)?;
        let find = move |view: &Snapshot| account_summary(view, &user_id);
        let found: Option<AccountSummary> = self.rooms.store().read(find).await?;
        found.ok_or_else(unknown)
    }

    async fn devices(&self, found: &AccountSummary) -> Result<Value, AdministrationError> {
        let user = found.user;
        let devices: Vec<accounts::Device> = self
            .rooms
            .store()
            .read(move |view| accounts::devices(view, user))
            .await?;
        let shown: Vec<Value> = devices
            .iter()
            .map(|device| json!({ "device_id": device.device_id, "display_name": device.display_name }))
            .collect();
        Ok(Value::from(shown))
    }

    fn password(&self) -> String {
        self.random.token().chars().take(PASSWORD_LENGTH).collect()
    }
}

fn shown(found: &AccountSummary) -> Value {
    json!({
        "user_id": found.user_id,
        "display_name": found.display_name,
        "administrator": found.account.is_admin,
        "locked": found.account.is_locked,
        "deactivated": found.account.deactivated_at.is_some(),
        "created_at": found.account.created_at,
    })
}
