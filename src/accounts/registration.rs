//! Registration: making accounts.

use std::collections::BTreeMap;

use audit::{Act, Verb, Who};
use model::{
    AccountRecord, Changes, EmailPurpose, LogEntry, PersonKind, PersonRecord, Roles,
    StandingRecord, TokenHash, UserSerial, intern_user,
    tables::{ACCOUNT_BY_USER, PASSWORD_BY_USER, PROFILE_FIELD_BY_USER, STANDING_BY_USER},
};
use ruma_client_api::uiaa::{AuthFlow, AuthType};
use ruma_common::{OwnedDeviceId, OwnedUserId};
use runtime::LaneError;
use serde_json::json;
use store::{Batch, Latest, Position, Read as _, StoreError};

use crate::{
    AccountDataError, Accounts, DeviceError, EmailError, GuestProof, InvitationError,
    InvitationProof, Passed, PasswordError, ProfileError, RegistrationMode, SignedIn,
    UsernameError,
    account_data::{self, NewAccountData},
    display_name_and_avatar, emails, guests, invitations, people_lists, person,
    profiles::{self, DISPLAY_NAME},
    push_rules,
    signing_in::SessionDraft,
    user_directory,
};

/// An account that is to be made.
#[derive(Clone, Default)]
pub struct NewAccount {
    /// The localpart of its user id; drawn if `None`.
    pub username: Option<String>,
    /// The password. An account without one is used with the tokens it gets now, or after an administrator gave it one.
    pub password: Option<String>,
    /// The name that the user goes by; none to begin with if `None` or empty.
    pub display_name: Option<String>,
    /// The device to sign in; a new id if `None`.
    pub device_id: Option<OwnedDeviceId>,
    /// The name of that device.
    pub initial_device_display_name: Option<String>,
    /// Whether no device is to be signed in.
    pub inhibit_login: bool,
    /// Whether the client can refresh tokens.
    pub refresh_token: bool,
    /// The network address of whoever makes it, for the audit trail.
    pub from: Option<String>,
}

/// An account that was just made.
#[derive(Clone)]
pub struct Registered {
    /// The user's id.
    pub user_id: OwnedUserId,
    /// The user's serial.
    pub user: UserSerial,
    /// The session, unless login was inhibited.
    pub session: Option<SignedIn>,
}

/// Why no account was made.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RegisterError {
    /// The name cannot be had.
    #[error(transparent)]
    Username(#[from] UsernameError),
    /// The password is not taken.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The display name cannot be had.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// There is no password (`M_MISSING_PARAM`).
    #[error("an account needs a password")]
    PasswordMissing,
    /// There are no guests here (403 `M_FORBIDDEN`).
    #[error("this server takes no guests")]
    NoGuests,
    /// The guest's token, or the name, is not the guest's (403 `M_FORBIDDEN`).
    #[error("this is not the token of a guest with this name")]
    NotAGuest,
    /// Nobody can register (403 `M_FORBIDDEN`).
    #[error("nobody can register on this server")]
    Closed,
    /// The invitation is missing or was used up, ended or revoked meanwhile (`M_FORBIDDEN`).
    #[error("registering needs an invitation that is still valid")]
    Invitation,
    /// The e-mail address cannot be had.
    #[error(transparent)]
    Email(#[from] EmailError),
    /// The device cannot be had.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// Too many passwords wait to be hashed; later it may work.
    #[error("too many people register at the same time")]
    Busy,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<LaneError> for RegisterError {
    fn from(_: LaneError) -> Self {
        Self::Busy
    }
}

/// Who makes an account.
#[derive(Clone, Copy)]
pub(crate) enum Maker<'a> {
    /// Somebody who registers.
    Newcomer,
    /// An administrator.
    Administrator {
        /// Who it is.
        act: &'a Act,
        /// The new user's roles.
        roles: Roles,
    },
    /// An application service, by its id.
    Service(&'a str),
    /// The registration of a service, which names the service's own user.
    Registration,
}

/// All that is drawn and computed before the commit.
struct Draft {
    act: Act,
    user_id: OwnedUserId,
    candidate: u64,
    account: AccountRecord,
    display_name: Option<Vec<u8>>,
    password: Option<String>,
    push_rules: Vec<u8>,
    session: Option<SessionDraft>,
    invitation: Option<TokenHash>,
    /// The confirmation of the e-mail address that it is to have.
    email: Option<TokenHash>,
    standing: StandingRecord,
    /// The account of a guest who stays.
    guest: Option<UserSerial>,
    /// When the account ends, if nobody renews it.
    expires_at: Option<u64>,
}

impl Accounts {
    /// Who may register.
    pub fn registration_mode(&self) -> RegistrationMode {
        self.inner.registration.mode
    }

    /// How one proves that one may register; none if nobody may. Where e-mail can be sent one
    /// may, or must, confirm an address too.
    pub fn registration_flows(&self) -> Vec<AuthFlow> {
        let stage = match self.registration_mode() {
            RegistrationMode::Closed => return Vec::new(),
            RegistrationMode::Open => AuthType::Dummy,
            RegistrationMode::Invite => AuthType::RegistrationToken,
        };
        let plain = self.with_policies(stage);
        if !self.offers_email() {
            return vec![plain];
        }
        let mut with_email = plain.clone();
        with_email.stages.push(AuthType::EmailIdentity);
        if self.inner.registration.require_email {
            return vec![with_email];
        }
        vec![plain, with_email]
    }

    /// A stage, and the acceptance of the server's policies if it has some.
    fn with_policies(&self, stage: AuthType) -> AuthFlow {
        let has_policies = !self.inner.registration.policies.is_empty();
        let terms = has_policies.then_some(AuthType::Terms);
        AuthFlow::new([stage].into_iter().chain(terms).collect())
    }

    /// Makes an account for somebody who has passed one of [`Accounts::registration_flows`]. An invitation is used in the same commit, also where none is
    /// needed.
    ///
    /// # Errors
    /// [`RegisterError`]; then nothing was used up.
    pub async fn register(
        &self,
        new: NewAccount,
        invitation: Option<InvitationProof>,
    ) -> Result<Registered, RegisterError> {
        let passed = Passed {
            invitation,
            email: None,
        };
        self.register_or_keep(new, passed, None).await
    }

    /// [`Accounts::register`], where a guest may keep the account that they have.
    ///
    /// # Errors
    /// [`RegisterError`]; then nothing was used up.
    pub async fn register_or_keep(
        &self,
        new: NewAccount,
        passed: Passed,
        guest: Option<GuestProof>,
    ) -> Result<Registered, RegisterError> {
        let invitation = passed.invitation;
        let invitation = match self.registration_mode() {
            RegistrationMode::Closed => return Err(RegisterError::Closed),
            RegistrationMode::Open => invitation.map(|proof| proof.0),
            RegistrationMode::Invite => Some(invitation.ok_or(RegisterError::Invitation)?.0),
        };
        if new.password.is_none() {
            return Err(RegisterError::PasswordMissing);
        }
        let mut draft = self
            .draft_account(new, Maker::Newcomer, invitation, guest.is_some())
            .await?;
        if let Some(guest) = guest {
            // The name was proved to be the guest's own.
            if guest.user_id != draft.user_id {
                return Err(RegisterError::NotAGuest);
            }
            draft.guest = Some(guest.user);
        }
        draft.email = passed.email.map(|proof| proof.id);
        draft.standing.accepted = self.policies_accepted();
        self.write_account(draft).await
    }

    /// Makes an account in the name of an administrator, whoever may register.
    ///
    /// # Errors
    /// [`RegisterError`].
    pub async fn create_account(
        &self,
        act: &Act,
        new: NewAccount,
        roles: Roles,
    ) -> Result<Registered, RegisterError> {
        let maker = Maker::Administrator { act, roles };
        self.make_account(new, maker, None, StandingRecord::default())
            .await
    }

    /// What newcomers have accepted when they have an account.
    pub(crate) fn policies_accepted(&self) -> BTreeMap<String, String> {
        let options = &self.inner.registration;
        let version = &options.policies_version;
        let policies = options.policies.keys();
        policies
            .map(|name| (name.clone(), version.clone()))
            .collect()
    }

    pub(crate) async fn make_account(
        &self,
        new: NewAccount,
        maker: Maker<'_>,
        invitation: Option<TokenHash>,
        standing: StandingRecord,
    ) -> Result<Registered, RegisterError> {
        let mut draft = self.draft_account(new, maker, invitation, false).await?;
        draft.standing = standing;
        self.write_account(draft).await
    }

    async fn write_account(&self, draft: Draft) -> Result<Registered, RegisterError> {
        let sessions = self.inner.sessions.clone();
        let (user_id, session) = (draft.user_id.clone(), draft.session.clone());
        let user = self
            .store()
            .commit(move |latest, position, batch| {
                let guest = draft.guest;
                let user = draft.write(latest, position, batch)?;
                // What a guest's sessions may do has changed.
                if guest.is_some() {
                    sessions.evict_user(user, position);
                }
                Ok::<_, RegisterError>(user)
            })
            .await?;
        Ok(Registered {
            session: session.map(|session| session.into_signed_in(user_id.clone())),
            user_id,
            user,
        })
    }

    async fn draft_account(
        &self,
        new: NewAccount,
        maker: Maker<'_>,
        invitation: Option<TokenHash>,
        is_known: bool,
    ) -> Result<Draft, RegisterError> {
        let username = new.username.unwrap_or_else(|| self.draw_username());
        // Refused early, so that a password is not hashed in vain.
        let user_id = self.check_maker(&username, maker, is_known).await?;
        let display_name = match new.display_name {
            None => None,
            Some(name) => profiles::new_display_name(&name)?,
        };
        let session = match new.inhibit_login {
            true => None,
            false => Some(self.draft_session(
                new.device_id,
                new.initial_device_display_name,
                new.refresh_token,
            )?),
        };
        let password = match new.password {
            None => None,
            Some(password) => {
                self.check_new_password(&password)?;
                Some(self.inner.hasher.hash(password).await?)
            }
        };
        let act = match maker {
            Maker::Administrator { act, .. } => act.clone(),
            Maker::Newcomer => Act::person(user_id.as_str(), new.from),
            Maker::Service(id) => Act::of(Who::Server, Some(format!("application service {id}"))),
            Maker::Registration => Act::server(),
        };
        Ok(Draft {
            act,
            push_rules: push_rules::server_default(
                &user_id,
                self.inner.options.thread_subscriptions,
            ),
            user_id,
            candidate: self.store().next_serial(),
            account: AccountRecord {
                created_at: self.now(),
                roles: match maker {
                    Maker::Administrator { roles, .. } => roles,
                    _ => Roles::NONE,
                },
                is_locked: false,
                deactivated_at: None,
                is_erased: false,
            },
            display_name,
            password,
            session,
            invitation,
            email: None,
            standing: StandingRecord::default(),
            guest: None,
            expires_at: match maker {
                Maker::Newcomer => self.default_end(),
                Maker::Administrator { roles, .. } if roles.is_empty() => self.default_end(),
                _ => None,
            },
        })
    }

    /// The user id of that name, if it is free, or known to be the maker's own, and may be
    /// made by `maker`.
    async fn check_maker(
        &self,
        username: &str,
        maker: Maker<'_>,
        is_known: bool,
    ) -> Result<OwnedUserId, UsernameError> {
        let (user_id, service) = match maker {
            Maker::Service(id) => (self.new_user_id_of_service(username)?, Some(id)),
            Maker::Registration => (self.new_user_id_of_service(username)?, None),
            Maker::Newcomer | Maker::Administrator { .. } => (self.new_user_id(username)?, None),
        };
        if !is_known {
            self.check_free(user_id.clone()).await?;
        }
        match maker {
            Maker::Newcomer | Maker::Service(_) => self.services().check_user(&user_id, service)?,
            // Who administers the server may give away what is reserved on it.
            Maker::Administrator { .. } | Maker::Registration => {}
        }
        Ok(user_id)
    }

    /// A user name nobody has asked for: twelve letters.
    fn draw_username(&self) -> String {
        let letters = self.inner.random.bytes::<12>();
        letters
            .map(|byte| char::from(b'a' + byte % 26))
            .iter()
            .collect()
    }
}

impl Draft {
    fn write(
        self,
        latest: &Latest,
        position: Position,
        batch: &mut Batch,
    ) -> Result<UserSerial, RegisterError> {
        let user = intern_user(latest, batch, self.user_id.as_str(), self.candidate)?;
        let known = latest.get(&ACCOUNT_BY_USER, &user)?;
        let stays = self.guest == Some(user) && guests::is_guest(latest, user)?;
        if known.is_some() && !stays {
            return Err(UsernameError::Taken.into());
        }
        if let Some(invitation) = &self.invitation {
            let now = self.account.created_at;
            invitations::use_up(latest, batch, invitation, now).map_err(|error| match error {
                InvitationError::Store(error) => RegisterError::Store(error),
                InvitationError::NotFound | InvitationError::TooMany => RegisterError::Invitation,
            })?;
        }
        if let Some(id) = &self.email {
            let now = self.account.created_at;
            emails::adopt(latest, batch, id, EmailPurpose::Register, user, now)?;
        }
        let mut changes = Changes::at(position);
        let account = known.unwrap_or_else(|| self.account.clone());
        batch.put(&ACCOUNT_BY_USER, &user, &account);
        if self.standing == StandingRecord::default() {
            batch.delete(&STANDING_BY_USER, &user);
        } else {
            batch.put(&STANDING_BY_USER, &user, &self.standing);
        }
        let name = self.display_name.as_deref();
        let mut name: Option<String> = name.and_then(|json| serde_json::from_slice(json).ok());
        // Guests are nobody whom one looks for.
        if !self.standing.is_guest {
            user_directory::add(batch, user, &self.user_id, name.as_deref());
        }
        if stays && name.is_none() {
            name = display_name_and_avatar(latest, user)?.0;
        }
        let listed = people_lists::new(&account, &self.standing, PersonKind::Member, name);
        people_lists::list(latest, batch, (user, self.user_id.as_str()), &listed)?;
        if let Some(password) = &self.password {
            batch.put(&PASSWORD_BY_USER, &user, password);
        }
        if let Some(name) = &self.display_name {
            batch.put(
                &PROFILE_FIELD_BY_USER,
                &(user, DISPLAY_NAME.to_owned()),
                name,
            );
        }
        if stays {
            // Rules and everything else stay as they are. The name is found from now on.
            let (name, _) = display_name_and_avatar(latest, user)?;
            user_directory::rename(latest, batch, user, name.as_deref())?;
            return self.finish(latest, batch, changes, user);
        }
        if !self.standing.is_guest && self.expires_at.is_some() {
            let ending = PersonRecord {
                expires_at: self.expires_at,
                is_renewable: true,
                ..PersonRecord::default()
            };
            person::write(batch, user, &PersonRecord::default(), &ending);
        }
        let rules = NewAccountData {
            user,
            room: None,
            event_type: push_rules::EVENT_TYPE.to_owned(),
            json: self.push_rules.clone(),
        };
        // A new account has room for its first entry: nothing else can go wrong.
        if let Err(AccountDataError::Store(error)) =
            account_data::write(latest, batch, &mut changes, rules)
        {
            return Err(error.into());
        }
        self.finish(latest, batch, changes, user)
    }

    fn finish(
        &self,
        latest: &Latest,
        batch: &mut Batch,
        mut changes: Changes,
        user: UserSerial,
    ) -> Result<UserSerial, RegisterError> {
        if let Some(session) = &self.session {
            session.write(latest, batch, user)?;
        }
        let deed = self.act.did(Verb::PersonCreated).on(self.user_id.as_str());
        let deed = deed.after(json!({
            "roles": self.account.roles.names(),
            "is_guest": self.standing.is_guest,
            "device_id": self.session.as_ref().map(|session| &session.device_id),
        }));
        audit::record(latest, batch, self.account.created_at, &[deed])?;
        changes.log(batch, &LogEntry::Account { user });
        Ok(user)
    }
}
