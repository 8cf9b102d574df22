//! The running server: what it says of itself, and whether somebody can speak to it.

use std::{io::ErrorKind, net::TcpListener, time::Duration};

use actions::Administration;
use tokio::net::TcpStream;

use super::Findings;
use crate::{
    config::Config,
    progress::size,
    socket,
    verbs::{administer::SOCKET, backup::temporary_folder},
};

/// How long a connection to a listener of this machine may take.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) async fn server(config: &Config, findings: &mut Findings) {
    let health = socket::get(&config.data_dir.join(SOCKET), "/_cairn/health").await;
    match health {
        Err(error) => findings.wrong("server", error.to_string()),
        Ok(None) => {
            start_up(config, findings);
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
    counted(config, findings).await;
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

/// Why the server, which does not run, would not start.
fn start_up(config: &Config, findings: &mut Findings) {
    let mut is_kept = false;
    let mut wrong = |why: String| {
        is_kept = true;
        findings.wrong("start-up", why);
    };
    let database = store::database_folder(&config.data_dir);
    if let Ok(notes) = temporary_folder() {
        if database.exists()
            && let Some(reason) = store::broken(&database, &notes)
        {
            wrong(reason);
        }
        let _ = std::fs::remove_dir_all(&notes);
    }
    for listener in &config.listeners {
        match TcpListener::bind(listener.address) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::PermissionDenied => wrong(format!(
                "{} is a port of root's: systemctl enable --now cairn.socket has systemd listen there",
                listener.address
            )),
            Err(error) if error.kind() == ErrorKind::AddrInUse => wrong(format!(
                "{} is in use already: by cairn.socket, which is well, or by another program: ss -ltnp shows it",
                listener.address
            )),
            Err(error) => wrong(format!("{}: {error}", listener.address)),
        }
    }
    let told = match is_kept {
        true => "it does not run: journalctl -u cairn -e says why",
        false => {
            "it does not run, and nothing is seen that keeps it: systemctl start cairn; journalctl -u cairn -e says more"
        }
    };
    findings.wrong("server", told);
}

/// What the running server has counted: notifications, and whether files are taken.
async fn counted(config: &Config, findings: &mut Findings) {
    let page = socket::get_text(&config.data_dir.join(SOCKET), "/metrics").await;
    let Ok(Some(page)) = page else {
        findings.unknown("push", "the server does not tell its numbers");
        return;
    };
    let number = |name: &str| {
        let value = page.lines().find_map(|line| line.strip_prefix(name))?;
        value.trim().parse::<f64>().ok()
    };
    let pushed = |outcome: &str| {
        let name = format!("cairn_push_notifications_total{{outcome=\"{outcome}\"}}");
        number(&name).unwrap_or_default()
    };
    match (pushed("delivered"), pushed("failed")) {
        (0.0, 0.0) => findings.unknown(
            "push",
            "no notification was due since the start: people turn them on in their app",
        ),
        (0.0, failed) => findings.wrong(
            "push",
            format!(
                "none of {failed} attempts to notify phones was taken: the gateways that apps name are not reached from here. Without internet, run a gateway of your own and name its network in [outgoing]"
            ),
        ),
        (delivered, failed) => findings.well(
            "push",
            format!("{delivered} notifications were taken since the start, {failed} attempts failed"),
        ),
    }
    let most = size(config.limits.max_upload_bytes);
    match number("cairn_disk_full") {
        Some(0.0) => findings.well("media", format!("files of up to {most} are taken")),
        Some(_) => findings.wrong("media", "files are refused: make room on the disk"),
        None => findings.unknown("media", "the server does not say whether files are taken"),
    }
}

/// Asks the running server how it reaches another.
pub(super) async fn other_server(config: &Config, name: &str, findings: &mut Findings) {
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
