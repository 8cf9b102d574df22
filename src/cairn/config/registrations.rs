//! The registration files of application services.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use ruma_common::OwnedServerName;
use services::{Registration, Services};

use super::{
    Document,
    source::{Problem, Source},
};

/// The most files of a folder.
const MAX_FILES: usize = 1_000;
/// More of a file is not read; it is too long then.
const MAX_BYTES: u64 = 2 * 1024 * 1024;

/// Reads all registration files.
///
/// # Errors
/// Every mistake in them, by file and line.
pub(super) fn load(
    source: &Source<'_>,
    document: &Document,
    server_name: &OwnedServerName,
) -> Result<Vec<Registration>, Vec<Problem>> {
    let mut registrations = Vec::new();
    let mut problems = Vec::new();
    let options = &document.application_services;
    for (index, path) in options.registrations.iter().enumerate() {
        let place = ["application_services", "registrations", &index.to_string()];
        let unreadable = |path: &Path, error: io::Error| {
            source.problem(
                &place,
                format!("{} cannot be read: {error}", path.display()),
            )
        };
        let files = match files(path) {
            Ok(files) => files,
            Err(error) => {
                problems.push(unreadable(path, error));
                continue;
            }
        };
        for file in files {
            match text(&file).map(|text| Registration::parse(&text)) {
                Ok(Ok(registration)) => registrations.push(registration),
                Ok(Err(error)) => problems.push(Problem {
                    file,
                    line: Some(error.line),
                    message: error.message,
                }),
                Err(error) => problems.push(unreadable(&file, error)),
            }
        }
    }
    let services = Services::none(server_name.clone());
    if let Err(error) = services.replace(registrations.clone()) {
        let place = ["application_services", "registrations"];
        problems.push(source.problem(&place, error.to_string()));
    }
    if problems.is_empty() {
        Ok(registrations)
    } else {
        Err(problems)
    }
}

/// A file, or those of a folder in the order of their names.
fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !fs::metadata(path)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let file = entry?.path();
        let is_yaml = file
            .extension()
            .is_some_and(|ending| ending == "yaml" || ending == "yml");
        if is_yaml {
            files.push(file);
        }
        if files.len() > MAX_FILES {
            return Err(io::Error::other("there are too many files"));
        }
    }
    files.sort();
    Ok(files)
}

fn text(file: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(file)?
        .take(MAX_BYTES)
        .read_to_string(&mut text)?;
    Ok(text)
}
