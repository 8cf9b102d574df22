//! Certificates, and the handshake with them.

use std::{
    fmt, fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use parking_lot::{Mutex, RwLock};
use runtime::Timestamp;
use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject as _},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use certificates::{Challenges, PROTOCOL, ends_at};

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(15);

/// Why a certificate and its key cannot be used. Each reads as one sentence.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is missing, unreadable, or holds no such thing.
    #[error("{} holds no usable {what}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// "certificate" or "private key".
        what: &'static str,
        /// The reason.
        reason: pem::Error,
    },
    /// The certificate and the key cannot be used together.
    #[error("the certificate in {} and the key in {} cannot be used: {reason}", certificate.display(), key.display())]
    Unusable {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// The reason, a mismatch for instance.
        reason: rustls::Error,
    },
}

/// A certificate and its key, from two files that may be read again. Clones
/// share them.
#[derive(Clone)]
pub struct Tls(Arc<Inner>);

struct Inner {
    certificate: PathBuf,
    key: PathBuf,
    current: Arc<Current>,
    acceptor: TlsAcceptor,
    /// How the two files were when they were last looked at.
    seen: Mutex<[Option<Stamp>; 2]>,
}

/// What changes when a file is written or replaced: its number, length and time.
type Stamp = (u64, u64, i64, i64);

impl Tls {
    /// Reads the PEM files `certificate` (with the chain to its root) and `key`.
    ///
    /// # Errors
    /// [`TlsError`] if they are not there or do not belong together.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        Self::load_with(certificate, key, None)
    }

    /// As [`Tls::load`]; and an authority that asks whose a name is gets its answer from
    /// `challenges`.
    ///
    /// # Errors
    /// As [`Tls::load`].
    pub fn load_with(
        certificate: &Path,
        key: &Path,
        challenges: Option<Challenges>,
    ) -> Result<Self, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let unusable = |reason| TlsError::Unusable {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            reason,
        };
        let seen = Mutex::new([stamp(certificate), stamp(key)]);
        let certified = read(certificate, key, &provider)?;
        let answers = challenges.is_some();
        let current = Arc::new(Current {
            certified: RwLock::new(Arc::new(certified)),
            challenges,
        });
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .with_no_client_auth()
            .with_cert_resolver(current.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        if answers {
            config.alpn_protocols.push(PROTOCOL.to_vec());
        }
        Ok(Self(Arc::new(Inner {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            current,
            acceptor: TlsAcceptor::from(Arc::new(config)),
            seen,
        })))
    }

    /// Reads both files again, for handshakes from now on.
    ///
    /// # Errors
    /// [`TlsError`]; then the ones in use stay in use.
    pub fn reload(&self) -> Result<(), TlsError> {
        let provider = self.0.acceptor.config().crypto_provider();
        let certified = read(&self.0.certificate, &self.0.key, provider)?;
        *self.0.current.certified.write() = Arc::new(certified);
        Ok(())
    }

    /// Reads both files again if one of them was written or replaced since they were last
    /// looked at; says whether that was so. A pair that is just being replaced does not fit
    /// together, and is looked at again when it has changed further.
    ///
    /// # Errors
    /// [`TlsError`]; then the ones in use stay in use.
    pub fn reload_if_changed(&self) -> Result<bool, TlsError> {
        let now = [stamp(&self.0.certificate), stamp(&self.0.key)];
        let before = std::mem::replace(&mut *self.0.seen.lock(), now);
        if before == now {
            return Ok(false);
        }
        self.reload()?;
        Ok(true)
    }

    /// The file of the certificate.
    pub fn certificate(&self) -> &Path {
        &self.0.certificate
    }

    /// When the first of the certificates in use ends, the server's own or one that
    /// leads to its root; none if none can be read.
    pub fn ends_at(&self) -> Option<Timestamp> {
        let current = self.0.current.certified.read().clone();
        let ends = current.cert.iter().filter_map(|one| ends_at(one));
        ends.min()
    }

    /// Shakes hands with a client.
    pub(crate) async fn accept<S>(&self, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        tokio::time::timeout(HANDSHAKE, self.0.acceptor.accept(stream))
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Tls")
            .field("certificate", &self.0.certificate)
            .field("key", &self.0.key)
            .finish()
    }
}

fn read(
    certificate: &Path,
    key: &Path,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, TlsError> {
    let broken = |path: &Path, what| {
        let path = path.to_owned();
        move |reason| TlsError::File { path, what, reason }
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(|chain| chain.collect::<Result<Vec<_>, _>>())
        .and_then(|chain| match chain.is_empty() {
            true => Err(pem::Error::NoItemsFound),
            false => Ok(chain),
        })
        .map_err(broken(certificate, "certificate"))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(broken(key, "private key"))?;
    CertifiedKey::from_der(chain, private, provider).map_err(|reason| TlsError::Unusable {
        certificate: certificate.to_owned(),
        key: key.to_owned(),
        reason,
    })
}

fn stamp(path: &Path) -> Option<Stamp> {
    let found = fs::metadata(path).ok()?;
    Some((found.ino(), found.len(), found.mtime(), found.mtime_nsec()))
}

/// The certificate that handshakes use now.
struct Current {
    certified: RwLock<Arc<CertifiedKey>>,
    /// The answers for an authority that asks whose a name is.
    challenges: Option<Challenges>,
}

impl ResolvesServerCert for Current {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if let Some(challenges) = &self.challenges
            && let Some(mut protocols) = hello.alpn()
            && protocols.any(|protocol| protocol == PROTOCOL)
        {
            return challenges.answer(hello.server_name()?);
        }
        Some(self.certified.read().clone())
    }
}

impl fmt::Debug for Current {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Current")
    }
}
