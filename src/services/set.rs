//! The services of this server together.

use std::sync::Arc;

use parking_lot::RwLock;
use ruma_common::{OwnedServerName, OwnedUserId, RoomAliasId, UserId};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tokio::sync::watch;

use crate::{Registration, namespaces};

/// The most services of one server.
const MAX_SERVICES: usize = 1_000;

/// Why registrations cannot be used together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServicesError {
    /// Two have the same id.
    #[error("two application services have the id `{0}`")]
    SameId(String),
    /// Two have the same token.
    #[error("the application services `{0}` and `{1}` have the same as_token")]
    SameToken(String, String),
    /// The sender's user id is none with this server's name.
    #[error("the sender_localpart of the application service `{0}` makes no user id")]
    NoSender(String),
    /// More than one server can have.
    #[error("there are too many application services")]
    TooMany,
}

/// A name belongs to somebody else (`M_EXCLUSIVE`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExclusiveError {
    /// A service has reserved it.
    #[error("this name is reserved for an application service")]
    Reserved,
    /// It is not in the namespaces of the service that wants it.
    #[error("this name is not in the namespaces of this application service")]
    Outside,
}

/// A registered application service.
#[derive(Debug)]
pub struct Service {
    /// What its file says.
    pub registration: Registration,
    /// Its own user.
    pub sender: OwnedUserId,
    token_hash: [u8; 32],
}

impl Service {
    /// Its id.
    pub fn id(&self) -> &str {
        &self.registration.id
    }

    /// Whether a user of this server is its own or in its namespaces. Users of other
    /// servers never are.
    pub fn has_user(&self, user_id: &UserId) -> bool {
        user_id.server_name() == self.sender.server_name()
            && (user_id == self.sender
                || namespaces::any(&self.registration.namespaces.users, user_id.as_str()))
    }

    /// Whether an alias is in its namespaces.
    pub fn has_alias(&self, alias: &str) -> bool {
        namespaces::any(&self.registration.namespaces.aliases, alias)
    }

    /// Whether a user is its own or in one of its exclusive namespaces.
    pub fn has_user_alone(&self, user_id: &UserId) -> bool {
        let users = &self.registration.namespaces.users;
        user_id == self.sender || namespaces::any_exclusive(users, user_id.as_str())
    }

    /// Whether an alias is in one of its exclusive namespaces.
    pub fn has_alias_alone(&self, alias: &str) -> bool {
        namespaces::any_exclusive(&self.registration.namespaces.aliases, alias)
    }

    /// Whether a room's id is in its namespaces.
    pub fn has_room(&self, room_id: &str) -> bool {
        namespaces::any(&self.registration.namespaces.rooms, room_id)
    }

    /// Whether requests in the name of this user are counted. (`rate_limited`: "The
    /// sender is excluded".)
    pub fn is_limited(&self, user_id: &UserId) -> bool {
        self.registration.rate_limited && user_id != self.sender
    }
}

/// The services of this server. Clones are one set.
#[derive(Clone, Debug)]
pub struct Services {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    server_name: OwnedServerName,
    services: RwLock<Arc<[Arc<Service>]>>,
    changed: watch::Sender<u64>,
}

impl Services {
    /// No services yet, of the server `server_name`.
    pub fn none(server_name: OwnedServerName) -> Self {
        Self {
            inner: Arc::new(Inner {
                server_name,
                services: RwLock::new(Arc::new([])),
                changed: watch::Sender::new(0),
            }),
        }
    }

    /// Takes these services in place of all that were there.
    ///
    /// # Errors
    /// [`ServicesError`]; then those that were there stay.
    pub fn replace(&self, registrations: Vec<Registration>) -> Result<(), ServicesError> {
        let services = self.checked(registrations)?;
        *self.inner.services.write() = services.into();
        self.inner
            .changed
            .send_modify(|generation| *generation += 1);
        Ok(())
    }

    fn checked(
        &self,
        registrations: Vec<Registration>,
    ) -> Result<Vec<Arc<Service>>, ServicesError> {
        if registrations.len() > MAX_SERVICES {
            return Err(ServicesError::TooMany);
        }
        let mut services: Vec<Arc<Service>> = Vec::new();
        for registration in registrations {
            let token_hash = hash(registration.as_token.reveal());
            for other in &services {
                if other.id() == registration.id {
                    return Err(ServicesError::SameId(registration.id));
                }
                if other.token_hash == token_hash {
                    let other = other.id().to_owned();
                    return Err(ServicesError::SameToken(other, registration.id));
                }
            }
            let localpart = &registration.sender_localpart;
            let sender = OwnedUserId::try_from(format!("@{localpart}:{}", self.inner.server_name))
                .map_err(|_| ServicesError::NoSender(registration.id.clone()))?;
            services.push(Arc::new(Service {
                registration,
                sender,
                token_hash,
            }));
        }
        Ok(services)
    }

    /// All services.
    pub fn all(&self) -> Arc<[Arc<Service>]> {
        self.inner.services.read().clone()
    }

    /// Tells when the services are replaced; the value differs each time.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.inner.changed.subscribe()
    }

    /// Whether a user is one of a service that is told what concerns the user's devices.
    pub fn encrypts_for(&self, user_id: &UserId) -> bool {
        let all = self.all();
        let mut encrypting = all.iter().filter(|service| service.registration.encrypts);
        encrypting.any(|service| service.has_user(user_id))
    }

    /// The service with this id.
    pub fn by_id(&self, id: &str) -> Option<Arc<Service>> {
        self.all()
            .iter()
            .find(|service| service.id() == id)
            .cloned()
    }

    /// The service whose `as_token` this is. Takes the same time whatever the token is.
    pub fn by_token(&self, token: &str) -> Option<Arc<Service>> {
        let services = self.all();
        if services.is_empty() {
            return None;
        }
        let hash = hash(token);
        let mut found = None;
        for service in services.iter() {
            if bool::from(service.token_hash.ct_eq(&hash)) {
                found = Some(service.clone());
            }
        }
        found
    }

    /// Whether a user may be made by a service, or by anybody else if `service` is `None`.
    ///
    /// # Errors
    /// [`ExclusiveError`].
    pub fn check_user(
        &self,
        user_id: &UserId,
        service: Option<&str>,
    ) -> Result<(), ExclusiveError> {
        self.check(
            service,
            |service| service.has_user(user_id),
            |service| service.has_user_alone(user_id),
        )
    }

    /// Whether an alias may be made or taken away by a service, or by anybody else if
    /// `service` is `None`.
    ///
    /// # Errors
    /// [`ExclusiveError`].
    pub fn check_alias(
        &self,
        alias: &RoomAliasId,
        service: Option<&str>,
    ) -> Result<(), ExclusiveError> {
        self.check(
            service,
            |service| service.has_alias(alias.as_str()),
            |service| service.has_alias_alone(alias.as_str()),
        )
    }

    fn check(
        &self,
        by: Option<&str>,
        has: impl Fn(&Service) -> bool,
        has_alone: impl Fn(&Service) -> bool,
    ) -> Result<(), ExclusiveError> {
        for service in self.all().iter() {
            if Some(service.id()) == by {
                if !has(service) {
                    return Err(ExclusiveError::Outside);
                }
            } else if has_alone(service) {
                return Err(ExclusiveError::Reserved);
            }
        }
        Ok(())
    }
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use ruma_common::{owned_server_name, room_alias_id, user_id};

    use super::*;

    fn registration(id: &str, users: &str, aliases: &str) -> Registration {
        let exclusive = users.starts_with("@_");
        let text = format!(
            "id: {id}\nurl: null\nas_token: as-{id}\nhs_token: hs\nsender_localpart: {id}bot\n\
             namespaces:\n  users: [{{ exclusive: {exclusive}, regex: '{users}' }}]\n  \
             aliases: [{{ exclusive: true, regex: '{aliases}' }}]\n"
        );
        Registration::parse(&text).unwrap()
    }

    fn services() -> Services {
        let services = Services::none(owned_server_name!("localhost"));
        let irc = registration("irc", "@_irc_.*", "#_irc_.*");
        let log = registration("log", "@.*", "#log_.*");
        services.replace(vec![irc, log]).unwrap();
        services
    }

    #[test]
    fn a_token_finds_its_service() {
        let services = services();
        assert_eq!(services.by_token("as-irc").unwrap().id(), "irc");
        assert_eq!(services.by_token("as-log").unwrap().id(), "log");
        assert!(services.by_token("as-").is_none());
        assert!(services.by_token("").is_none());
        assert_eq!(services.by_id("irc").unwrap().sender, "@ircbot:localhost");
    }

    #[test]
    fn what_is_exclusive_belongs_to_one() {
        use ExclusiveError::{Outside, Reserved};
        let services = services();
        for (user, by, expected) in [
            (user_id!("@_irc_bob:localhost"), None, Err(Reserved)),
            (user_id!("@_irc_bob:localhost"), Some("irc"), Ok(())),
            (user_id!("@_irc_bob:localhost"), Some("log"), Err(Reserved)),
            (user_id!("@ircbot:localhost"), None, Err(Reserved)),
            (user_id!("@ircbot:localhost"), Some("irc"), Ok(())),
            (user_id!("@bob:localhost"), None, Ok(())),
            (user_id!("@bob:localhost"), Some("irc"), Err(Outside)),
            (user_id!("@bob:localhost"), Some("log"), Ok(())),
            (user_id!("@bob:elsewhere"), Some("log"), Err(Outside)),
        ] {
            assert_eq!(services.check_user(user, by), expected, "{user} {by:?}");
        }
        for (alias, by, expected) in [
            (room_alias_id!("#_irc_a:localhost"), None, Err(Reserved)),
            (room_alias_id!("#_irc_a:localhost"), Some("irc"), Ok(())),
            (room_alias_id!("#a:localhost"), Some("irc"), Err(Outside)),
            (room_alias_id!("#a:localhost"), None, Ok(())),
        ] {
            assert_eq!(services.check_alias(alias, by), expected, "{alias} {by:?}");
        }
    }

    #[test]
    fn ids_and_tokens_are_unique() {
        let services = services();
        let irc = registration("irc", "@_irc_.*", "#_irc_.*");
        let same = services.replace(vec![irc.clone(), irc.clone()]);
        assert_eq!(same, Err(ServicesError::SameId("irc".to_owned())));
        let mut other = registration("other", "@_o_.*", "#_o_.*");
        other.as_token = irc.as_token.clone();
        let same = services.replace(vec![irc, other]);
        let expected = ServicesError::SameToken("irc".to_owned(), "other".to_owned());
        assert_eq!(same, Err(expected));
        // Those that were there have stayed.
        assert_eq!(services.all().len(), 2);
    }

    #[test]
    fn the_sender_is_not_limited() {
        let services = services();
        let irc = services.by_id("irc").unwrap();
        assert!(irc.is_limited(user_id!("@_irc_bob:localhost")));
        assert!(!irc.is_limited(user_id!("@ircbot:localhost")));
    }
}
