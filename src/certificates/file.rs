//! The one file with the certificates and their key.
//!
//! Certificates and key stand in one file, so that they are replaced together. Before them
//! stands what a renewal must know; whoever reads PEM passes over it.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use runtime::Timestamp;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};

use crate::{CertificateError, ends_at};

/// What stands before the certificates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// The names that they are for, as the operator wrote them.
    pub(crate) names: Vec<String>,
    /// When they were made.
    pub(crate) made_at: Timestamp,
    /// Whether nobody but this file vouches for them: to be replaced at once.
    pub(crate) is_placeholder: bool,
}

/// Writes the certificates and their key, in place of what was there, whole or not at all.
pub(crate) fn write(
    path: &Path,
    facts: &Facts,
    chain: &str,
    key: &str,
) -> Result<(), CertificateError> {
    let kind = match facts.is_placeholder {
        true => "placeholder",
        false => "certificate",
    };
    let text = format!(
        "Made by Cairn, and replaced by it in time.\nKind: {kind}\nNames: {}\nMade: {}\n\n{}\n{key}",
        facts.names.join(" "),
        facts.made_at.0,
        chain.trim_end(),
    );
    write_private(path, &text)
}

/// Reads the facts and when the first certificate ends; none if there is no such file.
pub(crate) fn read(path: &Path) -> Result<Option<(Facts, Timestamp)>, CertificateError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(reason) => return Err(failed(path, reason)),
    };
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    let facts = Facts {
        names: field("Names: ").map_or_else(Vec::new, |names| {
            names.split_whitespace().map(str::to_owned).collect()
        }),
        made_at: Timestamp(field("Made: ").and_then(|at| at.parse().ok()).unwrap_or(0)),
        is_placeholder: field("Kind: ") == Some("placeholder"),
    };
    let first = CertificateDer::from_pem_slice(text.as_bytes()).ok();
    let ends = first.and_then(|first| ends_at(&first)).unwrap_or_default();
    Ok(Some((facts, ends)))
}

/// Writes a file that only this system user may read, whole or not at all.
pub(crate) fn write_private(path: &Path, text: &str) -> Result<(), CertificateError> {
    let folder = path.parent().unwrap_or(path);
    let unfinished = path.with_extension("new");
    let written = || -> io::Result<()> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
        let _ = fs::remove_file(&unfinished);
        let mut file = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&unfinished)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&unfinished, path)?;
        File::open(folder)?.sync_all()
    };
    written().map_err(|reason| failed(path, reason))
}

pub(crate) fn failed(path: &Path, reason: io::Error) -> CertificateError {
    let path: PathBuf = path.to_owned();
    CertificateError::File { path, reason }
}
