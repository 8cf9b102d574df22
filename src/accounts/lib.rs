//! Who people are: users, passwords, sessions, invitations, profiles, account data, filters, roles; their devices, keys, key backups and to-device messages.
//!
//! Place in the order: the domain floor. It stands on `model`, `graph`, `store` and `runtime`, and knows neither rooms nor HTTP. Who may see what of all
//! this is decided here.
//!
//! Verbs are async methods of [`Accounts`]. Reads are plain functions that take a view of the store, so that whoever needs several of them (`sync` needs
//! nearly all) reads one snapshot. What can be had only once (a name, an invitation, a one-time key, the turn of a refresh token) is decided in the
//! commit's closure, after everything that takes time was done before it.
//!
//! Never here: a token or password in clear on disk or in the log, a key that was stored without its checks, an endpoint.

mod account_data;
mod administration;
mod audited;
mod backed_up_keys;
mod cbor;
mod ceremonies;
mod closing;
mod confirmations;
mod console_sessions;
mod cross_signing;
mod dehydrated_devices;
mod deleted_data;
mod departments;
mod device_keys;
mod device_lists;
mod devices;
mod directory_backfill;
mod emails;
mod filters;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod guests;
mod hashing;
mod ignored_users;
mod import_plan;
mod importing;
mod invitation_lists;
mod invitations;
mod invite_permission;
mod json;
mod key_backups;
mod lists_backfill;
mod login_tokens;
mod names;
mod one_time_codes;
mod one_time_keys;
mod open_id;
mod options;
mod passwords;
mod people_lists;
mod person;
mod profiles;
mod program_tokens;
mod proving;
mod published_keys;
mod push_matching;
mod push_rules;
mod pushers;
mod received_messages;
mod refreshing;
mod registration;
mod remote_devices;
mod rendezvous;
mod room_data;
mod sealing;
mod second_factors;
#[cfg(test)]
#[path = "../../tests/fuzz/seeds.rs"]
mod seeds;
mod server_messages;
mod server_user;
mod services;
mod session_cache;
mod sessions;
mod shared_secret;
mod signatures;
mod signing_in;
mod standing;
mod tags;
mod to_device;
mod tokens;
mod turn;
mod uia;
mod user_directory;
mod validity;
mod webauthn;

#[cfg(test)]
mod tests;

use std::sync::{Arc, atomic::AtomicBool};

use ::services::Services;
use model::{AccountRecord, UserSerial, tables::ACCOUNT_BY_USER, tables::USER_BY_ID};
use parking_lot::Mutex;
use ruma_common::{OwnedServerName, OwnedUserId, ServerName, UserId};
use runtime::{Clock, Random};
use store::{Read, Store, StoreError};

pub use self::{
    account_data::{
        AccountDataEntry, AccountDataError, account_data, account_data_of_room,
        is_server_controlled, write_account_data,
    },
    administration::{AccountSummary, AdministrationError, account_summary, accounts_after},
    backed_up_keys::{BackedUpKeys, BackupScope, BackupState, backed_up_key},
    closing::{Closing, closer},
    confirmations::{
        BegunConfirmation, Confirmation, ConfirmationError, EmailProof, NewConfirmation, NewLetter,
    },
    console_sessions::{ConsoleError, ConsoleLogin, ConsoleSession, ListedSession},
    cross_signing::{CrossSigningError, CrossSigningUpload},
    dehydrated_devices::{
        DehydratedDevice, DehydratedDeviceError, DehydratedEvents, NewDehydratedDevice,
        dehydrated_device, dehydrated_events,
    },
    departments::{
        Department, DepartmentError, Placement, department, department_key, departments_after,
        departments_of, people_of_department, placements,
    },
    device_keys::{QueriedKeys, UploadKeysError, query_keys},
    device_lists::{device_list_position, devices_changed, users_signed},
    devices::{Device, DeviceError, LastSeen, device, devices},
    emails::{EmailError, OwnEmail, canonical_email, emails},
    filters::{FilterError, filter},
    guests::GuestProof,
    ignored_users::{ignored_users, ignored_users_position},
    importing::{Cell, ImportError, ImportedRow, RowOutcome, RowReport},
    invitations::{
        AcceptError, Invitation, InvitationError, InvitedTo, NewInvitation, PersonInvitation,
    },
    invite_permission::{InvitePermission, invite_permission, matches_pattern},
    key_backups::{KeyBackup, KeyBackupError, key_backup},
    login_tokens::{LoginToken, NewDevice},
    names::UsernameError,
    one_time_keys::{ClaimedKeys, key_counts},
    open_id::OpenIdToken,
    options::{
        AccountsOptions, OptionsError, RegistrationMode, RegistrationOptions, UserDirectory,
    },
    passwords::{ChangePasswordError, PasswordError},
    people_lists::{ListedPerson, count_people, listed_people, listed_person, people_named},
    person::{OwnRate, is_partner, limits_json, person},
    profiles::{ProfileError, avatars, display_name_and_avatar, profile, profile_field},
    program_tokens::ProgramToken,
    proving::Proof,
    published_keys::{PublishedDevices, published_devices, published_keys},
    push_matching::{PushContext, matching_rule},
    push_rules::{
        PushRuleError, PushRules, default_push_rules, push_rules, push_rules_position,
        stored_push_rules,
    },
    pushers::{NewPusher, Pusher, PusherError, PusherKey, all_pushers, pusher, pushers},
    refreshing::{RefreshError, Refreshed},
    registration::{NewAccount, RegisterError, Registered},
    remote_devices::{
        DeviceListToFetch, DeviceListsToFetch, KeptKeys, RemoteKeySet, announce_devices, kept_keys,
        shown_answer,
    },
    rendezvous::{MAX_RENDEZVOUS_BYTES, Rendezvous, RendezvousError},
    room_data::forget_room_data,
    sealing::SealingKey,
    second_factors::{Enrolled, Factor, NewCodes, PasskeyQuestion, SecondFactors, second_factors},
    server_messages::MAX_SERVER_ROWS,
    services::Asserted,
    sessions::{AuthenticateError, Session},
    shared_secret::{SharedSecretError, SharedSecretRegistration},
    signatures::SignatureFailure,
    signing_in::{Login, LoginError, SignedIn},
    standing::standing,
    tags::tags,
    to_device::{
        QueuedMessage, SentToDevices, ToDeviceError, forget_told, to_device, to_device_at,
    },
    turn::{TurnCredentials, TurnOptions, turn_credentials},
    uia::{Challenge, ChallengeError, InvitationProof, Operation, Outcome, Passed, UiaError},
    user_directory::{FoundUser, FoundUsers, UserSearch},
    validity::{Barrier, EndingAccount, Renewal, barrier},
    webauthn::{MadePasskey, PasskeyError, SignedByPasskey, Site},
};
use self::{
    hashing::Hasher, session_cache::SessionCache, sessions::SeenTimes, shared_secret::Nonces,
    uia::Conversations,
};

/// The accounts of this server. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Accounts {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    clock: Clock,
    random: Random,
    server_name: OwnedServerName,
    registration: RegistrationOptions,
    options: AccountsOptions,
    services: Services,
    hasher: Hasher,
    sessions: Arc<SessionCache>,
    seen: Mutex<SeenTimes>,
    failures: Mutex<audit::Failures>,
    conversations: Mutex<Conversations>,
    login_tokens: Mutex<login_tokens::LoginTokens>,
    nonces: Mutex<Nonces>,
    meetings: Mutex<rendezvous::Meetings>,
    ceremonies: Mutex<ceremonies::Ceremonies>,
    sealing: Mutex<SealingKey>,
    /// Whether there is a way to send e-mail.
    has_mail: AtomicBool,
}

impl Accounts {
    /// The accounts in `store` for the server `server_name`.
    ///
    /// # Errors
    /// [`OptionsError`] if the options ask for what cannot be done.
    pub fn new(
        store: Store,
        clock: Clock,
        random: Random,
        server_name: OwnedServerName,
        registration: RegistrationOptions,
        options: AccountsOptions,
    ) -> Result<Self, OptionsError> {
        let hasher = Hasher::new(&options, &random)?;
        let sealing = SealingKey::new(*store.secret());
        Ok(Self {
            inner: Arc::new(Inner {
                store,
                clock,
                random,
                services: Services::none(server_name.clone()),
                server_name,
                registration,
                options,
                hasher,
                sessions: Arc::default(),
                seen: Mutex::default(),
                failures: Mutex::default(),
                conversations: Mutex::default(),
                login_tokens: Mutex::default(),
                nonces: Mutex::default(),
                meetings: Mutex::default(),
                ceremonies: Mutex::default(),
                sealing: Mutex::new(sealing),
                has_mail: AtomicBool::new(false),
            }),
        })
    }

    /// The name of this server.
    pub fn server_name(&self) -> &ServerName {
        &self.inner.server_name
    }

    /// Whom a search of the user directory may find.
    pub fn user_directory(&self) -> UserDirectory {
        self.inner.options.user_directory
    }

    /// Whether a user id belongs to this server, whether or not there is an account.
    pub fn is_local(&self, user_id: &UserId) -> bool {
        user_id.server_name() == self.inner.server_name
    }

    /// The user id of this server with that localpart.
    fn local_user_id(&self, localpart: &str) -> Option<OwnedUserId> {
        OwnedUserId::try_from(format!("@{localpart}:{}", self.inner.server_name)).ok()
    }

    fn store(&self) -> &Store {
        &self.inner.store
    }

    fn now(&self) -> u64 {
        self.inner.clock.now().0
    }
}

/// The account of a user; `None` for users of other servers and for ids that nobody has registered.
///
/// # Errors
/// If the database fails.
pub fn account(view: &impl Read, user: UserSerial) -> Result<Option<AccountRecord>, StoreError> {
    view.get(&ACCOUNT_BY_USER, &user)
}

/// The serial and the account behind a user id of this server. Deactivated accounts are found too.
///
/// # Errors
/// If the database fails.
pub fn find(
    view: &impl Read,
    user_id: &UserId,
) -> Result<Option<(UserSerial, AccountRecord)>, StoreError> {
    let Some(user) = view.get(&USER_BY_ID, &user_id.to_string())? else {
        return Ok(None);
    };
    Ok(account(view, user)?.map(|account| (user, account)))
}

/// Whether somebody can use this account: it exists and was not deactivated.
///
/// # Errors
/// If the database fails.
pub fn is_active(view: &impl Read, user: UserSerial) -> Result<bool, StoreError> {
    Ok(account(view, user)?.is_some_and(|account| account.deactivated_at.is_none()))
}
