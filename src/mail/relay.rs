//! The relay: who takes the letters on.

use std::{net::IpAddr, sync::Arc, time::Duration};

use lettre::{
    Address,
    message::Mailbox,
    transport::smtp::{
        authentication::{Credentials, DEFAULT_MECHANISMS},
        client::{AsyncSmtpConnection, Certificate, CertificateStore, TlsParameters},
        extension::ClientId,
    },
};
use outgoing::{Outgoing, OutgoingError, OutgoingOptions, RootsError, trusted_roots};
use prometheus::IntCounterVec;
use runtime::{Boxed, Clock, Metrics, Random};
use rustls::RootCertStore;
use tokio::{sync::Semaphore, time::timeout};

use crate::{Letter, MailOptions, MailTls, OptionMistake};

/// How long one letter may take, from the first question for the relay's address.
const SENDING: Duration = Duration::from_secs(30);
/// How long one step of the connection may take.
const STEP: Duration = Duration::from_secs(10);
/// How many letters are sent at the same time; more wait within their time.
const AT_ONCE: usize = 4;
/// The most addresses of the relay that are tried.
const MAX_ADDRESSES: usize = 4;

/// Why a letter was not sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MailError {
    /// Nobody can be written to at this address.
    #[error("this is no e-mail address")]
    Address,
    /// The relay cannot be reached, or speaks otherwise than it should.
    #[error("the mail relay cannot be used: {0}")]
    Relay(String),
    /// The relay takes no such letter.
    #[error("the mail relay refuses: {0}")]
    Refused(String),
    /// It took too long.
    #[error("the mail relay did not answer in time")]
    Timeout,
}

/// Why there is no mailer: one sentence for a person.
#[derive(Debug, thiserror::Error)]
pub enum NewMailerError {
    /// The options cannot be.
    #[error("[mail]: {0}")]
    Options(#[from] OptionMistake),
    /// The file with the password cannot be read.
    #[error("the password file {path} cannot be read: {error}")]
    PasswordFile {
        /// The file.
        path: String,
        /// What the system says.
        error: std::io::Error,
    },
    /// The certificate authorities.
    #[error(transparent)]
    Roots(#[from] RootsError),
    /// The TLS library refuses its settings.
    #[error("TLS cannot be used for mail: {0}")]
    Tls(String),
}

/// What a mailer is made of.
pub struct MailerParts<'a> {
    /// The relay.
    pub options: &'a MailOptions,
    /// Whose certificate authorities are trusted.
    pub trust: &'a OutgoingOptions,
    /// Whose resolver is asked.
    pub outgoing: Outgoing,
    /// What this machine calls itself to the relay, and the sender if no name is set.
    pub server_name: &'a str,
    /// The time.
    pub clock: Clock,
    /// Chance.
    pub random: Random,
    /// Where letters are counted.
    pub metrics: &'a Metrics,
}

/// Sends letters. Cheap to clone.
#[derive(Clone)]
pub struct Mailer(Arc<Inner>);

struct Inner {
    host: String,
    port: u16,
    /// None for a connection in the clear.
    tls: Option<(MailTls, TlsParameters)>,
    credentials: Option<Credentials>,
    sender: Mailbox,
    hello: ClientId,
    outgoing: Outgoing,
    clock: Clock,
    random: Random,
    slots: Semaphore,
    letters: IntCounterVec,
}

impl Mailer {
    /// The mailer of these options; none if they name no relay.
    ///
    /// # Errors
    /// [`NewMailerError`].
    pub fn new(parts: MailerParts<'_>) -> Result<Option<Self>, NewMailerError> {
        let options = parts.options;
        if let Some(mistake) = options.mistakes().into_iter().next() {
            return Err(mistake.into());
        }
        let Some((host, port)) = options.place().filter(|_| options.is_on()) else {
            return Ok(None);
        };
        let tls = match options.tls {
            MailTls::None => None,
            kind => Some((kind, tls(&host, parts.trust)?)),
        };
        let host_name = parts.server_name.split(':').next().unwrap_or_default();
        Ok(Some(Self(Arc::new(Inner {
            host,
            port,
            tls,
            credentials: credentials(options)?,
            sender: sender(options, parts.server_name)?,
            hello: ClientId::Domain(host_name.to_owned()),
            outgoing: parts.outgoing,
            clock: parts.clock,
            random: parts.random,
            slots: Semaphore::new(AT_ONCE),
            letters: parts.metrics.counter_with(
                "cairn_mail_letters_total",
                "E-mail that was given to the relay, by what came of it.",
                &["outcome"],
            ),
        }))))
    }

    /// Gives a letter to the relay, which has taken it when this returns.
    ///
    /// # Errors
    /// [`MailError`]; after [`MailError::Timeout`] it may have been taken nevertheless.
    pub async fn send(&self, letter: Letter) -> Result<(), MailError> {
        let inner = &*self.0;
        let id = inner.random.token();
        let sent = match letter.message(&inner.sender, inner.clock.now(), &id) {
            Ok(message) => timeout(SENDING, inner.deliver(&message))
                .await
                .unwrap_or(Err(MailError::Timeout)),
            Err(error) => Err(error),
        };
        let outcome = match &sent {
            Ok(()) => "sent",
            Err(MailError::Address) => "address",
            Err(MailError::Relay(_)) => "relay",
            Err(MailError::Refused(_)) => "refused",
            Err(MailError::Timeout) => "timeout",
        };
        inner.letters.with_label_values(&[outcome]).inc();
        if let Err(error) = &sent {
            log::warn!("an e-mail was not sent: {error}");
        }
        sent
    }
}

impl Inner {
    fn deliver<'a>(&'a self, message: &'a lettre::Message) -> Boxed<'a, Result<(), MailError>> {
        Box::pin(async move {
            // Never closed.
            let _slot = self.slots.acquire().await;
            let mut connection = self.connect().await?;
            let text = message.formatted();
            let answer = connection.send(message.envelope(), &text).await;
            // It has been taken or not; how the conversation ends changes nothing.
            let _ = connection.quit().await;
            answer.map(drop).map_err(failure)
        })
    }

    /// A connection on which letters can be sent, to the first address that answers.
    async fn connect(&self) -> Result<AsyncSmtpConnection, MailError> {
        let found = self.outgoing.configured_addresses(&self.host).await;
        let found = found.map_err(|error: OutgoingError| MailError::Relay(error.to_string()))?;
        let mut last = MailError::Relay("its name has no address".to_owned());
        for address in found.into_iter().take(MAX_ADDRESSES) {
            match self.greet(address).await {
                Ok(connection) => return self.sign_in(connection).await,
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn greet(&self, address: IpAddr) -> Result<AsyncSmtpConnection, MailError> {
        let at_once = match &self.tls {
            Some((MailTls::Implicit, parameters)) => Some(parameters.clone()),
            _ => None,
        };
        // An address, so that nobody resolves a name here.
        let place = (address, self.port);
        let begun =
            AsyncSmtpConnection::connect_tokio1(place, Some(STEP), &self.hello, at_once, None);
        let mut connection = begun.await.map_err(failure)?;
        if let Some((MailTls::Starttls, parameters)) = &self.tls {
            // Fails where the relay does not offer it: nothing is said in the clear.
            let upgraded = connection.starttls(parameters.clone(), &self.hello);
            upgraded.await.map_err(failure)?;
        }
        Ok(connection)
    }

    async fn sign_in(
        &self,
        mut connection: AsyncSmtpConnection,
    ) -> Result<AsyncSmtpConnection, MailError> {
        if let Some(credentials) = &self.credentials {
            let signed_in = connection.auth(DEFAULT_MECHANISMS, credentials).await;
            signed_in.map_err(|error| MailError::Relay(error.to_string()))?;
        }
        Ok(connection)
    }
}

/// What the library says went wrong.
fn failure(error: lettre::transport::smtp::Error) -> MailError {
    if error.is_timeout() {
        MailError::Timeout
    } else if error.is_permanent() {
        MailError::Refused(error.to_string())
    } else {
        MailError::Relay(error.to_string())
    }
}

fn tls(host: &str, trust: &OutgoingOptions) -> Result<TlsParameters, NewMailerError> {
    let mut builder =
        TlsParameters::builder(host.to_owned()).certificate_store(CertificateStore::None);
    for root in trusted_roots(trust)? {
        // The system may have some that cannot be used, and the library would stop there.
        if RootCertStore::empty().add(root.clone()).is_err() {
            continue;
        }
        if let Ok(certificate) = Certificate::from_der(root.to_vec()) {
            builder = builder.add_root_certificate(certificate);
        }
    }
    builder
        .build_rustls()
        .map_err(|error| NewMailerError::Tls(error.to_string()))
}

fn credentials(options: &MailOptions) -> Result<Option<Credentials>, NewMailerError> {
    if options.user.is_empty() {
        return Ok(None);
    }
    let path = &options.password_file;
    let password = if path.as_os_str().is_empty() {
        options.password.reveal().to_owned()
    } else {
        let read = std::fs::read_to_string(path);
        let read = read.map_err(|error| NewMailerError::PasswordFile {
            path: path.display().to_string(),
            error,
        })?;
        read.trim_end_matches(['\r', '\n']).to_owned()
    };
    Ok(Some(Credentials::new(options.user.clone(), password)))
}

fn sender(options: &MailOptions, server_name: &str) -> Result<Mailbox, OptionMistake> {
    let address: Address = options.sender.parse().map_err(|_| OptionMistake {
        key: "sender",
        text: "`sender` is no e-mail address".to_owned(),
    })?;
    let name = match options.sender_name.as_str() {
        "" => server_name,
        name => name,
    };
    Ok(Mailbox::new(Some(name.to_owned()), address))
}
