//! `cairn federation peers`: signed lists of the servers of a closed federation.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{Read as _, Write as _},
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use actions::Administration;
use graph::SigningKey;
use peers::{AuthorityKey, DraftServer, MAX_LIST_BYTES, PeerList};
use runtime::{Clock, Random};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Failure, administer};
use crate::{
    command_line::{Common, PeersVerb},
    config::Config,
    parts,
};

/// A list as its authority writes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Draft {
    /// What it is called.
    name: String,
    /// Its number.
    serial: u64,
    #[serde(default)]
    servers: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    keys: Vec<String>,
    address: Option<SocketAddr>,
    /// A file, beside the draft if it is no whole path.
    certificate_authority: Option<PathBuf>,
}

/// Does a verb of `cairn federation peers`.
pub(super) fn run(verb: PeersVerb, common: &Common) -> Result<Answer, Failure> {
    match verb {
        PeersVerb::Import { list } => import(&list, common),
        PeersVerb::Export { to } => export(&to, common),
        PeersVerb::Verify { list, key } => verify(&list, key, common),
        PeersVerb::Sign {
            draft,
            to,
            key,
            days,
        } => sign((&draft, &to), &key, days),
        PeersVerb::NewKey { to } => new_key(&to),
    }
}

fn other(error: &dyn std::fmt::Display) -> Failure {
    Failure::Other(error.to_string())
}

fn of_file(path: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::Other(format!("{}: {error}", path.display()))
}

/// Reads a file that should not be longer than a list.
fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let file = File::open(path).map_err(|error| of_file(path, &error))?;
    let mut bytes = Vec::new();
    // One byte more shows that it is too long.
    let most = MAX_LIST_BYTES as u64 + 1;
    file.take(most)
        .read_to_end(&mut bytes)
        .map_err(|error| of_file(path, &error))?;
    Ok(bytes)
}

/// Writes a new file, which only its owner may read if it is `secret`.
pub(super) fn write_new(path: &Path, bytes: &[u8], secret: bool) -> Result<(), Failure> {
    let mode = if secret { 0o600 } else { 0o644 };
    let mut options = File::options();
    let opened = options.write(true).create_new(true).mode(mode).open(path);
    opened
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .map_err(|error| of_file(path, &error))
}

fn import(list: &Path, common: &Common) -> Result<Answer, Failure> {
    let config = Config::load(&common.config)?;
    let list = String::from_utf8(read(list)?).map_err(|error| of_file(list, &error))?;
    let json = administer::perform(&config, Administration::ImportPeerList { list })?;
    let how = match json["was_in_force"] == true {
        true => "It was in force already.",
        false => "It is in force now.",
    };
    let text = format!("{}\n{how}", told(&json["list"]));
    Ok(Answer { text, json })
}

fn export(to: &Path, common: &Common) -> Result<Answer, Failure> {
    let config = Config::load(&common.config)?;
    let mut json = administer::perform(&config, Administration::ExportPeerList)?;
    let signed = json["signed"].as_str().map(str::to_owned);
    let signed =
        signed.ok_or_else(|| Failure::Other("no list of servers is in force".to_owned()))?;
    write_new(to, signed.as_bytes(), false)?;
    let text = format!("{}\nWritten to {}.", told(&json["list"]), to.display());
    if let Some(object) = json.as_object_mut() {
        object.remove("signed");
    }
    Ok(Answer { text, json })
}

fn verify(list: &Path, key: Option<String>, common: &Common) -> Result<Answer, Failure> {
    let authority = match key {
        Some(key) => AuthorityKey::parse(&key).map_err(|error| other(&error))?,
        None => {
            let authority = Config::load(&common.config)?.federation.authority();
            let authority = authority.map_err(|error| other(&error))?;
            authority.ok_or_else(|| {
                let text = "`federation.peer_list_key` names no authority: give its key with --key";
                Failure::Other(text.to_owned())
            })?
        }
    };
    let read = PeerList::read(&read(list)?, &authority).map_err(|error| of_file(list, &error))?;
    let ended = read.valid_until <= Clock::system().now().0;
    let json = actions::peer_list_json(&read, None);
    let told = told(&json);
    if ended {
        return Err(Failure::Other(format!(
            "{told}\nIts time is over: it cannot be imported any more."
        )));
    }
    Ok(Answer {
        text: format!("Signed by {}.\n{told}", authority.to_text()),
        json,
    })
}

fn sign((draft, to): (&Path, &Path), key: &Path, days: u32) -> Result<Answer, Failure> {
    let key_text = fs::read_to_string(key).map_err(|error| of_file(key, &error))?;
    let signing_key = SigningKey::parse(&key_text).map_err(|error| of_file(key, &error))?;
    let text = String::from_utf8(read(draft)?).map_err(|error| of_file(draft, &error))?;
    let wanted: Draft = toml::from_str(&text).map_err(|error| of_file(draft, &error))?;
    let folder = draft.parent().unwrap_or(Path::new(""));
    let mut servers = BTreeMap::new();
    for (name, entry) in wanted.servers {
        let pem = entry.certificate_authority.map(|file| {
            let file = folder.join(file);
            fs::read_to_string(&file).map_err(|error| of_file(&file, &error))
        });
        let server = DraftServer {
            keys: entry.keys,
            address: entry.address,
            certificate_authority: pem.transpose()?,
        };
        servers.insert(name, server);
    }
    let now = Clock::system().now();
    let end = now.plus(Duration::from_secs(u64::from(days) * 86_400));
    let list = PeerList::new(wanted.name, wanted.serial, (now.0, end.0), servers)
        .map_err(|error| of_file(draft, &error))?;
    let signed = list.sign(&signing_key).map_err(|error| other(&error))?;
    write_new(to, signed.as_bytes(), false)?;
    let json = actions::peer_list_json(&list, None);
    Ok(Answer {
        text: format!("{}\nSigned and written to {}.", told(&json), to.display()),
        json,
    })
}

fn new_key(to: &Path) -> Result<Answer, Failure> {
    let key = parts::new_key(&Random::system()).map_err(|error| other(&error))?;
    write_new(to, key.to_text().as_bytes(), true)?;
    let public = AuthorityKey::of(&key).to_text();
    Ok(Answer {
        text: format!(
            "The key is in {}: keep it where nobody else can read it.\n\
             Servers that are to take its lists have in their configuration:\n\n\
             [federation]\npeer_list_key = \"{public}\"",
            to.display()
        ),
        json: json!({ "public_key": public }),
    })
}

/// A list in words.
pub(super) fn told(list: &Value) -> String {
    let word = |name: &str| list[name].as_str().unwrap_or_default();
    let servers = list["servers"].as_object().cloned().unwrap_or_default();
    let mut told = format!(
        "List {:?}, number {}, of {}, valid up to {}: {} servers",
        word("name"),
        list["serial"],
        word("issued_at"),
        word("valid_until"),
        servers.len()
    );
    for (name, server) in &servers {
        let keys = server["keys"].as_array().into_iter().flatten();
        let keys: Vec<&str> = keys.filter_map(Value::as_str).collect();
        told += &format!("\n  {name}  {}", keys.join(", "));
        if let Some(address) = server["address"].as_str() {
            told += &format!(", at {address}");
        }
        if server["has_certificate_authority"] == true {
            told += ", with a certificate authority of its own";
        }
    }
    told
}

/// The list in force, in one line.
pub(super) fn in_short(list: &Value) -> String {
    let word = |name: &str| list[name].as_str().unwrap_or_default();
    let ended = match list["has_ended"] == true {
        true => ", which is over: ask for a newer one",
        false => "",
    };
    format!(
        "The list of servers {:?} is in force: number {}, {} servers, valid up to {}{ended}.",
        word("name"),
        list["serial"],
        list["servers"].as_object().map_or(0, serde_json::Map::len),
        word("valid_until")
    )
}
