//! `cairn doctor`: what is wrong with this server, and what to do about it. Works offline, and
//! says what it could not check.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path, time::Duration};

use actions::Administration;
use backup::{BackupError, Repository};
use runtime::Clock;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use web::Tls;

use super::{Answer, Failure, administer::SOCKET};
use crate::{
    command_line::{Common, Doctor},
    config::Config,
    progress::size,
    socket,
};

/// How long a connection to a listener of this machine may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Milliseconds of a day.
const DAY: u64 = 24 * 60 * 60 * 1_000;
/// Below so many days before its end a certificate is a matter for today.
const CERTIFICATE_DAYS: u64 = 14;
/// A backup that is older is none to count on, in days.
const BACKUP_DAYS: u64 = 3;
/// Less memory than this is too little for the server and its system.
const MEMORY: u64 = 900 << 20;
/// A clock before this (2026-01-01) is wrong: the program is younger.
const YOUNGEST: u64 = 1_767_225_600_000;

/// What came of one check.
enum Finding {
    Well(String),
    /// What is wrong and what to do.
    Wrong(String),
    /// Why it could not be checked.
    Unknown(String),
}

/// All that was found, in order.
#[derive(Default)]
struct Findings(Vec<(&'static str, Finding)>);

impl Findings {
    fn well(&mut self, what: &'static str, how: impl Into<String>) {
        self.0.push((what, Finding::Well(how.into())));
    }

    fn wrong(&mut self, what: &'static str, why: impl Into<String>) {
        self.0.push((what, Finding::Wrong(why.into())));
    }

    fn unknown(&mut self, what: &'static str, why: impl Into<String>) {
        self.0.push((what, Finding::Unknown(why.into())));
    }
}

/// Checks everything. Fails if something is wrong.
pub(super) fn run(doctor: &Doctor, common: &Common) -> Result<Answer, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Other(format!("this process cannot work: {error}")))?;
    let mut findings = Findings::default();
    match Config::load(&common.config) {
        Err(error) => findings.wrong("configuration", error.to_string()),
        Ok(config) => {
            configuration(&config, &common.config, &mut findings);
            data_folder(&config, &mut findings);
            certificates(&config, &mut findings);
            runtime.block_on(server(&config, &mut findings));
            if let Some(name) = &doctor.server {
                runtime.block_on(other_server(&config, name, &mut findings));
            }
            backups(&doctor.backups, &config, &mut findings);
        }
    }
    machine(&mut findings);
    answer(&findings)
}

fn configuration(config: &Config, file: &Path, findings: &mut Findings) {
    findings.well("configuration", format!("{}: no mistakes", file.display()));
    for name in config.absent_credentials() {
        findings.unknown(
            "configuration",
            format!("credential {name}: only the running service has it"),
        );
    }
    if config.well_known.client.is_empty() {
        findings.wrong(
            "sign-in",
            "apps find the server only by its own address: set `client` in [well_known] to it, https://matrix.council.example for instance",
        );
    } else {
        let client = &config.well_known.client;
        findings.well("sign-in", format!("apps are sent to {client}"));
    }
    let urls = &config.turn.uris;
    if urls.is_empty() && config.rtc.livekit_service_urls.is_empty() {
        findings.wrong(
            "calls",
            "there is no server for calls: people in different networks will not hear each other. Set [turn] or [rtc]",
        );
    } else {
        findings.well("calls", "a server for calls is named");
    }
}

fn data_folder(config: &Config, findings: &mut Findings) {
    let folder = &config.data_dir;
    let shown = folder.display();
    let Ok(found) = fs::metadata(folder) else {
        findings.wrong("data folder", format!("{shown} is not there: cairn init"));
        return;
    };
    if found.mode() & 0o077 != 0 {
        findings.wrong(
            "data folder",
            format!("others can read {shown}: chmod 700 {shown}"),
        );
    } else {
        findings.well("data folder", format!("{shown} is private"));
    }
    for name in ["database", "signing.key", "database/CURRENT"] {
        match fs::metadata(folder.join(name)) {
            Ok(inner) if inner.uid() != found.uid() => findings.wrong(
                "data folder",
                format!(
                    "{shown}/{name} belongs to somebody else than {shown}: chown -R --reference={shown} {shown}"
                ),
            ),
            Ok(_) => {}
            Err(error) => {
                findings.wrong("data folder", format!("{shown}/{name} cannot be seen: {error}"));
            }
        }
    }
    for path in store::put_aside(folder) {
        findings.unknown(
            "upgrade",
            format!(
                "{} is the database of before or after an upgrade: remove it when you are content with what there is",
                path.display()
            ),
        );
    }
    match rustix::fs::statvfs(folder) {
        Ok(disk) => {
            let free = disk.f_bavail.saturating_mul(disk.f_frsize);
            let for_files = config.media.reserved_disk_bytes;
            let for_writes = config.database.reserved_disk_bytes;
            let told = format!("{} are free for {shown}", size(free));
            if free < for_files.max(for_writes).saturating_mul(2) {
                findings.wrong(
                    "disk",
                    format!(
                        "only {told}; below {} files are refused, below {} all that is new: make room",
                        size(for_files),
                        size(for_writes)
                    ),
                );
            } else {
                findings.well("disk", told);
            }
        }
        Err(error) => findings.unknown("disk", error.to_string()),
    }
}

fn certificates(config: &Config, findings: &mut Findings) {
    let now = Clock::system().now().0;
    let mut any = false;
    for files in config.listeners.iter().filter_map(|one| one.tls.as_ref()) {
        any = true;
        let file = files.certificate.display();
        let ends = match Tls::load(&files.certificate, &files.key) {
            Ok(tls) => tls.ends_at(),
            Err(error) => {
                findings.wrong("certificate", error.to_string());
                continue;
            }
        };
        match ends.map(|ends| (ends, ends.0.checked_sub(now))) {
            None => findings.unknown("certificate", format!("{file}: its end cannot be read")),
            Some((ends, None)) => {
                findings.wrong(
                    "certificate",
                    format!("{file} has ended on {ends}: renew it"),
                );
            }
            Some((ends, Some(left))) if left < CERTIFICATE_DAYS * DAY => findings.wrong(
                "certificate",
                format!("{file} ends on {ends}, in {} days: renew it", left / DAY),
            ),
            Some((ends, Some(_))) => findings.well("certificate", format!("{file} ends on {ends}")),
        }
    }
    if !any {
        let told =
            "no listener has one: apps reach the server by a reverse proxy, which is not checked";
        findings.unknown("certificate", told);
    }
}

async fn server(config: &Config, findings: &mut Findings) {
    let health = socket::get(&config.data_dir.join(SOCKET), "/_cairn/health").await;
    match health {
        Err(error) => findings.wrong("server", error.to_string()),
        Ok(None) => {
            let told =
                "it does not run: systemctl start cairn; journalctl -u cairn -e says why not";
            findings.wrong("server", told);
            return;
        }
        Ok(Some(health)) => {
            let reasons = health["reasons"].as_array().cloned().unwrap_or_default();
            if health["ready"] == true && reasons.is_empty() {
                findings.well("server", "it runs and is well");
            }
            for reason in reasons {
                findings.wrong("server", reason.as_str().unwrap_or_default());
            }
        }
    }
    for listener in &config.listeners {
        let address = listener.address;
        if address.port() == 0 {
            findings.unknown("listener", format!("{address}: any free port"));
            continue;
        }
        let mut near = address;
        if near.ip().is_unspecified() {
            near.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
        }
        match tokio::time::timeout(PATIENCE, TcpStream::connect(near)).await {
            Ok(Ok(_)) => findings.well("listener", format!("{address} takes connections")),
            Ok(Err(error)) => findings.wrong(
                "listener",
                format!("{address} takes no connection ({error}): systemctl restart cairn"),
            ),
            Err(_) => findings.wrong("listener", format!("{address} does not answer")),
        }
    }
}

/// Asks the running server how it reaches another.
async fn other_server(config: &Config, name: &str, findings: &mut Findings) {
    let wish = Administration::FederationCheck {
        server: name.to_owned(),
    };
    match socket::ask(&config.data_dir.join(SOCKET), &wish).await {
        Ok(None) => findings.unknown("other server", "this one does not run"),
        Ok(Some(answer)) if answer["ok"] == true => {
            findings.well("other server", format!("{name} is reached"));
        }
        Ok(Some(_)) => findings.wrong(
            "other server",
            format!("{name} is not reached: cairn federation check {name} says at which step"),
        ),
        Err(error) => findings.wrong("other server", error.to_string()),
    }
}

fn backups(folder: &Path, config: &Config, findings: &mut Findings) {
    let shown = folder.display();
    match newest_backup(folder) {
        Ok((other, _)) if other != config.server_name.as_str() => {
            findings.wrong("backup", format!("{shown} has those of {other}"));
        }
        Ok((_, age)) => {
            let days = age.as_secs() / 86_400;
            let told = format!("the newest in {shown} is {days} days old");
            if days > BACKUP_DAYS {
                findings.wrong(
                    "backup",
                    format!("{told}: systemctl enable --now cairn-backup.timer; journalctl -u cairn-backup"),
                );
            } else {
                findings.well("backup", told);
            }
        }
        Err(error) => findings.wrong(
            "backup",
            format!("{error}: systemctl enable --now cairn-backup.timer, or name your folder with --backups"),
        ),
    }
}

/// Whose backups are in a folder, and how old the newest is.
fn newest_backup(folder: &Path) -> Result<(String, Duration), BackupError> {
    let repository = Repository::open(folder)?;
    if let Some(server_name) = repository.sealed_server()? {
        // Sealed: nobody but the holder of the key sees more.
        return Ok((server_name, repository.newest_age()?));
    }
    let about = repository.backup(None)?.manifest.about;
    let age = Clock::system().now().since(about.made_at);
    Ok((about.server_name, age))
}

fn machine(findings: &mut Findings) {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let number = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        let kilobytes = line.split_whitespace().next()?.parse::<u64>().ok()?;
        Some(kilobytes * 1_024)
    };
    match (number("MemTotal:"), number("MemAvailable:")) {
        (Some(total), Some(free)) => {
            let told = format!("{}, of which {} are free", size(total), size(free));
            if total < MEMORY {
                findings.wrong("memory", format!("{told}: at least 1 GiB, better 2"));
            } else {
                findings.well("memory", told);
            }
        }
        _ => findings.unknown("memory", "/proc/meminfo cannot be read"),
    }
    let now = Clock::system().now();
    if now.0 < YOUNGEST {
        findings.wrong(
            "clock",
            format!("it shows {now}: set it, or get a time server"),
        );
    } else if Path::new("/run/systemd/timesync/synchronized").exists() {
        findings.well("clock", format!("{now}, by a time server"));
    } else {
        findings.unknown(
            "clock",
            format!("{now}; whether that is right only you can tell"),
        );
    }
}

fn answer(findings: &Findings) -> Result<Answer, Failure> {
    let (mut lines, mut checks, mut wrong) = (Vec::new(), Vec::new(), 0);
    for (what, finding) in &findings.0 {
        let (mark, state, text) = match finding {
            Finding::Well(text) => ('✓', "well", text),
            Finding::Wrong(text) => {
                wrong += 1;
                ('✗', "wrong", text)
            }
            Finding::Unknown(text) => ('?', "not checked", text),
        };
        lines.push(format!("{mark} {what}: {text}"));
        checks.push(json!({ "check": what, "state": state, "text": text }));
    }
    let text = lines.join("\n");
    let answer: Value = json!({ "well": wrong == 0, "checks": checks });
    if wrong == 0 {
        return Ok(Answer { text, json: answer });
    }
    Err(Failure::Found { text, json: answer })
}
