//! `cairn invite`: invitations as links, as QR codes and on printed sheets.

use std::{
    fs::{self, File},
    io::{IsTerminal, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use accounts::RegistrationMode;
use actions::Administration;
use console::{QrCode, SheetInvitation};
use runtime::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Failure, administer};
use crate::{
    command_line::{Common, InviteCreate, InviteVerb},
    config::Config,
};

/// Does a verb of `cairn invite`.
pub(super) fn run(verb: InviteVerb, common: &Common) -> Result<Answer, Failure> {
    match verb {
        InviteVerb::Create(create) => self::create(&create, common),
        InviteVerb::List => administer::done(Administration::ListInvitations, common),
        InviteVerb::Revoke { token } => {
            administer::done(Administration::RevokeInvitation { token }, common)
        }
    }
}

/// An invitation as the server answers it.
#[derive(Deserialize)]
struct Made {
    token: String,
    uses: u32,
    expires_at: Option<u64>,
}

/// An invitation as it is shown, once.
struct Invitation {
    made: Made,
    /// None if nobody knows the server's address.
    link: Option<String>,
}

impl Invitation {
    fn json(&self) -> Value {
        json!({
            "token": self.made.token,
            "uses": self.made.uses,
            "expires_at": self.made.expires_at,
            "link": self.link,
        })
    }

    /// For people: what it is good for, the link, its QR code, the token.
    fn told(&self, is_terminal: bool) -> String {
        let people = match self.made.uses {
            1 => "one person".to_owned(),
            uses => format!("{uses} people"),
        };
        let until = self.made.expires_at.map_or_else(String::new, |end| {
            format!(", until {}", console::moment(Timestamp(end)))
        });
        let mut told = format!("Invitation for {people}{until} (shown only now):\n\n");
        if let Some(link) = &self.link {
            told += &format!("  {link}\n\n");
            told += &QrCode::of(link).map_or_else(String::new, |code| code.blocks(is_terminal));
            told.push('\n');
        }
        told + &format!("Token, for clients that ask for one: {}\n", self.made.token)
    }
}

fn create(create: &InviteCreate, common: &Common) -> Result<Answer, Failure> {
    let config = Config::load(&common.config)?;
    let address = config.public_address();
    if create.sheet.is_some() && address.is_none() {
        return Err(Failure::Other(no_address()));
    }
    // Before there are invitations, which could be shown nowhere if it failed.
    let sheet = create.sheet.as_deref().map(SheetFile::open).transpose()?;
    let wish = Administration::CreateInvitations {
        uses: create.uses,
        expires_after_days: create.expires_after_days,
        count: create.count.unwrap_or(1),
    };
    let mut answer = administer::perform(&config, wish)?;
    let made: Vec<Made> = serde_json::from_value(answer["invitations"].take())
        .map_err(|error| Failure::Other(format!("the answer cannot be read: {error}")))?;
    let link = |token: &str| {
        let address = address.as_ref()?;
        Some(console::invitation_link(&address.url, token))
    };
    let invitations: Vec<Invitation> = made
        .into_iter()
        .map(|made| Invitation {
            link: link(&made.token),
            made,
        })
        .collect();
    let warnings = warnings(&config);
    let mut text = match sheet {
        Some(sheet) => {
            sheet.write(&printed(&config, &invitations))?;
            sheet_told(create, invitations.len())
        }
        None => {
            let is_terminal = std::io::stdout().is_terminal();
            let told = invitations.iter().map(|one| one.told(is_terminal));
            told.collect::<Vec<_>>().join("\n")
        }
    };
    for warning in &warnings {
        text += &format!("\n{warning}\n");
    }
    Ok(Answer {
        text,
        json: answered(create, &invitations, &warnings),
    })
}

/// One invitation alone, or a list where a number was asked for.
fn answered(create: &InviteCreate, invitations: &[Invitation], warnings: &[String]) -> Value {
    let mut shown: Vec<Value> = invitations.iter().map(Invitation::json).collect();
    let mut answer = match create.count {
        None => shown.pop().unwrap_or_default(),
        Some(_) => json!({ "invitations": shown }),
    };
    answer["warnings"] = json!(warnings);
    if let Some(sheet) = &create.sheet {
        answer["sheet"] = json!(sheet);
    }
    answer
}

fn printed(config: &Config, invitations: &[Invitation]) -> String {
    let sheets: Vec<SheetInvitation> = invitations
        .iter()
        .filter_map(|one| {
            Some(SheetInvitation {
                link: one.link.clone()?,
                uses: one.made.uses.into(),
                expires_at: one.made.expires_at.map(Timestamp),
                name: None,
            })
        })
        .collect();
    console::sheet(config.server_name.as_str(), &sheets)
}

fn sheet_told(create: &InviteCreate, count: usize) -> String {
    let file = create.sheet.as_deref().unwrap_or(Path::new(""));
    let what = match count {
        1 => "an invitation".to_owned(),
        count => format!("{count} invitations"),
    };
    format!(
        "Wrote {what} to {}, the only place where they stand: print it and delete it.\n",
        file.display()
    )
}

/// What the operator should know about the links.
fn warnings(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    match config.public_address() {
        None => warnings.push(no_address()),
        Some(address) if !address.is_configured => warnings.push(format!(
            "No address of this server is configured ([well_known] client): the link uses the \
             listener's own, {}, and works where that can be reached.",
            address.url
        )),
        Some(_) => {}
    }
    if config.registration.mode == RegistrationMode::Closed {
        warnings.push(
            "Nobody can register now ([registration] mode is \"closed\"), with an invitation \
             neither."
                .to_owned(),
        );
    }
    warnings
}

fn no_address() -> String {
    "No address of this server is configured ([well_known] client), and the listener takes any \
     free port: there is no link."
        .to_owned()
}

/// The file of a sheet. It is removed again unless it was written.
struct SheetFile {
    path: PathBuf,
    file: File,
    is_written: bool,
}

impl SheetFile {
    /// Makes the file, which only this system user may read: whoever has it can
    /// join. One that is there is left alone, for its invitations stand nowhere else.
    fn open(path: &Path) -> Result<Self, Failure> {
        let file = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(|error| unwritable(path, &error))?;
        Ok(Self {
            path: path.to_owned(),
            file,
            is_written: false,
        })
    }

    fn write(mut self, text: &str) -> Result<(), Failure> {
        let written = self.file.write_all(text.as_bytes());
        let synced = written.and_then(|()| self.file.sync_all());
        synced.map_err(|error| {
            Failure::Other(format!(
                "{}; the new invitations are of no use to anybody: see `cairn invite list`",
                unwritable(&self.path, &error)
            ))
        })?;
        self.is_written = true;
        Ok(())
    }
}

impl Drop for SheetFile {
    fn drop(&mut self) {
        if !self.is_written {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::Other(format!("{} cannot be written: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invitation(uses: u32, expires_at: Option<u64>, link: Option<&str>) -> Invitation {
        Invitation {
            made: Made {
                token: "TOKEN".to_owned(),
                uses,
                expires_at,
            },
            link: link.map(str::to_owned),
        }
    }

    #[test]
    fn an_invitation_is_told_with_its_link_and_code() {
        let end = Some(1_796_306_700_000);
        let told = invitation(1, end, Some("http://a/join/TOKEN")).told(false);
        assert!(told.starts_with(
            "Invitation for one person, until 3 December 2026, 14:05 UTC (shown only now):\n\n  \
             http://a/join/TOKEN\n\n"
        ));
        assert!(told.contains("█▀▀▀▀▀█") && !told.contains('\x1b'), "{told}");
        assert!(told.ends_with("Token, for clients that ask for one: TOKEN\n"));
        let told = invitation(3, None, None).told(true);
        assert!(told.starts_with("Invitation for 3 people (shown only now):\n\n"));
        assert!(!told.contains('█'), "{told}");
    }

    #[test]
    fn programs_get_one_or_a_list() {
        let create = |count| InviteCreate {
            uses: 1,
            expires_after_days: None,
            count,
            sheet: None,
        };
        let one = || invitation(1, None, Some("http://a/join/TOKEN"));
        let answer = answered(&create(None), &[one()], &[]);
        assert_eq!(
            answer,
            json!({
                "token": "TOKEN", "uses": 1, "expires_at": null,
                "link": "http://a/join/TOKEN", "warnings": [],
            })
        );
        let answer = answered(&create(Some(2)), &[one(), one()], &["x".to_owned()]);
        assert_eq!(answer["invitations"].as_array().unwrap().len(), 2);
        assert_eq!(answer["warnings"], json!(["x"]));
    }
}
