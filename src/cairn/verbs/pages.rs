//! `cairn pages`: man pages and completions, made from the command line's own grammar.

use std::{fs, path::Path};

use clap::CommandFactory as _;
use clap_complete::Shell;
use serde_json::json;

use super::{Answer, Failure};
use crate::command_line::CommandLine;

/// Writes `man/*.1` and `completions/*` in the folder.
pub(super) fn run(to: &Path) -> Result<Answer, Failure> {
    let failed = |error: std::io::Error| {
        Failure::Other(format!("{} cannot be written: {error}", to.display()))
    };
    let (man, completions) = (to.join("man"), to.join("completions"));
    fs::create_dir_all(&man).map_err(failed)?;
    fs::create_dir_all(&completions).map_err(failed)?;
    clap_mangen::generate_to(CommandLine::command(), &man).map_err(failed)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        let mut command = CommandLine::command();
        clap_complete::generate_to(shell, &mut command, "cairn", &completions).map_err(failed)?;
    }
    Ok(Answer {
        text: format!("Wrote {} and {}", man.display(), completions.display()),
        json: json!({ "man": man, "completions": completions }),
    })
}
