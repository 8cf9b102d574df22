//! An authority of the server's own.

use std::{
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    NameConstraints, date_time_ymd,
};
use runtime::Timestamp;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use sha2::{Digest as _, Sha256};

use crate::{
    CertificateError, SERVER, YOUNGEST,
    file::{self, Facts, failed},
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long the root vouches: longer than any device on which it is installed lasts.
const ROOT_DAYS: u32 = 20 * 365;
/// How long a certificate is good. Systems refuse those of more than 825 days.
const SERVER_DAYS: u32 = 180;

/// The authority in a folder: its root and the root's key.
pub struct Authority {
    folder: PathBuf,
}

impl Authority {
    /// The authority in `folder`, be it there or not.
    pub fn at(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    /// The root's certificate, to be handed out.
    pub fn root(&self) -> PathBuf {
        self.folder.join("root.pem")
    }

    /// The root's key, by which whoever has it can be this server.
    pub fn key(&self) -> PathBuf {
        self.folder.join("root.key")
    }

    /// The SHA-256 of the root's certificate, as devices show it: hexadecimal, in pairs.
    ///
    /// # Errors
    /// If it is not there or no certificate.
    pub fn fingerprint(&self) -> Result<String, CertificateError> {
        let path = self.root();
        let content = |reason: String| CertificateError::Content {
            path: path.clone(),
            reason,
        };
        let text = fs::read(&path).map_err(|reason| failed(&path, reason))?;
        let root = CertificateDer::from_pem_slice(&text);
        let root = root.map_err(|error| content(error.to_string()))?;
        let pairs = Sha256::digest(&root)
            .iter()
            .map(|byte| format!("{byte:02X}"))
            .collect::<Vec<_>>();
        Ok(pairs.join(":"))
    }

    /// Makes the authority for a server and its names, unless it is there.
    ///
    /// # Errors
    /// If a name is none, or a file cannot be written.
    pub fn ensure(
        &self,
        server: &str,
        names: &[String],
        now: Timestamp,
    ) -> Result<(), CertificateError> {
        if self.root().exists() && self.key().exists() {
            return Ok(());
        }
        let key = KeyPair::generate()?;
        let vouched = vouched(server, names);
        let mut root = root(server)?;
        root.name_constraints = Some(constraints(&vouched));
        limit(&mut root, now, ROOT_DAYS);
        let made = root.self_signed(&key)?;
        file::write_private(&self.key(), &key.serialize_pem())?;
        let text = format!(
            "The root of {server}: install it on the devices that talk to this server.\nNames: {}\n\n{}",
            vouched.join(" "),
            made.pem()
        );
        file::write_private(&self.root(), &text)
    }

    /// Makes a certificate for these names, and puts it in place of the one before.
    ///
    /// # Errors
    /// If the root does not vouch for a name, or a file cannot be read or written.
    pub(crate) fn issue(
        &self,
        server: &str,
        names: &[String],
        now: Timestamp,
    ) -> Result<(), CertificateError> {
        self.ensure(server, names, now)?;
        self.must_vouch_for(names)?;
        let key_path = self.key();
        let key = fs::read_to_string(&key_path).map_err(|reason| failed(&key_path, reason))?;
        let issuer = Issuer::new(root(server)?, KeyPair::from_pem(&key)?);
        let own = KeyPair::generate()?;
        let mut wanted = CertificateParams::new(names.to_vec())?;
        wanted.distinguished_name = DistinguishedName::new();
        let first = names.first().map_or(server, String::as_str);
        wanted.distinguished_name.push(DnType::CommonName, first);
        wanted.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        // Servers are clients of each other too.
        wanted.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        wanted.use_authority_key_identifier_extension = true;
        limit(&mut wanted, now, SERVER_DAYS);
        let made = wanted.signed_by(&own, &issuer)?;
        let facts = Facts {
            names: names.to_vec(),
            made_at: now.max(YOUNGEST),
            is_placeholder: false,
        };
        let path = self.folder.join(SERVER);
        file::write(&path, &facts, &made.pem(), &own.serialize_pem())
    }

    /// Refuses names that the root which was handed out does not vouch for.
    fn must_vouch_for(&self, names: &[String]) -> Result<(), CertificateError> {
        let path = self.root();
        let text = fs::read_to_string(&path).map_err(|reason| failed(&path, reason))?;
        let line = text.lines().find_map(|line| line.strip_prefix("Names: "));
        let vouched: Vec<&str> = line.unwrap_or_default().split_whitespace().collect();
        let is_within = |name: &str| {
            vouched.iter().any(|above| {
                name.eq_ignore_ascii_case(above)
                    || (above.parse::<IpAddr>().is_err()
                        && name
                            .to_ascii_lowercase()
                            .ends_with(&format!(".{}", above.to_ascii_lowercase())))
            })
        };
        match names.iter().find(|name| !is_within(name)) {
            None => Ok(()),
            Some(name) => Err(CertificateError::NotVouched {
                folder: self.folder.clone(),
                name: name.clone(),
            }),
        }
    }
}

/// What the root vouches for: the server's name, all below it, and the names given.
fn vouched(server: &str, names: &[String]) -> Vec<String> {
    let mut vouched = vec![server.to_owned()];
    for name in names {
        if !vouched.contains(name) {
            vouched.push(name.clone());
        }
    }
    vouched
}

fn constraints(names: &[String]) -> NameConstraints {
    let (mut permitted, mut any_address) = (Vec::new(), false);
    for name in names {
        permitted.push(match name.parse::<IpAddr>() {
            Ok(IpAddr::V4(address)) => {
                any_address = true;
                GeneralSubtree::IpAddress(CidrSubnet::V4(address.octets(), [255; 4]))
            }
            Ok(IpAddr::V6(address)) => {
                any_address = true;
                GeneralSubtree::IpAddress(CidrSubnet::V6(address.octets(), [255; 16]))
            }
            Err(_) => GeneralSubtree::DnsName(name.clone()),
        });
    }
    // Addresses are not limited by what is said of names.
    let all = || {
        let four = CidrSubnet::V4([0; 4], [0; 4]);
        let six = CidrSubnet::V6([0; 16], [0; 16]);
        vec![
            GeneralSubtree::IpAddress(four),
            GeneralSubtree::IpAddress(six),
        ]
    };
    NameConstraints {
        permitted_subtrees: permitted,
        excluded_subtrees: if any_address { Vec::new() } else { all() },
    }
}

/// The root without its times and limits: what its certificates say of their issuer.
fn root(server: &str) -> Result<CertificateParams, CertificateError> {
    let mut root = CertificateParams::new(Vec::<String>::new())?;
    root.distinguished_name = DistinguishedName::new();
    let name = format!("{server} (Cairn)");
    root.distinguished_name.push(DnType::CommonName, name);
    root.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    root.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(root)
}

/// Makes a certificate good from the day before, as clocks differ, for so many days.
fn limit(params: &mut CertificateParams, now: Timestamp, days: u32) {
    let now = now.max(YOUNGEST);
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + Duration::from_millis(now.minus(DAY).0);
    params.not_after = epoch + Duration::from_millis(now.plus(DAY * days).0);
}
