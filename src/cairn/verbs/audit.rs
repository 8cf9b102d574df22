//! `cairn audit`: the trail of who did what.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
};

use actions::{Administration, AuditSelection};
use graph::SigningKey;
use runtime::Timestamp;
use serde_json::{Value, json};

use super::{Answer, Failure, administer, peers::write_new};
use crate::{
    command_line::{AuditShow, AuditVerb, AuditVerify, Common},
    config::Config,
};

/// Does a verb of `cairn audit`.
pub(super) fn run(verb: AuditVerb, common: &Common) -> Result<Answer, Failure> {
    let config = Config::load(&common.config)?;
    match verb {
        AuditVerb::Show(wanted) => show(&config, wanted),
        AuditVerb::Verify(AuditVerify {
            file: Some(file),
            key,
            ..
        }) => verify_file(&config, &file, key),
        AuditVerb::Verify(AuditVerify { entry, hash, .. }) => verify(&config, entry.zip(hash)),
        AuditVerb::Export { to } => export(&config, &to),
    }
}

fn show(config: &Config, wanted: AuditShow) -> Result<Answer, Failure> {
    let selection = AuditSelection {
        by: wanted.by,
        on: wanted.on,
        room: wanted.room,
        verb: wanted.verb,
        since: wanted.since,
        until: wanted.until,
        before: wanted.before,
        limit: usize::try_from(wanted.limit).unwrap_or(usize::MAX),
    };
    let json = administer::perform(config, Administration::ShowAudit { selection })?;
    let entries = json["entries"].as_array().into_iter().flatten();
    let mut lines: Vec<String> = entries.map(line).collect();
    if lines.is_empty() {
        lines.push("None".to_owned());
    }
    if let Some(next) = json["next"].as_u64() {
        lines.push(format!("There is more: --before {next}"));
    }
    Ok(Answer {
        text: lines.join("\n"),
        json,
    })
}

/// An entry in one line.
fn line(entry: &Value) -> String {
    let word = |name: &str| entry[name].as_str().unwrap_or_default();
    let at = Timestamp(entry["at"].as_u64().unwrap_or_default());
    let mut line = format!("{}  {at}  {}", entry["number"], word("by"));
    if !word("from").is_empty() {
        line += &format!(" ({})", word("from").escape_debug());
    }
    line += &format!("  {}", word("verb"));
    for name in ["on", "room"] {
        if !word(name).is_empty() {
            line += &format!("  {}", word(name).escape_debug());
        }
    }
    match (&entry["before"], &entry["after"]) {
        (Value::Null, Value::Null) => {}
        (Value::Null, after) => line += &format!("  {after}"),
        (before, Value::Null) => line += &format!("  was {before}"),
        (before, after) => line += &format!("  {before} -> {after}"),
    }
    if !word("reason").is_empty() {
        line += &format!("  because: {}", word("reason").escape_debug());
    }
    line
}

fn verify(config: &Config, noted: Option<(u64, String)>) -> Result<Answer, Failure> {
    let json = administer::perform(config, Administration::VerifyAudit { noted })?;
    if json["ok"] == true {
        let text = format!(
            "The audit trail is what was written: {} entries.\nHash of the last: {}",
            json["entries"],
            json["hash"].as_str().unwrap_or_default()
        );
        return Ok(Answer { text, json });
    }
    let text = format!(
        "The audit trail was changed. Entry {}: {}. All {} entries before it are what was written.",
        json["broken"]["number"],
        json["broken"]["reason"].as_str().unwrap_or_default(),
        json["entries"],
    );
    Err(Failure::Found { text, json })
}

fn verify_file(config: &Config, path: &Path, key: Option<String>) -> Result<Answer, Failure> {
    let failed =
        |error: &dyn std::fmt::Display| Failure::Other(format!("{}: {error}", path.display()));
    let key = match key {
        Some(key) => key,
        None => {
            let own = config.data_dir.join("signing.key");
            let text = fs::read_to_string(&own)
                .map_err(|error| Failure::Other(format!("{}: {error}", own.display())))?;
            let own = SigningKey::parse(&text);
            own.map_err(|error| Failure::Other(error.to_string()))?
                .public_base64()
        }
    };
    let file = File::open(path).map_err(|error| failed(&error))?;
    let checked = audit::check_file(BufReader::new(file).lines(), &key);
    let checked = checked.map_err(|error| failed(&error))?;
    let (at, hash) = (
        Timestamp(checked.at),
        audit::hexadecimal(&checked.head.hash),
    );
    let text = format!(
        "Signed by {} with {} at {at}: {} entries.\nHash of the last: {hash}",
        checked.server, checked.key_id, checked.head.entries
    );
    let json = json!({
        "ok": true,
        "server": checked.server,
        "key_id": checked.key_id,
        "signed_at": checked.at,
        "entries": checked.head.entries,
        "hash": hash,
    });
    Ok(Answer { text, json })
}

/// The server signs first: what is done while lines are copied comes behind that end.
fn export(config: &Config, to: &str) -> Result<Answer, Failure> {
    let signed = administer::perform(config, Administration::SignAudit)?;
    let entries = signed["entries"].as_u64().unwrap_or_default();
    let statement = signed["statement"].as_str().unwrap_or_default();
    let (mut text, mut number) = (String::new(), 0);
    while number < entries {
        let wish = Administration::ExportAudit { after: number };
        let part = administer::perform(config, wish)?;
        let before = number;
        for line in part["lines"].as_array().into_iter().flatten() {
            if number < entries {
                text += line.as_str().unwrap_or_default();
                text.push('\n');
                number += 1;
            }
        }
        if number == before {
            let gone = format!("entry {} is missing: see `cairn audit verify`", number + 1);
            return Err(Failure::Other(gone));
        }
    }
    text += statement;
    text.push('\n');
    if to == "-" {
        let written = std::io::stdout().write_all(text.as_bytes());
        written.map_err(|error| Failure::Other(error.to_string()))?;
        return Ok(Answer {
            text: String::new(),
            json: Value::Null,
        });
    }
    write_new(Path::new(to), text.as_bytes(), true)?;
    Ok(Answer {
        text: format!("{entries} entries are written to {to}, signed."),
        json: json!({ "entries": entries, "file": to }),
    })
}
