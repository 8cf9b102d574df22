//! Keeping the certificate good.

use std::path::PathBuf;

use outgoing::Outgoing;
use parking_lot::Mutex;
use rcgen::{CertificateParams, KeyPair};
use runtime::{Clock, Timestamp};

use crate::{
    Authority, CertificateError, CertificateOptions, Challenges, FOLDER, Issuer, SERVER,
    acme::Acme,
    file::{self, Facts},
};

/// What a [`Keeper`] is made of.
pub struct KeeperParts {
    /// What the operator chose.
    pub options: CertificateOptions,
    /// The server's name.
    pub server_name: String,
    /// The data folder.
    pub data_dir: PathBuf,
    /// The time.
    pub clock: Clock,
}

/// Keeps the certificate good: makes it, renews it, remembers why it could not.
pub struct Keeper {
    parts: KeeperParts,
    challenges: Challenges,
    failure: Mutex<Option<String>>,
}

impl Keeper {
    /// A keeper; none if certificates are somebody else's matter.
    pub fn new(parts: KeeperParts) -> Option<Self> {
        let is_wanted = !parts.options.names.is_empty();
        is_wanted.then(|| Self {
            parts,
            challenges: Challenges::default(),
            failure: Mutex::new(None),
        })
    }

    /// The folder with the certificate.
    fn folder(&self) -> PathBuf {
        self.parts.data_dir.join(FOLDER)
    }

    /// The file with the certificate and its key.
    pub fn file(&self) -> PathBuf {
        self.folder().join(SERVER)
    }

    /// The authority of the server's own, if it is that which vouches.
    pub fn authority(&self) -> Option<Authority> {
        let is_local = self.parts.options.issuer == Issuer::Local;
        is_local.then(|| Authority::at(&self.folder()))
    }

    /// What answers an authority's questions, for who listens.
    pub fn challenges(&self) -> Challenges {
        self.challenges.clone()
    }

    /// Why the last renewal failed; none if all is well.
    pub fn failure(&self) -> Option<String> {
        self.failure.lock().clone()
    }

    /// Sees to it that there is some certificate, so that the server can listen: a good one
    /// where that needs no network, else one that nobody trusts yet.
    ///
    /// # Errors
    /// If none can be made.
    pub fn prepare(&self) -> Result<(), CertificateError> {
        let now = self.parts.clock.now();
        let names = &self.parts.options.names;
        if let Some(authority) = self.authority() {
            return match self.is_due(now)? {
                true => authority.issue(&self.parts.server_name, names, now),
                false => Ok(()),
            };
        }
        if self.file().exists() {
            return Ok(());
        }
        let key = KeyPair::generate()?;
        let made = CertificateParams::new(names.clone())?.self_signed(&key)?;
        let facts = Facts {
            names: names.clone(),
            made_at: now,
            is_placeholder: true,
        };
        file::write(&self.file(), &facts, &made.pem(), &key.serialize_pem())
    }

    /// Renews the certificate if it is time. Returns whether it was.
    ///
    /// # Errors
    /// If it was time and there is none; the one in use stays in use.
    pub async fn keep(&self, outgoing: &Outgoing) -> Result<bool, CertificateError> {
        let renewed = self.renew(outgoing).await;
        *self.failure.lock() = renewed.as_ref().err().map(ToString::to_string);
        renewed
    }

    async fn renew(&self, outgoing: &Outgoing) -> Result<bool, CertificateError> {
        let now = self.parts.clock.now();
        if !self.is_due(now)? {
            return Ok(false);
        }
        let options = &self.parts.options;
        if let Some(authority) = self.authority() {
            authority.issue(&self.parts.server_name, &options.names, now)?;
            return Ok(true);
        }
        let account = self.folder().join("account.key");
        let acme = Acme::begin(outgoing, options, &account).await?;
        let key = KeyPair::generate()?;
        let chain = acme
            .certificate(&options.names, &key, &self.challenges)
            .await?;
        let facts = Facts {
            names: options.names.clone(),
            made_at: now,
            is_placeholder: false,
        };
        file::write(&self.file(), &facts, &chain, &key.serialize_pem())?;
        Ok(true)
    }

    /// Whether there is none, it is for other names, or a third of its time is left.
    fn is_due(&self, now: Timestamp) -> Result<bool, CertificateError> {
        let Some((facts, ends)) = file::read(&self.file())? else {
            return Ok(true);
        };
        let life = ends.since(facts.made_at);
        Ok(facts.is_placeholder
            || facts.names != self.parts.options.names
            || now.plus(life / 3) >= ends)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustls::{
        RootCertStore,
        pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
    };

    use super::*;

    const DAY: u64 = 24 * 60 * 60 * 1_000;
    /// 2027-01-15.
    const NOW: u64 = 1_800_000_000_000;

    fn keeper(folder: &std::path::Path, names: &[&str], clock: &Clock) -> Keeper {
        let options = CertificateOptions {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            ..CertificateOptions::default()
        };
        Keeper::new(KeeperParts {
            options,
            server_name: "council.example".to_owned(),
            data_dir: folder.to_owned(),
            clock: clock.clone(),
        })
        .unwrap()
    }

    /// Whether whoever trusts the root takes the server for `name` at `now`.
    fn is_trusted(keeper: &Keeper, name: &str, now: u64) -> bool {
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_file(keeper.authority().unwrap().root()).unwrap();
        roots.add(root).unwrap();
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let verifier =
            rustls::client::WebPkiServerVerifier::builder_with_provider(roots.into(), provider)
                .build()
                .unwrap();
        let chain: Vec<_> = CertificateDer::pem_file_iter(keeper.file())
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let at = UnixTime::since_unix_epoch(Duration::from_millis(now));
        use rustls::client::danger::ServerCertVerifier as _;
        verifier
            .verify_server_cert(&chain[0], &chain[1..], &name, &[], at)
            .is_ok()
    }

    fn made(keeper: &Keeper) -> (Facts, Timestamp) {
        file::read(&keeper.file()).unwrap().unwrap()
    }

    #[test]
    fn whoever_trusts_the_root_takes_the_server_for_its_names_alone() {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::manual(Timestamp(NOW));
        let names = ["matrix.council.example", "192.168.7.1"];
        let keeper = keeper(folder.path(), &names, &clock);
        keeper.prepare().unwrap();
        for name in names {
            assert!(is_trusted(&keeper, name, NOW), "{name}");
        }
        for name in ["council.example", "other.example", "192.168.7.2"] {
            assert!(!is_trusted(&keeper, name, NOW), "{name}");
        }
        assert!(!is_trusted(
            &keeper,
            "matrix.council.example",
            NOW + 200 * DAY
        ));
        let fingerprint = keeper.authority().unwrap().fingerprint().unwrap();
        assert_eq!(fingerprint.len(), 32 * 3 - 1);
        for name in ["server.pem", "root.key"] {
            use std::os::unix::fs::PermissionsExt as _;
            let found = std::fs::metadata(folder.path().join("tls").join(name)).unwrap();
            assert_eq!(found.permissions().mode() & 0o77, 0, "{name}");
        }
    }

    #[tokio::test]
    async fn it_is_renewed_in_time_under_the_same_root() {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::manual(Timestamp(NOW));
        let keeper = keeper(folder.path(), &["council.example"], &clock);
        keeper.prepare().unwrap();
        let root = std::fs::read(keeper.authority().unwrap().root()).unwrap();
        let metrics = runtime::Metrics::new();
        let outgoing = Outgoing::new(&outgoing::OutgoingOptions::default(), &metrics).unwrap();
        let (_, ends) = made(&keeper);
        assert!(!keeper.keep(&outgoing).await.unwrap());
        clock.advance(119 * DAY);
        assert!(!keeper.keep(&outgoing).await.unwrap());
        clock.advance(2 * DAY);
        assert!(keeper.keep(&outgoing).await.unwrap());
        assert!(made(&keeper).1 > ends);
        assert!(is_trusted(&keeper, "council.example", clock.now().0));
        // Long switched off, and started again.
        clock.advance(1_000 * DAY);
        assert!(!is_trusted(&keeper, "council.example", clock.now().0));
        keeper.prepare().unwrap();
        assert!(is_trusted(&keeper, "council.example", clock.now().0));
        assert_eq!(
            std::fs::read(keeper.authority().unwrap().root()).unwrap(),
            root
        );
    }

    #[test]
    fn other_names_get_another_certificate_if_the_root_vouches_for_them() {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::manual(Timestamp(NOW));
        keeper(folder.path(), &["council.example"], &clock)
            .prepare()
            .unwrap();
        let more = keeper(folder.path(), &["chat.council.example"], &clock);
        more.prepare().unwrap();
        assert!(is_trusted(&more, "chat.council.example", NOW));
        let other = keeper(folder.path(), &["chat.other.example"], &clock);
        let error = other.prepare().unwrap_err();
        assert!(
            matches!(error, CertificateError::NotVouched { .. }),
            "{error}"
        );
        assert!(
            is_trusted(&more, "chat.council.example", NOW),
            "the old one stays"
        );
    }

    #[test]
    fn a_machine_without_a_clock_makes_certificates_that_last() {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::manual(Timestamp(1_000));
        let keeper = keeper(folder.path(), &["council.example"], &clock);
        keeper.prepare().unwrap();
        // Somebody sets the clock.
        clock.advance(NOW);
        keeper.prepare().unwrap();
        assert!(is_trusted(&keeper, "council.example", clock.now().0));
    }
}
