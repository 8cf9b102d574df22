//! `cairn init`: a configuration, a data folder with its keys, a first administrator.

use std::{
    fs::{self, File},
    io::{IsTerminal, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
};

use actions::Administration;
use ruma_common::ServerName;
use runtime::{Metrics, Tasks};
use serde_json::json;

use super::{Answer, Failure, administer};
use crate::{
    command_line::{Common, Init},
    config::Config,
    parts::{Parts, give_back},
};

/// Where the server listens if nobody says.
const ADDRESS: SocketAddr = SocketAddr::V4(std::net::SocketAddrV4::new(
    std::net::Ipv4Addr::LOCALHOST,
    8008,
));

/// Writes everything that `cairn serve` needs. An existing configuration is left
/// alone.
pub(super) fn run(init: Init, common: &Common) -> Result<Answer, Failure> {
    let file = &common.config;
    if file.exists() {
        return Err(Failure::Other(format!(
            "{} exists already; nothing was changed",
            file.display()
        )));
    }
    let server_name = match init.server_name {
        Some(name) => name,
        None => ask("Server name, for ever (for instance council.example)", None)?,
    };
    ServerName::parse(&server_name).map_err(|_| {
        Failure::Other(format!(
            "{server_name:?} is not a server name: use a domain such as council.example"
        ))
    })?;
    let data_dir = init
        .data_dir
        .unwrap_or_else(|| PathBuf::from("/var/lib/cairn"));
    let listen = init.listen.unwrap_or(ADDRESS);
    let text = configuration(&server_name, &data_dir, listen);
    // Checked before anything is written.
    let config = Config::parse(file, &text)?;
    let opened = Parts::open(&config, &Metrics::new(), Tasks::new().stop())
        .map_err(|error| Failure::Other(error.to_string()))?;
    drop(opened);
    give_back(&config.data_dir);
    write_new(file, &text).map_err(|error| {
        Failure::Other(format!("{} cannot be written: {error}", file.display()))
    })?;
    let mut told = format!(
        "Wrote {}; the server's data is in {}",
        file.display(),
        config.data_dir.display()
    );
    let mut answer = json!({ "config": file, "data_dir": config.data_dir });
    if let Some(user) = init.administrator {
        let wish = Administration::CreateUser {
            user,
            password: None,
            administrator: true,
        };
        let made = administer::perform(&config, wish)?;
        let word = |name: &str| made[name].as_str().unwrap_or_default().to_owned();
        told += &format!(
            "\nAdministrator {} with password (shown only now): {}",
            word("user_id"),
            word("password")
        );
        answer["administrator"] = made;
    }
    told += &format!("\nNext: cairn serve --config {}", file.display());
    Ok(Answer {
        text: told,
        json: answer,
    })
}

fn ask(question: &str, default: Option<&str>) -> Result<String, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::Other(format!(
            "{question}: say it with --server-name, there is no terminal to ask on"
        )));
    }
    // A closed terminal shows in the read that follows.
    let _ = write!(std::io::stderr(), "{question}: ");
    let mut line = String::new();
    std::io::stdin()
        .read_line(&mut line)
        .map_err(|error| Failure::Other(format!("no answer could be read: {error}")))?;
    let answer = line.trim();
    Ok(if answer.is_empty() {
        default.unwrap_or_default().to_owned()
    } else {
        answer.to_owned()
    })
}

/// The text of a small configuration; `cairn config example` shows every option.
fn configuration(server_name: &str, data_dir: &Path, listen: SocketAddr) -> String {
    let quoted = |text: &str| toml::Value::from(text).to_string();
    format!(
        "# `cairn config example` shows every option with its meaning.\n\
         server_name = {}\n\
         data_dir = {}\n\
         \n\
         [[listener]]\n\
         address = \"{listen}\"\n\
         serves = [\"client\", \"metrics\"]\n\
         \n\
         [registration]\n\
         mode = \"invite\"\n",
        quoted(server_name),
        quoted(&data_dir.to_string_lossy()),
    )
}

fn write_new(file: &Path, text: &str) -> std::io::Result<()> {
    if let Some(folder) = file
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        fs::create_dir_all(folder)?;
    }
    let mut output = File::create_new(file)?;
    output.write_all(text.as_bytes())?;
    output.sync_all()
}
