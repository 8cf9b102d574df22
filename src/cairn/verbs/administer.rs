//! `cairn user`, `cairn database`, and what `cairn invite` needs: the same verbs whether a
//! server runs (then it does them, asked over its socket) or not (then they are done here).

use std::io::{IsTerminal as _, Write as _};

use actions::{Administration, Administrator, FileSelection, FileWish, Restraint};
use model::Role;
use runtime::{Metrics, Tasks};
use serde_json::{Value, json};

use super::{Answer, Failure, people, restore};
use crate::{
    command_line::{Common, DatabaseVerb, MediaVerb, UserVerb, WhichFiles, Why},
    config::Config,
    parts::{Parts, give_back},
    socket,
};

/// The file of the running server's socket, within its data folder.
pub(crate) const SOCKET: &str = "admin.sock";

/// Does a verb of `cairn user`.
pub(super) fn user(verb: UserVerb, common: &Common) -> Result<Answer, Failure> {
    let (wish, why) = match verb {
        UserVerb::List => return done(Administration::ListUsers, common),
        UserVerb::Show { user } => return done(Administration::ShowUser { user }, common),
        UserVerb::Create {
            user,
            administrator,
            password_from_stdin,
            why,
        } => {
            let password = password(password_from_stdin)?;
            let wish = Administration::CreateUser {
                user,
                password,
                administrator,
            };
            return done_because(wish, why.reason, common);
        }
        UserVerb::ResetPassword {
            user,
            password_from_stdin,
            why,
        } => {
            let password = password(password_from_stdin)?;
            (Administration::ResetPassword { user, password }, why)
        }
        UserVerb::Deactivate(deactivate) => return people::deactivate(deactivate, common),
        UserVerb::People(verb) => return people::user(verb, common),
        UserVerb::ResetSecondFactor { user, why } => {
            (Administration::ResetSecondFactor { user }, why)
        }
        UserVerb::Token {
            user,
            name,
            days,
            why,
        } => {
            let wish = Administration::MakeProgramToken { user, name, days };
            return done_because(wish, why.reason, common);
        }
        UserVerb::Promote { user, role, why } => (changed(user, Some(role), true), why),
        UserVerb::Demote { user, role, why } => (changed(user, role, false), why),
        UserVerb::Lock { user, tell, why } => (restrained(user, Restraint::Lock, true, tell), why),
        UserVerb::Unlock { user, why } => (restrained(user, Restraint::Lock, false, None), why),
        UserVerb::Suspend { user, tell, why } => {
            (restrained(user, Restraint::Suspension, true, tell), why)
        }
        UserVerb::Unsuspend { user, why } => {
            (restrained(user, Restraint::Suspension, false, None), why)
        }
    };
    let reason = asked_for(why)?;
    done_because(wish, reason, common)
}

/// The reason that was given, or that somebody at a terminal gives when asked.
pub(super) fn asked_for(why: Why) -> Result<Option<String>, Failure> {
    let is_asked = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    if why.reason.is_some() || !is_asked {
        return Ok(why.reason);
    }
    let failed = |error| Failure::Other(format!("no reason could be read: {error}"));
    write!(std::io::stderr(), "Why? (for the audit trail) ").map_err(failed)?;
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).map_err(failed)?;
    Ok(Some(line.trim().to_owned()).filter(|reason| !reason.is_empty()))
}

fn changed(user: String, role: Option<Role>, has: bool) -> Administration {
    Administration::ChangeRole { user, role, has }
}

fn restrained(
    user: String,
    restraint: Restraint,
    restrained: bool,
    told: Option<String>,
) -> Administration {
    Administration::RestrainUser {
        user,
        restraint,
        restrained,
        told,
    }
}

/// Does `cairn reports`.
pub(super) fn reports(common: &Common) -> Result<Answer, Failure> {
    done(Administration::ListReports, common)
}

/// Does a verb of `cairn media`.
pub(super) fn media(verb: MediaVerb, common: &Common) -> Result<Answer, Failure> {
    let (wish, selection) = match verb {
        MediaVerb::List { which } => (FileWish::List, selected(which)),
        MediaVerb::Show { uri } => (FileWish::List, FileSelection::File(uri)),
        MediaVerb::Delete { which } => (FileWish::Delete, selected(which)),
        MediaVerb::Quarantine { which } => (FileWish::Quarantine, selected(which)),
        MediaVerb::Unquarantine { which } => (FileWish::Unquarantine, selected(which)),
    };
    done(Administration::Files { wish, selection }, common)
}

/// The command line sees to it that one of them is there.
fn selected(which: WhichFiles) -> FileSelection {
    let WhichFiles {
        file,
        user,
        room,
        hash,
        before,
    } = which;
    let others = user.map(FileSelection::User);
    let others = others.or(room.map(FileSelection::Room));
    let others = others.or(hash.map(FileSelection::Hash));
    let others = others.or(before.map(FileSelection::Before));
    others.unwrap_or(FileSelection::File(file.unwrap_or_default()))
}

/// Does a verb of `cairn database`.
pub(super) fn database(verb: DatabaseVerb, common: &Common) -> Result<Answer, Failure> {
    let wish = match verb {
        DatabaseVerb::Show => Administration::ShowDatabase,
        DatabaseVerb::Compact => Administration::CompactDatabase,
        DatabaseVerb::AcceptLoss => return restore::accept_loss(common),
        DatabaseVerb::GoBack => return restore::go_back(common),
    };
    done(wish, common)
}

/// Has a wish done and tells the answer.
pub(super) fn done(wish: Administration, common: &Common) -> Result<Answer, Failure> {
    done_because(wish, None, common)
}

/// The same for a reason.
fn done_because(
    wish: Administration,
    reason: Option<String>,
    common: &Common,
) -> Result<Answer, Failure> {
    let config = Config::load(&common.config)?;
    let json = perform_because(&config, wish.clone(), reason)?;
    Ok(Answer {
        text: told(&wish, &json),
        json,
    })
}

/// Has a wish done: by the running server if there is one.
pub(super) fn perform(config: &Config, wish: Administration) -> Result<Value, Failure> {
    perform_because(config, wish, None)
}

/// The same for a reason.
pub(super) fn perform_because(
    config: &Config,
    wish: Administration,
    reason: Option<String>,
) -> Result<Value, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Other(format!("this process cannot work: {error}")))?;
    runtime.block_on(async {
        let path = config.data_dir.join(SOCKET);
        if let Some(answer) = socket::ask_because(&path, &wish, reason.clone()).await? {
            return Ok(answer);
        }
        let parts = Parts::open(config, &Metrics::new(), Tasks::new().stop())
            .map_err(|error| Failure::Other(error.to_string()))?;
        let by = Administrator::operator().because(reason);
        let answer = parts.actions.administer(&by, wish).await;
        drop(parts);
        give_back(&config.data_dir);
        answer.map_err(|error| Failure::Other(error.to_string()))
    })
}

/// Reads a password from standard input, without the line break at its end.
fn password(from_stdin: bool) -> Result<Option<String>, Failure> {
    if !from_stdin {
        return Ok(None);
    }
    let mut line = String::new();
    std::io::stdin()
        .read_line(&mut line)
        .map_err(|error| Failure::Other(format!("no password could be read: {error}")))?;
    let password = line.trim_end_matches(['\n', '\r']);
    if password.is_empty() {
        return Err(Failure::Other("the password is empty".to_owned()));
    }
    Ok(Some(password.to_owned()))
}

/// The answer in words.
fn told(wish: &Administration, answer: &Value) -> String {
    let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
    let with_password = |verb: &str| {
        let mut told = format!("{verb} {}", text("user_id"));
        if answer["password"].is_string() {
            told += &format!("\nPassword (shown only now): {}", text("password"));
        }
        told
    };
    match wish {
        Administration::CreateUser { .. } => with_password("Created"),
        Administration::ResetPassword { .. } => with_password("New password for"),
        Administration::ResetSecondFactor { .. } => {
            format!("{} has no second factor any more", text("user_id"))
        }
        Administration::MakeProgramToken { .. } => format!(
            "Token for {} to administer as {} (shown only now): {}",
            text("name"),
            text("user_id"),
            text("token")
        ),
        Administration::DeactivateUser { .. } => format!("Deactivated {}", text("user_id")),
        Administration::ChangeRole { .. } => {
            let roles = answer["roles"].as_array().into_iter().flatten();
            let roles: Vec<&str> = roles.filter_map(Value::as_str).collect();
            match roles.is_empty() {
                true => format!("{} has no role on the server now", text("user_id")),
                false => format!("{} is {} now", text("user_id"), roles.join(" and ")),
            }
        }
        Administration::RestrainUser {
            restraint,
            restrained,
            ..
        } => {
            let now = match (restraint, restrained) {
                (Restraint::Lock, true) => "is locked now",
                (Restraint::Lock, false) => "is not locked any more",
                (Restraint::Suspension, true) => "is suspended now",
                (Restraint::Suspension, false) => "is not suspended any more",
            };
            format!("{} {now}", text("user_id"))
        }
        Administration::Files { wish, .. } => match wish {
            FileWish::List => lines(&answer["files"], file_line),
            FileWish::Delete => lines(&answer["deleted"], |uri| {
                format!("Deleted {}", uri.as_str().unwrap_or_default())
            }),
            FileWish::Quarantine => format!("Put into quarantine: {}", answer["quarantined"]),
            FileWish::Unquarantine => {
                format!("Taken out of quarantine: {}", answer["unquarantined"])
            }
        },
        Administration::ListReports => lines(&answer["reports"], report_line),
        // `invite`, `backup`, `audit`, `register`, `room`, `federation` and `people` tell these themselves.
        Administration::CreateInvitations { .. }
        | Administration::CopyDatabase
        | Administration::FederationStatus
        | Administration::FederationCheck { .. }
        | Administration::FederationRetry { .. }
        | Administration::FederationBlock { .. }
        | Administration::FederationUnblock { .. }
        | Administration::FederationForget { .. }
        | Administration::ImportPeerList { .. }
        | Administration::ExportPeerList
        | Administration::ShowAudit { .. }
        | Administration::VerifyAudit { .. }
        | Administration::ExportAudit { .. }
        | Administration::SignAudit
        | Administration::RegisterOfRoom { .. }
        | Administration::RegisterOfPerson { .. }
        | Administration::People { .. }
        | Administration::Rooms { .. } => String::new(),
        Administration::RevokeInvitation { .. } => "Revoked".to_owned(),
        Administration::ListUsers => lines(&answer["users"], user_line),
        Administration::ShowUser { .. } => {
            let devices = lines(&answer["devices"], |device| {
                format!(
                    "  device {} {}",
                    word(device, "device_id"),
                    word(device, "display_name")
                )
            });
            format!("{}\n{devices}", user_line(answer))
        }
        Administration::ListInvitations => lines(&answer["invitations"], |one| {
            format!(
                "{}…  used {} of {}",
                word(one, "name"),
                one["uses"],
                one["uses_allowed"]
            )
        }),
        Administration::ShowDatabase | Administration::CompactDatabase => database_lines(answer),
    }
}

/// What the database takes, by its parts.
fn database_lines(answer: &Value) -> String {
    let size = |size: &Value| {
        format!(
            "{:.1} MiB",
            size.as_f64().unwrap_or(0.0) / f64::from(1 << 20)
        )
    };
    let mut told = format!(
        "Events    {}, {} as canonical JSON\nOn disk   {}",
        answer["events"],
        size(&answer["canonical_bytes"]),
        size(&answer["disk_bytes"])
    );
    if answer["disk_bytes_before"].is_number() {
        told += &format!(", {} before", size(&answer["disk_bytes_before"]));
    }
    for (family, bytes) in answer["families"].as_object().into_iter().flatten() {
        told += &format!("\n  {family:<8}{}", size(bytes));
    }
    told + &format!("\n  log     {}", size(&answer["write_ahead_log_bytes"]))
}

pub(super) fn lines(list: &Value, line: impl Fn(&Value) -> String) -> String {
    let lines: Vec<String> = list.as_array().into_iter().flatten().map(line).collect();
    if lines.is_empty() {
        "None".to_owned()
    } else {
        lines.join("\n")
    }
}

pub(super) fn word<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

/// A report: when, who, about what, why.
fn report_line(report: &Value) -> String {
    let about = ["event_id", "room_id", "user_id"]
        .into_iter()
        .map(|name| word(report, name))
        .filter(|id| !id.is_empty());
    format!(
        "{}  {} reports {}: {}",
        report["at"],
        word(report, "reporter"),
        about.collect::<Vec<_>>().join(" in "),
        word(report, "reason").escape_debug()
    )
}

/// A file: its name, what it is, and whether it is given out.
fn file_line(file: &Value) -> String {
    let mut line = format!(
        "{}  {} bytes  {}  {}  sha256 {}",
        word(file, "uri"),
        file["length"],
        word(file, "content_type").escape_debug(),
        word(file, "uploader"),
        word(file, "sha256"),
    );
    for mark in ["quarantined", "protected"] {
        if file[mark] == json!(true) {
            line += &format!("  {mark}");
        }
    }
    line
}

fn user_line(user: &Value) -> String {
    let mut line = word(user, "user_id").to_owned();
    for role in user["roles"].as_array().into_iter().flatten() {
        line += &format!("  {}", role.as_str().unwrap_or_default());
    }
    for mark in ["locked", "suspended", "deactivated"] {
        if user[mark] == json!(true) {
            line += &format!("  {mark}");
        }
    }
    line
}
