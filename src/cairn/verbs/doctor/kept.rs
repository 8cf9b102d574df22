//! What the server keeps: its data folder, the disk, certificates, backups.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path, time::Duration};

use backup::{BackupError, Repository};
use runtime::Clock;
use web::Tls;

use super::Findings;
use crate::{config::Config, progress::size};

/// Milliseconds of a day.
const DAY: u64 = 24 * 60 * 60 * 1_000;
/// Below so many days before its end a certificate is a matter for today.
const CERTIFICATE_DAYS: u64 = 14;
/// A backup that is older is none to count on, in days.
const BACKUP_DAYS: u64 = 3;

pub(super) fn data_folder(config: &Config, findings: &mut Findings) {
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

pub(super) fn certificates(config: &Config, findings: &mut Findings) {
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

pub(super) fn backups(folder: &Path, config: &Config, findings: &mut Findings) {
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
