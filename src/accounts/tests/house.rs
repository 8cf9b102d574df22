//! A server's accounts on a temporary store, with a clock that stands still.

use model::{
    EventSerial, Membership, MembershipRecord, RoomSerial, UserSerial, tables::MEMBERSHIP_BY_USER,
};
use ruma_common::{
    CanonicalJsonObject, CanonicalJsonValue, UserId,
    serde::{Base64, base64::Standard},
};
use ruma_signatures::{Ed25519KeyPair, sign_json};
use runtime::{Clock, Random, Timestamp};
use serde_json::Value;
use store::{Position, Store, StoreError, StoreOptions};
use tempfile::TempDir;

use crate::{
    Accounts, AccountsOptions, Login, LoginError, NewAccount, RegistrationMode,
    RegistrationOptions, Session, SignedIn,
};

/// The password of everybody.
pub(super) const PASSWORD: &str = "correct horse";

pub(super) struct House {
    pub(super) accounts: Accounts,
    pub(super) clock: Clock,
    // The store ends before its folder.
    _folder: TempDir,
}

/// Whatever a test has done, the lists of people say what the other tables say.
impl Drop for House {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            super::people_lists::check(&self.accounts.store().snapshot());
        }
    }
}

impl House {
    pub(super) fn new(mode: RegistrationMode) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::manual(Timestamp(1_700_000_000_000));
        let random = Random::system();
        let options = StoreOptions::default();
        let store = Store::open(folder.path(), "a.test", &options, &clock, &random).unwrap();
        let accounts = Accounts::new(
            store,
            clock.clone(),
            random,
            "a.test".try_into().unwrap(),
            RegistrationOptions {
                mode,
                ..RegistrationOptions::default()
            },
            AccountsOptions {
                password_hash_memory: 64,
                ..AccountsOptions::default()
            },
        )
        .unwrap();
        Self {
            accounts,
            clock,
            _folder: folder,
        }
    }

    pub(super) fn open() -> Self {
        Self::new(RegistrationMode::Open)
    }

    pub(super) async fn person(&self, name: &str, device: &str) -> Session {
        let registered = self
            .accounts
            .register(account(name, device), None)
            .await
            .unwrap();
        self.session(&registered.session.unwrap()).await
    }

    pub(super) async fn session(&self, signed_in: &SignedIn) -> Session {
        self.accounts
            .authenticate(&signed_in.access_token)
            .await
            .unwrap()
    }

    pub(super) async fn login(
        &self,
        user: &str,
        device: &str,
        password: &str,
    ) -> Result<SignedIn, LoginError> {
        self.accounts.login(login(user, device, password)).await
    }

    pub(super) async fn join(&self, user: UserSerial, room: RoomSerial) {
        let record = MembershipRecord {
            membership: Membership::Join,
            event: EventSerial(1),
            position: 1,
            sender: user,
            forgotten: false,
            last_join: 1,
            left_at: 0,
        };
        self.accounts
            .store()
            .commit(move |_, _, batch| {
                batch.put(&MEMBERSHIP_BY_USER, &(user, room), &record);
                Ok::<_, StoreError>(())
            })
            .await
            .unwrap();
    }

    pub(super) fn position(&self) -> Position {
        self.accounts.store().snapshot().position()
    }
}

pub(super) fn account(name: &str, device: &str) -> NewAccount {
    NewAccount {
        username: Some(name.to_owned()),
        password: Some(PASSWORD.to_owned()),
        device_id: Some(device.into()),
        ..NewAccount::default()
    }
}

pub(super) fn login(user: &str, device: &str, password: &str) -> Login {
    Login {
        user: user.to_owned(),
        password: password.to_owned(),
        device_id: Some(device.into()),
        initial_device_display_name: None,
        refresh_token: false,
        from: None,
    }
}

/// An Ed25519 key that signs as `ed25519:<name>`.
pub(super) struct Key {
    pub(super) pair: Ed25519KeyPair,
    pub(super) public: String,
}

impl Key {
    pub(super) fn of_device(device_id: &str) -> Self {
        let document = Ed25519KeyPair::generate();
        let pair = Ed25519KeyPair::from_der(&document, device_id.to_owned()).unwrap();
        let public = Base64::<Standard, _>::new(pair.public_key()).encode();
        Self { pair, public }
    }

    /// A key whose name is itself.
    pub(super) fn of_user() -> Self {
        let document = Ed25519KeyPair::generate();
        let pair = Ed25519KeyPair::from_der(&document, String::new()).unwrap();
        let public = Base64::<Standard, _>::new(pair.public_key()).encode();
        let pair = Ed25519KeyPair::from_der(&document, public.clone()).unwrap();
        Self { pair, public }
    }

    /// The object with this key's signature added.
    pub(super) fn sign(&self, user_id: &UserId, object: Value) -> Value {
        let CanonicalJsonValue::Object(mut object) = object.try_into().unwrap() else {
            panic!("not an object");
        };
        sign_json(user_id.as_str(), &self.pair, &mut object).unwrap();
        serde_json::to_value::<CanonicalJsonObject>(object).unwrap()
    }
}
