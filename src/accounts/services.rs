//! Application services: what they do as their users (application service API, "Client-Server API Extensions").

use std::sync::Arc;

use ::services::{ExclusiveError, Service, Services};
use audit::Act;
use model::{
    DeviceRecord, DeviceSerial, StandingRecord,
    tables::{ACCOUNT_BY_USER, DEVICE_BY_USER},
};
use ruma_common::{DeviceId, OwnedDeviceId, OwnedUserId, RoomAliasId};
use store::{Read as _, StoreError};

use crate::{
    Accounts, AuthenticateError, DeviceError, LoginError, NewAccount, OwnRate, RegisterError,
    Registered, Session, SignedIn, UsernameError,
    cross_signing::is_key_id,
    devices::{check_device_id, check_display_name, check_number},
    find,
    person::person,
    registration::Maker,
    second_factors,
    validity::barrier_of,
};

/// As whom an application service says it acts: the query parameters `user_id` and `device_id`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asserted {
    /// The user; the service's own if `None`.
    pub user_id: Option<String>,
    /// The user's device; without one if `None`.
    pub device_id: Option<OwnedDeviceId>,
}

impl Accounts {
    /// The application services of this server.
    pub fn services(&self) -> &Services {
        &self.inner.services
    }

    /// Makes the own users of all services that have none yet. To be called when services were registered.
    ///
    /// # Errors
    /// [`RegisterError`].
    pub async fn make_service_users(&self) -> Result<(), RegisterError> {
        for service in self.services().all().iter() {
            let new = NewAccount {
                username: Some(service.registration.sender_localpart.clone()),
                inhibit_login: true,
                ..NewAccount::default()
            };
            let (maker, standing) = (Maker::Registration, StandingRecord::default());
            match self.make_account(new, maker, None, standing).await {
                Ok(_) | Err(RegisterError::Username(UsernameError::Taken)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Makes an account for a service (`POST /register`, `m.login.application_service`).
    ///
    /// # Errors
    /// [`RegisterError`].
    pub async fn register_for_service(
        &self,
        service: &Service,
        new: NewAccount,
    ) -> Result<Registered, RegisterError> {
        self.make_account(
            new,
            Maker::Service(service.id()),
            None,
            StandingRecord::default(),
        )
        .await
    }

    /// Who a service acts as.
    ///
    /// Without a device the session has one that exists only for transaction ids: its serial is the user's own, which no device has.
    ///
    /// # Errors
    /// [`AuthenticateError`].
    pub async fn authenticate_service(
        &self,
        service: &Service,
        asserted: Asserted,
    ) -> Result<Session, AuthenticateError> {
        let user_id = match &asserted.user_id {
            None => service.sender.clone(),
            Some(name) => OwnedUserId::try_from(name.as_str())
                .ok()
                .filter(|user_id| service.has_user(user_id))
                .ok_or_else(|| AuthenticateError::NotTheirs(shown(name)))?,
        };
        let id: Arc<str> = service.id().into();
        let now = self.now();
        let demands = self.inner.options.second_factor_for_roles;
        self.store()
            .read_quickly(move |view| {
                let unknown = || AuthenticateError::NotTheirs(user_id.to_string());
                let (user, account) = find(view, &user_id)?.ok_or_else(unknown)?;
                if account.deactivated_at.is_some() {
                    return Err(unknown());
                }
                let person = person(view, user)?;
                if let Some(barrier) = barrier_of(&account, &person, now) {
                    return Err(barrier.into());
                }
                let device = match &asserted.device_id {
                    None => DeviceSerial(user.0),
                    Some(device_id) => view
                        .get(&DEVICE_BY_USER, &(user, device_id.to_string()))?
                        .map(|device| device.serial)
                        .ok_or(AuthenticateError::UnknownDevice)?,
                };
                Ok(Session {
                    user_id: user_id.clone(),
                    user,
                    device_id: asserted.device_id.clone().unwrap_or_else(|| "".into()),
                    device,
                    roles: account.roles,
                    is_guest: false,
                    // No person is there who could give one.
                    lacks_second_factor: !account.roles.is_empty()
                        && (demands || second_factors::is_enrolled(view, user)?),
                    service: Some(id.clone()),
                    own_rate: OwnRate::of(&person.limits),
                })
            })
            .await
    }

    /// Signs a user of a service in (`POST /login`, `m.login.application_service`).
    ///
    /// # Errors
    /// [`LoginError`].
    pub async fn login_for_service(
        &self,
        service: &Service,
        user: &str,
        device_id: Option<OwnedDeviceId>,
        display_name: Option<String>,
        refresh_token: bool,
    ) -> Result<SignedIn, LoginError> {
        let user_id = self
            .typed_user_id(user)
            .filter(|user_id| service.has_user(user_id))
            .ok_or(LoginError::NotTheirs)?;
        let draft = self.draft_session(device_id, display_name, refresh_token)?;
        let from = format!("application service {}", service.id());
        let act = Act::person(user_id.as_str(), Some(from));
        let (written, sessions, wanted) =
            (draft.clone(), self.inner.sessions.clone(), user_id.clone());
        self.store()
            .commit(move |latest, position, batch| {
                let (user, account) = find(latest, &wanted)?.ok_or(LoginError::Forbidden)?;
                if account.deactivated_at.is_some() {
                    return Err(LoginError::Deactivated);
                }
                let person = person(latest, user)?;
                if let Some(barrier) = barrier_of(&account, &person, written.now) {
                    return Err(barrier.into());
                }
                check_number(latest, user, &written.device_id)?;
                if is_key_id(latest, user, &written.device_id)? {
                    return Err(DeviceError::IsKeyId.into());
                }
                let device = written.write(latest, batch, user)?;
                written.tell(latest, batch, &act, user)?;
                sessions.evict_device(device, position);
                Ok(())
            })
            .await?;
        Ok(draft.into_signed_in(user_id))
    }

    /// Makes a device of a user that a service acts as, or gives it another name (`PUT /devices/{deviceId}`). Returns whether it is new.
    ///
    /// # Errors
    /// [`DeviceError`].
    pub async fn put_device(
        &self,
        session: &Session,
        device_id: &DeviceId,
        display_name: Option<String>,
    ) -> Result<bool, DeviceError> {
        check_device_id(device_id)?;
        check_display_name(display_name.as_deref())?;
        let (user, device_id) = (session.user, device_id.to_owned());
        let (key, now) = ((user, device_id.to_string()), self.now());
        let (wanted, name) = (device_id.clone(), display_name.clone());
        let serial = DeviceSerial(self.store().next_serial());
        let is_new = self
            .store()
            .commit(move |latest, _, batch| {
                if latest.contains(&DEVICE_BY_USER, &key)? {
                    return Ok(false);
                }
                if !latest.contains(&ACCOUNT_BY_USER, &user)? {
                    return Err(DeviceError::NotFound);
                }
                check_number(latest, user, &wanted)?;
                if is_key_id(latest, user, &wanted)? {
                    return Err(DeviceError::IsKeyId);
                }
                let record = DeviceRecord {
                    serial,
                    display_name: name,
                    created_at: now,
                };
                batch.put(&DEVICE_BY_USER, &key, &record);
                Ok(true)
            })
            .await?;
        if !is_new && display_name.is_some() {
            let act = Act::person(session.user_id.as_str(), None);
            self.set_device_display_name(&act, user, &device_id, display_name)
                .await?;
        }
        Ok(is_new)
    }

    /// Refuses an alias that belongs to others than who acts.
    ///
    /// # Errors
    /// [`ExclusiveError`].
    pub fn check_alias(
        &self,
        session: &Session,
        alias: &RoomAliasId,
    ) -> Result<(), ExclusiveError> {
        self.services()
            .check_alias(alias, session.service.as_deref())
    }

    /// Whether a service acts that has an alias in its namespaces, whoever made it: it has "full control" over them.
    pub fn manages_alias(&self, session: &Session, alias: &RoomAliasId) -> bool {
        let id = session.service.as_deref();
        let service = id.and_then(|id| self.services().by_id(id));
        service.is_some_and(|service| service.has_alias(alias.as_str()))
    }

    /// Whether nobody has ever had this user id of this server.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn is_unknown(&self, user_id: OwnedUserId) -> Result<bool, StoreError> {
        self.store()
            .read(move |view| Ok(find(view, &user_id)?.is_none()))
            .await
    }
}

/// What somebody wrote, cut to what a sentence may hold.
fn shown(text: &str) -> String {
    text.chars().take(100).collect()
}
