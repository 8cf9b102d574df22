//! The verbs of `cairn user`, `cairn invite`, `cairn media`, `cairn database` and `cairn federation`.

use accounts::{
    AccountSummary, ChangePasswordError, Closing, InvitationError, NewAccount, RegisterError,
    account_summary, accounts_after,
};
use model::{Role, Roles};
use peers::PeerListError;
use rooms::AppendError;
use ruma_common::OwnedUserId;
use runtime::Boxed;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use store::{Snapshot, StoreError};

use crate::{
    Actions, Administrator, AuditSelection, DeactivateError, Denied, FileModerationError,
    FileSelection, FileWish, HandshakeError, PeopleError, PeopleWish, Restraint, Right, RoomWish,
    SetProfileError,
};

/// Characters of a generated password: 16 of 64 are 96 random bits.
const PASSWORD_LENGTH: usize = 16;
/// Users of one page of a list.
const PAGE: usize = 500;

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
    /// Gives a user a role, or takes it away.
    ChangeRole {
        /// The localpart or the whole id.
        user: String,
        /// The role; all of them, if none is named.
        role: Option<Role>,
        /// Whether the user is to have it.
        has: bool,
    },
    /// Removes the second factors of somebody who has lost them.
    ResetSecondFactor {
        /// The localpart or the whole id.
        user: String,
    },
    /// Makes a token with which a program administers in somebody's name.
    MakeProgramToken {
        /// The localpart or the whole id.
        user: String,
        /// What the program is called.
        name: String,
        /// For how many days it is.
        days: u32,
    },
    /// Locks or suspends an account, or ends that.
    RestrainUser {
        /// The localpart or the whole id.
        user: String,
        /// What is done.
        restraint: Restraint,
        /// Whether it is done or ended.
        restrained: bool,
        /// What the person is told then.
        #[serde(default)]
        told: Option<String>,
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
    /// Speaks to a server no more.
    FederationBlock {
        /// The server's name.
        server: String,
    },
    /// Speaks to a server that was blocked.
    FederationUnblock {
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
    /// Shows entries of the audit trail.
    ShowAudit {
        /// Which.
        selection: AuditSelection,
    },
    /// Goes through the whole audit trail.
    VerifyAudit {
        /// A number, and the hash in hexadecimal that was noted for it elsewhere.
        noted: Option<(u64, String)>,
    },
    /// Gives lines of the audit trail as they were written.
    ExportAudit {
        /// Behind which number.
        after: u64,
    },
    /// Signs for the whole audit trail up to its end.
    SignAudit,
    /// Says who was in a room.
    RegisterOfRoom {
        /// The room's id, or an alias of it.
        room: String,
        /// When, in ms since the Unix epoch; now if left out.
        at: Option<u64>,
    },
    /// Says in which rooms somebody was.
    RegisterOfPerson {
        /// The localpart or the whole id.
        user: String,
    },
    /// Does something about people beyond their accounts.
    People {
        /// What.
        about: PeopleWish,
    },
    /// Does something with rooms.
    Rooms {
        /// What.
        wish: RoomWish,
    },
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
    /// It is this server's own name.
    #[error("that is this server itself")]
    OwnServer,
    /// The administrator's roles do not allow it (403 `M_FORBIDDEN`).
    #[error(transparent)]
    Denied(#[from] Denied),
    /// It is no hash.
    #[error("{0:?} is no SHA-256: write its 64 hexadecimal digits")]
    Hash(String),
    /// The server cannot sign.
    #[error("the server's key cannot sign this: {0}")]
    Unsigned(String),
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
    /// The user is of another server.
    #[error("this user does not belong to this server")]
    NotLocal,
    /// Nobody takes their own rights away.
    #[error("nobody can take their own role away")]
    Oneself,
    /// It is no e-mail address.
    #[error("{0:?} is no e-mail address")]
    EmailAddress(String),
    /// There is no such room.
    #[error("there is no room {0:?} on this server")]
    UnknownRoom(String),
    /// There is no such event.
    #[error("there is no event {0:?} on this server")]
    UnknownEvent(String),
    /// Nobody of this server has enough power in the room.
    #[error("nobody of this server may change the power levels of this room")]
    NoPower,
    /// The room does not take it.
    #[error(transparent)]
    Room(#[from] AppendError),
    /// The room is not entered.
    #[error(transparent)]
    Entry(#[from] HandshakeError),
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// The marking is lower than the room's.
    #[error("the room is marked {0}: say that its marking is to be lowered")]
    LowerMarking(String),
    /// It needs a reason.
    #[error("say why: this needs a reason, for the audit trail")]
    NoReason,
    /// There is no such report.
    #[error("there is no report {0}")]
    UnknownReport(u64),
    /// The e-mail addresses cannot be had.
    #[error(transparent)]
    Email(#[from] accounts::EmailError),
    /// The profile cannot be set.
    #[error(transparent)]
    Profile(#[from] SetProfileError),
    /// The device cannot be changed.
    #[error(transparent)]
    Device(#[from] accounts::DeviceError),
    /// The second factor cannot be reset, or the token not made.
    #[error(transparent)]
    SecondFactor(#[from] accounts::ConsoleError),
    /// The register has no answer.
    #[error(transparent)]
    Unregistered(#[from] rooms::RegisterError),
    /// What is asked about people cannot be done.
    #[error(transparent)]
    People(#[from] PeopleError),
    /// A list of servers that is not taken.
    #[error(transparent)]
    PeerList(#[from] PeerListError),
}

impl Actions {
    /// Does what an administrator asks, and answers in JSON.
    ///
    /// # Errors
    /// [`AdministrationError`], in words for the administrator.
    pub fn administer<'a>(
        &'a self,
        by: &'a Administrator,
        wish: Administration,
    ) -> Boxed<'a, Result<Value, AdministrationError>> {
        Box::pin(self.grant(by, wish))
    }

    async fn grant(
        &self,
        by: &Administrator,
        wish: Administration,
    ) -> Result<Value, AdministrationError> {
        match wish {
            Administration::CreateUser {
                user,
                password,
                administrator,
            } => self.create_user(by, user, password, administrator).await,
            Administration::ListUsers => self.list_users(by).await,
            Administration::ShowUser { user } => self.show_user(by, &user).await,
            Administration::ResetPassword { user, password } => {
                self.reset_password(by, user, password).await
            }
            Administration::DeactivateUser { user, erase } => {
                self.deactivate_user(by, &user, erase).await
            }
            Administration::ChangeRole { user, role, has } => {
                self.change_role(by, &user, role, has).await
            }
            Administration::ResetSecondFactor { user } => self.reset_second_factor(by, &user).await,
            Administration::MakeProgramToken { user, name, days } => {
                self.make_program_token(by, &user, &name, days).await
            }
            Administration::RestrainUser {
                user,
                restraint,
                restrained,
                told,
            } => {
                by.must(Right::RestrainPerson)?;
                let found = self.user(&user).await?;
                by.must_reach(found.account.roles)?;
                self.set_restraint(by, &found, restraint, restrained, told)
                    .await?;
                Ok(json!({ "user_id": found.user_id }))
            }
            Administration::Files { wish, selection } => {
                self.administer_files(by, wish, &selection).await
            }
            Administration::ListReports => self.list_reports(by).await,
            Administration::CreateInvitations {
                uses,
                expires_after_days,
                count,
            } => {
                self.create_invitations(by, uses, expires_after_days, count)
                    .await
            }
            Administration::ListInvitations => self.list_invitations(by).await,
            Administration::RevokeInvitation { token } => {
                by.must(Right::RevokeInvitation)?;
                self.accounts.revoke_invitation(by.act(), &token).await?;
                log::info!("invitation revoked by an administrator");
                Ok(json!({}))
            }
            Administration::ShowDatabase => self.show_database(by).await,
            Administration::CompactDatabase => self.compact_database(by).await,
            Administration::CopyDatabase => self.copy_database(by).await,
            Administration::FederationStatus => self.federation_status(by).await,
            Administration::FederationCheck { server } => self.federation_check(by, &server).await,
            Administration::FederationRetry { server } => self.federation_retry(by, &server).await,
            Administration::FederationBlock { server } => self.federation_block(by, &server).await,
            Administration::FederationUnblock { server } => {
                self.federation_unblock(by, &server).await
            }
            Administration::FederationForget { server } => {
                self.federation_forget(by, &server).await
            }
            Administration::ImportPeerList { list } => self.import_peer_list(by, &list).await,
            Administration::ExportPeerList => self.export_peer_list(by).await,
            Administration::ShowAudit { selection } => self.show_audit(by, selection).await,
            Administration::VerifyAudit { noted } => self.verify_audit(by, noted).await,
            Administration::ExportAudit { after } => self.export_audit(by, after).await,
            Administration::SignAudit => self.sign_audit(by).await,
            Administration::RegisterOfRoom { room, at } => self.show_room_then(by, &room, at).await,
            Administration::RegisterOfPerson { user } => self.show_person_stays(by, &user).await,
            Administration::People { about } => self.administer_people(by, about).await,
            Administration::Rooms { wish } => self.administer_rooms(by, wish).await,
        }
    }

    async fn create_user(
        &self,
        by: &Administrator,
        user: String,
        password: Option<String>,
        administrator: bool,
    ) -> Result<Value, AdministrationError> {
        by.must(Right::CreatePerson)?;
        let roles = match administrator {
            true => Roles::ADMINISTRATOR,
            false => Roles::NONE,
        };
        if !roles.is_empty() {
            by.must(Right::ChangeRoles)?;
        }
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
        let made = self.accounts.create_account(by.act(), new, roles).await?;
        log::info!(user_id = made.user_id.as_str(), administrator; "account made by an administrator");
        Ok(json!({
            "user_id": made.user_id,
            "administrator": administrator,
            "password": made_up,
        }))
    }

    async fn show_user(
        &self,
        by: &Administrator,
        user: &str,
    ) -> Result<Value, AdministrationError> {
        by.must(Right::ShowPerson)?;
        let found = self.user(user).await?;
        let mut shown = shown(&found);
        shown["suspended"] = self.is_suspended(found.user).await?.into();
        shown["about"] = self.show_about(by, user).await?;
        if by.may(Right::ShowDevices) {
            shown["devices"] = self.devices(&found).await?;
        }
        Ok(shown)
    }

    async fn deactivate_user(
        &self,
        by: &Administrator,
        user: &str,
        erase: bool,
    ) -> Result<Value, AdministrationError> {
        let closing = Closing {
            erase,
            hands_over: true,
            to: None,
        };
        self.close_account(by, user, closing).await?;
        let found = self.user(user).await?;
        Ok(json!({ "user_id": found.user_id }))
    }

    async fn change_role(
        &self,
        by: &Administrator,
        user: &str,
        role: Option<Role>,
        has: bool,
    ) -> Result<Value, AdministrationError> {
        by.must(Right::ChangeRoles)?;
        let found = self.user(user).await?;
        let change = move |roles: Roles| match (role, has) {
            (Some(role), true) => roles.with(role),
            (Some(role), false) => roles.without(role),
            (None, true) => Role::ALL.into_iter().collect(),
            (None, false) => Roles::NONE,
        };
        let changed = self.accounts.change_roles(by.act(), found.user, change);
        let roles = changed.await?;
        log::info!(user_id = found.user_id.as_str(), roles:? = roles.names(); "roles changed");
        Ok(json!({ "user_id": found.user_id, "roles": roles.names() }))
    }

    async fn reset_password(
        &self,
        by: &Administrator,
        user: String,
        password: Option<String>,
    ) -> Result<Value, AdministrationError> {
        by.must(Right::ResetPassword)?;
        let found = self.user(&user).await?;
        by.must_reach(found.account.roles)?;
        let made_up = password.is_none().then(|| self.password());
        let new = password.or_else(|| made_up.clone()).unwrap_or_default();
        self.accounts
            .reset_password(by.act(), found.user, new)
            .await?;
        log::info!(user_id = found.user_id.as_str(); "password reset by an administrator");
        Ok(json!({ "user_id": found.user_id, "password": made_up }))
    }

    async fn list_users(&self, by: &Administrator) -> Result<Value, AdministrationError> {
        by.must(Right::ListPeople)?;
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

    /// The account that an administrator means.
    pub(crate) async fn user(&self, typed: &str) -> Result<AccountSummary, AdministrationError> {
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
        "administrator": found.account.is_admin(),
        "roles": found.account.roles.names(),
        "locked": found.account.is_locked,
        "deactivated": found.account.deactivated_at.is_some(),
        "created_at": found.account.created_at,
    })
}
