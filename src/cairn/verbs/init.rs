//! `cairn init`: a configuration, a data folder with its keys, a certificate, a first
//! administrator.

use std::{
    fs::{self, File},
    io::{IsTerminal, Write},
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use actions::Administration;
use certificates::{Keeper, KeeperParts};
use ruma_common::ServerName;
use runtime::{Clock, Metrics, Tasks};
use serde_json::json;
use web::Tls;

use super::{Answer, Failure, administer};
use crate::{
    command_line::{Common, Init, TlsKind},
    config::Config,
    parts::{Parts, give_back},
};

/// Where the server listens for a reverse proxy, and for this machine alone.
const NEAR: SocketAddr = local(8008);
/// Where the server listens for apps and for other servers, if nobody says: the addresses of
/// `cairn.socket`.
const APPS: SocketAddr = everywhere(443);
const SERVERS: SocketAddr = everywhere(8448);

const fn local(port: u16) -> SocketAddr {
    SocketAddr::V4(std::net::SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))
}

const fn everywhere(port: u16) -> SocketAddr {
    SocketAddr::V4(std::net::SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port))
}

/// What is to be set up: what was said on the command line, and what was asked for.
struct Plan {
    server_name: String,
    data_dir: PathBuf,
    listen: Option<SocketAddr>,
    tls: TlsKind,
    certificate: PathBuf,
    key: PathBuf,
    names: Vec<String>,
    email: String,
    administrator: Option<String>,
}

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
    let plan = Plan::gather(init)?;
    let text = plan.configuration();
    // Checked before anything is written.
    let config = Config::parse(file, &text)?;
    if plan.tls == TlsKind::Files {
        Tls::load(&plan.certificate, &plan.key)
            .map_err(|error| Failure::Other(error.to_string()))?;
    }
    let opened = Parts::open(&config, &Metrics::new(), Tasks::new().stop())
        .map_err(|error| Failure::Other(error.to_string()))?;
    drop(opened);
    let authority = certificate(&config)?;
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
    if let Some((root, fingerprint)) = authority {
        told += &format!(
            "\nInstall this root certificate on each device that talks to the server: {}\n\
             Its SHA-256, to be compared there: {fingerprint}",
            root.display()
        );
        answer["root"] = json!({ "certificate": root, "sha256": fingerprint });
    }
    if let Some(user) = plan.administrator.clone() {
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
    told += &plan.next(file);
    Ok(Answer {
        text: told,
        json: answer,
    })
}

/// Makes the certificate that the server sees to itself; returns the root to hand out and its
/// fingerprint.
fn certificate(config: &Config) -> Result<Option<(PathBuf, String)>, Failure> {
    let failed = |error: certificates::CertificateError| Failure::Other(error.to_string());
    let keeper = Keeper::new(KeeperParts {
        options: config.certificates.clone(),
        server_name: config.server_name.host().to_owned(),
        data_dir: config.data_dir.clone(),
        clock: Clock::system(),
    });
    let Some(keeper) = keeper else {
        return Ok(None);
    };
    keeper.prepare().map_err(failed)?;
    let authority = keeper.authority();
    let told = authority.map(|authority| Ok((authority.root(), authority.fingerprint()?)));
    told.transpose().map_err(failed)
}

impl Plan {
    /// Takes what was said, and asks for the rest if there is somebody to ask.
    fn gather(init: Init) -> Result<Self, Failure> {
        let is_asked = std::io::stdin().is_terminal();
        let server_name = match init.server_name {
            Some(name) => name,
            None if is_asked => ask_name()?,
            None => {
                return Err(Failure::Other(
                    "Server name, for ever (for instance council.example): say it with --server-name, there is no terminal to ask on".to_owned(),
                ));
            }
        };
        let parsed = ServerName::parse(&server_name).map_err(|_| {
            Failure::Other(format!(
                "{server_name:?} is not a server name: use a domain such as council.example"
            ))
        })?;
        let tls = match init.tls {
            Some(tls) => tls,
            None if is_asked => ask_tls()?,
            None => TlsKind::Proxy,
        };
        let mut names = init.names;
        if names.is_empty() && is_asked && init.tls.is_none() && tls != TlsKind::Proxy {
            let said = ask(&format!(
                "Names and addresses by which apps reach it, the one for people first [{}]",
                parsed.host()
            ))?;
            names = said.split_whitespace().map(str::to_owned).collect();
        }
        if names.is_empty() {
            names.push(parsed.host().to_owned());
        }
        let path = |given: Option<PathBuf>, question: &str| match given {
            _ if tls != TlsKind::Files => Ok(PathBuf::new()),
            Some(path) => std::path::absolute(&path)
                .map_err(|error| Failure::Other(format!("{}: {error}", path.display()))),
            None if is_asked => ask(question).map(PathBuf::from),
            None => Err(Failure::Other(format!(
                "{question}: say it with --certificate and --key"
            ))),
        };
        let administrator = match init.administrator {
            None if is_asked => Some(ask("First administrator's user name (empty: none)")?),
            given => given,
        };
        Ok(Self {
            certificate: path(
                init.certificate,
                "The PEM file of the certificate and its chain",
            )?,
            key: path(init.key, "The PEM file of its key")?,
            server_name,
            data_dir: init
                .data_dir
                .unwrap_or_else(|| PathBuf::from("/var/lib/cairn")),
            listen: init.listen,
            tls,
            names,
            email: init.email.unwrap_or_default(),
            administrator: administrator.filter(|name| !name.is_empty()),
        })
    }

    /// The text of a small configuration; `cairn config example` shows every option.
    fn configuration(&self) -> String {
        let quoted = |text: &str| toml::Value::from(text).to_string();
        let mut text = format!(
            "# `cairn config example` shows every option with its meaning.\n\
             server_name = {}\n\
             data_dir = {}\n",
            quoted(&self.server_name),
            quoted(&self.data_dir.to_string_lossy()),
        );
        for listener in self.listeners() {
            text += &listener;
        }
        if matches!(self.tls, TlsKind::Local | TlsKind::Acme) {
            let names: Vec<String> = self.names.iter().map(|name| quoted(name)).collect();
            text += &format!("\n[certificates]\nnames = [{}]\n", names.join(", "));
            if self.tls == TlsKind::Acme {
                text += "issuer = \"acme\"\n";
            }
            if !self.email.is_empty() {
                text += &format!("acme_email = {}\n", quoted(&self.email));
            }
        }
        text += "\n[registration]\nmode = \"invite\"\n";
        if self.tls != TlsKind::Proxy {
            text += &format!("\n[well_known]\nclient = {}\n", quoted(&self.address()));
        }
        text
    }

    fn listeners(&self) -> Vec<String> {
        // The console is there from the first day, for whoever has a second factor.
        let plain = |address: SocketAddr| {
            let serves = r#"["client", "admin", "metrics"]"#;
            format!("\n[[listener]]\naddress = \"{address}\"\nserves = {serves}\n")
        };
        if self.tls == TlsKind::Proxy {
            return vec![plain(self.listen.unwrap_or(NEAR))];
        }
        let quoted = |path: &Path| toml::Value::from(&*path.to_string_lossy()).to_string();
        let own = self
            .data_dir
            .join(certificates::FOLDER)
            .join(certificates::SERVER);
        let (certificate, key) = match self.tls {
            TlsKind::Files => (&self.certificate, &self.key),
            _ => (&own, &own),
        };
        let secure = |address: SocketAddr, serves: &str| {
            format!(
                "\n[[listener]]\naddress = \"{address}\"\nserves = [{serves}]\n\
                 tls = {{ certificate = {}, key = {} }}\n",
                quoted(certificate),
                quoted(key)
            )
        };
        match self.listen {
            Some(address) => vec![secure(address, "\"client\", \"federation\"")],
            None => vec![
                secure(APPS, "\"client\""),
                secure(SERVERS, "\"federation\""),
                plain(NEAR),
            ],
        }
    }

    /// The address that people and their apps use.
    fn address(&self) -> String {
        let name = self.names.first().unwrap_or(&self.server_name);
        let name = match name.parse::<std::net::Ipv6Addr>() {
            Ok(_) => format!("[{name}]"),
            Err(_) => name.clone(),
        };
        match self.listen.map(|listen| listen.port()) {
            None | Some(0 | 443) => format!("https://{name}"),
            Some(port) => format!("https://{name}:{port}"),
        }
    }

    /// What to do next.
    fn next(&self, file: &Path) -> String {
        let is_packaged = Path::new("/usr/lib/systemd/system/cairn.service").exists()
            && file == Path::new("/etc/cairn/cairn.toml");
        match (is_packaged, self.tls, self.listen) {
            (true, TlsKind::Proxy, _) | (true, _, Some(_)) => {
                "\nNext: systemctl enable --now cairn".to_owned()
            }
            (true, _, None) => "\nNext: systemctl enable --now cairn.socket cairn".to_owned(),
            (false, ..) => format!("\nNext: cairn serve --config {}", file.display()),
        }
    }
}

/// Asks for a server name until it is one; whoever says nothing goes away.
fn ask_name() -> Result<String, Failure> {
    loop {
        let name = ask("Server name, for ever (for instance council.example)")?;
        if name.is_empty() {
            return Err(Failure::Other("no server name was given".to_owned()));
        }
        if ServerName::parse(&name).is_ok() {
            return Ok(name);
        }
        // Nobody may be looking; what is read next tells.
        let _ = writeln!(
            std::io::stderr(),
            "{name:?} is not a server name: use a domain such as council.example"
        );
    }
}

fn ask_tls() -> Result<TlsKind, Failure> {
    let question = "How do apps get an encrypted connection?\n\
        \x20 1  a reverse proxy in front of the server has the certificate\n\
        \x20 2  with a certificate from files\n\
        \x20 3  with an authority that the server makes (no internet; its root is installed on each device)\n\
        \x20 4  with Let's Encrypt, which must reach port 443\n\
        Number";
    loop {
        match ask(question)?.as_str() {
            "1" => return Ok(TlsKind::Proxy),
            "2" => return Ok(TlsKind::Files),
            "3" => return Ok(TlsKind::Local),
            "4" => return Ok(TlsKind::Acme),
            "" => return Err(Failure::Other("nothing was chosen".to_owned())),
            _ => {}
        }
    }
}

fn ask(question: &str) -> Result<String, Failure> {
    // A closed terminal shows in the read that follows.
    let _ = write!(std::io::stderr(), "{question}: ");
    let mut line = String::new();
    std::io::stdin()
        .read_line(&mut line)
        .map_err(|error| Failure::Other(format!("no answer could be read: {error}")))?;
    Ok(line.trim().to_owned())
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
