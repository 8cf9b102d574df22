//! What is wrong with a configuration although every value has the right type.

use std::{
    fs::File,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use graph::Version;
use ruma_common::ServerName;
use web::Serves;

use super::{
    Document, address,
    options::ListenerOptions,
    source::{Problem, Source},
};

/// An event may have 65,536 bytes, and its escaped JSON somewhat more.
const SMALLEST_BODY_LIMIT: u64 = 131_072;

/// Takes the place of a mistake, and what is wrong there.
type Report<'a> = dyn FnMut(&[&str], String) + 'a;

/// What is wrong although every value has the right type; the server's name is
/// checked apart.
pub(super) fn problems_of(source: &Source<'_>, document: &Document) -> Vec<Problem> {
    let mut problems = listener_problems(source, document);
    problems.extend(address::problems(source, document));
    let mut report = |path: &[&str], message: String| problems.push(source.problem(path, message));

    if document.data_dir.as_os_str().is_empty() {
        report(
            &["data_dir"],
            "`data_dir` is empty: name a folder".to_owned(),
        );
    }
    let version = document.rooms.default_version.as_str();
    let stable = || Version::KNOWN.into_iter().filter(|it| it.is_stable());
    if !stable().any(|it| it.as_str() == version) {
        let known = stable().map(Version::as_str).collect::<Vec<_>>().join(", ");
        report(
            &["rooms", "default_version"],
            format!("rooms of version `{version}` cannot be created here; choose one of {known}"),
        );
    }
    if let Err(error) = document.media.open_before() {
        report(&["media", "unauthenticated_until"], error.to_string());
    }
    mail_problems(document, &mut report);
    for (index, root) in document.outgoing.trusted_roots.iter().enumerate() {
        if let Err(message) = readable(root) {
            report(&["outgoing", "trusted_roots", &index.to_string()], message);
        }
    }
    other_servers_problems(document, &mut report);
    if document.limits.max_body_bytes < SMALLEST_BODY_LIMIT {
        report(
            &["limits", "max_body_bytes"],
            format!("`max_body_bytes` must be at least {SMALLEST_BODY_LIMIT}, so that events fit"),
        );
    }
    problems.sort_by_key(|problem| problem.line);
    problems
}

fn mail_problems(document: &Document, report: &mut Report<'_>) {
    for mistake in document.mail.mistakes() {
        report(&["mail", mistake.key], mistake.text);
    }
    let password_file = &document.mail.password_file;
    if !password_file.as_os_str().is_empty()
        && let Err(message) = readable(password_file)
    {
        report(&["mail", "password_file"], message);
    }
    if document.registration.require_email && !document.mail.is_on() {
        report(
            &["registration", "require_email"],
            "`require_email` needs a relay: name one in [mail]".to_owned(),
        );
    }
}

/// What is wrong with what other servers are told, and with what is said of them.
fn other_servers_problems(document: &Document, report: &mut Report<'_>) {
    for (index, name) in document.federation.key_servers.iter().enumerate() {
        if ServerName::parse(name).is_err() {
            report(
                &["federation", "key_servers", &index.to_string()],
                format!("`{name}` is no server name"),
            );
        }
    }
    for (name, error) in document.federation.pinned_key_problems() {
        report(&["federation", "pinned_keys", name], error.to_string());
    }
    if let Err(error) = document.federation.authority() {
        report(&["federation", "peer_list_key"], error.to_string());
    }
    if let Err(error) = document.federation.list_url() {
        report(&["federation", "peer_list_url"], error.to_string());
    }
    let delegate = document.well_known.server.as_str();
    if !delegate.is_empty() && ServerName::parse(delegate).is_err() {
        report(
            &["well_known", "server"],
            format!("`{delegate}` is no server name, which has no https:// before it"),
        );
    }
    for name in document.federation.overrides.keys() {
        if ServerName::parse(name).is_err() {
            report(
                &["federation", "overrides", name],
                format!("`{name}` is no server name"),
            );
        }
    }
}

fn listener_problems(source: &Source<'_>, document: &Document) -> Vec<Problem> {
    let mut problems = Vec::new();
    let listeners = &document.listener;
    if !listeners
        .iter()
        .any(|listener| listener.serves.contains(&Serves::Client))
    {
        problems.push(
            source.problem(
                &["listener"],
                "no listener serves \"client\", so nobody could sign in: add \
             [[listener]] with an address and serves = [\"client\"]"
                    .to_owned(),
            ),
        );
    }
    for (index, listener) in listeners.iter().enumerate() {
        let number = index.to_string();
        let mut report = |key: &str, message: String| {
            problems.push(source.problem(&["listener", &number, key], message));
        };
        if listener.serves.is_empty() {
            report("serves", "a listener must serve something".to_owned());
        }
        let taken = |other: &ListenerOptions| other.address == listener.address;
        if !takes_any_port(listener.address) && listeners.iter().take(index).any(taken) {
            report(
                "address",
                format!("two listeners have the address {}", listener.address),
            );
        }
        let Some(tls) = &listener.tls else { continue };
        let own = own_certificate(document).unwrap_or_default();
        for (key, path) in [("certificate", &tls.certificate), ("key", &tls.key)] {
            if path.as_os_str().is_empty() {
                report("tls", format!("`{key}` is empty: name a PEM file"));
            } else if *path == own {
                // The server makes it.
            } else if let Err(message) = readable(path) {
                report("tls", message);
            }
        }
    }
    problems
}

/// The file of the certificate that the server makes or gets by itself, if it does.
fn own_certificate(document: &Document) -> Option<PathBuf> {
    let folder = document.data_dir.join(certificates::FOLDER);
    let is_own = !document.certificates.names.is_empty();
    is_own.then(|| folder.join(certificates::SERVER))
}

fn takes_any_port(address: SocketAddr) -> bool {
    address.port() == 0
}

/// Opens `file` and closes it again; the error is a sentence.
fn readable(file: &Path) -> Result<(), String> {
    match File::open(file) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("{} cannot be read: {error}", file.display())),
    }
}
