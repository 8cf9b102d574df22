//! `cairn federation`: conversations with other servers.

use actions::Administration;
use serde_json::{Value, json};

use super::{Answer, Failure, administer, peers};
use crate::{
    command_line::{Common, FederationVerb},
    config::Config,
    parts,
};

/// Does a verb of `cairn federation`.
pub(super) fn run(verb: FederationVerb, common: &Common) -> Result<Answer, Failure> {
    if let FederationVerb::Peers(verb) = verb {
        return peers::run(verb, common);
    }
    let config = Config::load(&common.config)?;
    match verb {
        // Done above: an authority that signs lists needs no configuration.
        FederationVerb::Peers(_) => Ok(Answer {
            text: String::new(),
            json: json!({}),
        }),
        FederationVerb::Status => {
            let json = administer::perform(&config, Administration::FederationStatus)?;
            let text = status(&json);
            Ok(Answer { text, json })
        }
        FederationVerb::Check { server } => {
            let wish = Administration::FederationCheck { server };
            let json = administer::perform(&config, wish)?;
            let text = check(&json);
            if json["ok"] == true || common.json {
                Ok(Answer { text, json })
            } else {
                Err(Failure::Other(text))
            }
        }
        FederationVerb::Retry { server } => {
            let json = administer::perform(&config, Administration::FederationRetry { server })?;
            let text = format!("{} is tried now", word(&json, "server"));
            Ok(Answer { text, json })
        }
        FederationVerb::Block { server, reason } => {
            let wish = Administration::FederationBlock { server };
            let json = administer::perform_because(&config, wish, reason)?;
            let text = format!("{} is blocked", word(&json, "server"));
            Ok(Answer { text, json })
        }
        FederationVerb::Unblock { server, reason } => {
            let wish = Administration::FederationUnblock { server };
            let json = administer::perform_because(&config, wish, reason)?;
            let text = format!("{} is blocked no more", word(&json, "server"));
            Ok(Answer { text, json })
        }
        FederationVerb::Forget { server } => {
            let json = administer::perform(&config, Administration::FederationForget { server })?;
            let text = format!(
                "Forgot what waited for {}: {} events, {} messages and changes of devices",
                word(&json, "server"),
                json["events"],
                json["others"]
            );
            Ok(Answer { text, json })
        }
        FederationVerb::RotateKey => rotate_key(&config),
    }
}

fn word<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

fn status(answer: &Value) -> String {
    let mut told = format!(
        "This server signs with {}. It knows the keys of {} other servers.",
        word(answer, "key_id"),
        answer["known_servers"]
    );
    if answer["list"].is_object() {
        told += &format!("\n{}", peers::in_short(&answer["list"]));
    }
    let failing = answer["failing"].as_array().cloned().unwrap_or_default();
    if failing.is_empty() {
        told += "\nNone is known not to answer.";
    }
    for server in &failing {
        told += &format!(
            "\n{} does not answer since {} ({} times): {}; tried again at {}",
            word(server, "server"),
            word(server, "since"),
            server["failures"],
            word(server, "reason"),
            word(server, "retry_at")
        );
    }
    for server in answer["blocked"].as_array().into_iter().flatten() {
        told += &format!(
            "\n{} is blocked since {}{}",
            word(server, "server"),
            word(server, "since"),
            match word(server, "reason") {
                "" => String::new(),
                reason => format!(": {reason}"),
            }
        );
    }
    for server in answer["waiting"].as_array().into_iter().flatten() {
        told += &format!(
            "\nFor {} wait {} events in {} rooms, {} messages and changes of devices{}",
            word(server, "server"),
            server["events"],
            server["rooms"],
            server["others"],
            match server["has_transaction"] == true {
                true => ", and a transaction that it has not confirmed",
                false => "",
            }
        );
    }
    told
}

fn check(answer: &Value) -> String {
    let steps = answer["steps"].as_array().cloned().unwrap_or_default();
    let mut told = format!("{}:", word(answer, "server"));
    for step in &steps {
        let mark = if step["ok"] == true { "ok  " } else { "FAIL" };
        told += &format!(
            "\n{mark} {:<10} {}",
            word(step, "step"),
            word(step, "found")
        );
    }
    told
}

fn rotate_key(config: &Config) -> Result<Answer, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Other(format!("this process cannot work: {error}")))?;
    let (old, new) = runtime
        .block_on(parts::rotate_key(config))
        .map_err(|error| Failure::Other(format!("{error}; the server must be stopped for this")))?;
    Ok(Answer {
        text: format!(
            "From its next start on this server signs with {new}. {old} stays published, for what it has signed.\n\
             Keep signing.key in your backups: the one there is the old one."
        ),
        json: json!({ "old_key_id": old, "new_key_id": new }),
    })
}
