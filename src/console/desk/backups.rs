//! Which backups there are: as their folder's manifests say.

use std::path::Path;

use actions::Right;
use axum::response::Response;
use backup::{BackupError, Repository};
use http::Method;
use web::{Part, Routes};

use super::{
    Desk,
    answers::Stop,
    layout::Sheet,
    parts::{self, badge, code, size, when},
    session::Clerk,
};
use crate::{
    html::{Element, Node, element},
    texts::fill,
    words::WORDS,
};

/// How many backups are shown, the newest.
const SHOWN: usize = 20;
/// How old the newest may be before it is a reason to worry, in hours.
const WORRY: u64 = 48;

pub(super) fn routes() -> Routes<Desk> {
    Routes::new().plain(Method::GET, "/console/backups", show)
}

/// A backup as it is shown.
struct Shown {
    name: String,
    /// When it was made, how many files, how many bytes; none where that is sealed or damaged.
    facts: Option<(u64, usize, u64)>,
}

/// What is in the folder of backups.
struct Folder {
    backups: Vec<Shown>,
    count: usize,
    is_sealed: bool,
    /// How old the newest is, in hours.
    age: Option<u64>,
}

fn look(folder: &Path) -> Result<Folder, BackupError> {
    let repository = Repository::look(folder);
    let names = repository.names()?;
    let is_sealed = repository.sealed_server()?.is_some();
    let age = repository.newest_age().ok();
    let backups = names.iter().rev().take(SHOWN).map(|name| Shown {
        name: name.clone(),
        facts: repository.backup(Some(name)).ok().map(|held| {
            let manifest = &held.manifest;
            let made = manifest.about.made_at.0;
            (made, manifest.files.len(), manifest.bytes())
        }),
    });
    Ok(Folder {
        backups: backups.collect(),
        count: names.len(),
        is_sealed,
        age: age.map(|age| age.as_secs() / 3_600),
    })
}

/// `GET /console/backups`
async fn show(Part(desk): Part<Desk>, clerk: Clerk) -> Result<Response, Stop> {
    clerk.must(Right::ShowDatabase)?;
    let words = &WORDS.backups;
    let folder = desk.options.backups.clone();
    let shown_folder = folder.display().to_string();
    // Some files are read, which may wait for the disk.
    let found = desk.lane.run(move || look(&folder)).await;
    let found = found.map_err(web::ApiError::unavailable)?;
    let sheet = Sheet::new("backups", words.title).lead(words.lead);
    let sheet = match found {
        Err(error) => {
            let text = fill(words.unreadable, &[("folder", &shown_folder)]);
            sheet
                .has(element("p").has(badge("warn", words.none_seen)))
                .has(parts::hint(&text))
                .has(parts::hint(&error.to_string()))
        }
        Ok(found) => sheet
            .has(about(&shown_folder, &found))
            .has_all(table(&found)),
    };
    Ok(sheet.has(parts::hint(words.how)).shown(&desk, &clerk))
}

fn about(folder: &str, found: &Folder) -> Element {
    let words = &WORDS.backups;
    let (kind, state) = match found.age {
        None => ("bad", words.no_backup.to_owned()),
        Some(hours) => {
            let kind = if hours >= WORRY { "warn" } else { "good" };
            (kind, fill(words.age, &[("hours", &hours.to_string())]))
        }
    };
    let sealed = match found.is_sealed {
        true => words.sealed,
        false => words.open,
    };
    let rows: Vec<(&'static str, Node)> = vec![
        (words.newest, badge(kind, &state).into()),
        (words.folder, code(folder).into()),
        (words.count, found.count.to_string().into()),
        (words.kind, sealed.into()),
    ];
    parts::card(words.here).has(parts::facts(rows))
}

fn table(found: &Folder) -> Option<Element> {
    let words = &WORDS.backups;
    let rows = found.backups.iter().map(|one| {
        let name = code(&one.name).into();
        match one.facts {
            Some((made, files, bytes)) => vec![
                name,
                when(made).into(),
                files.to_string().into(),
                size(bytes).into(),
            ],
            None => vec![name, words.not_told.into(), "".into(), "".into()],
        }
    });
    let rows: Vec<Vec<Node>> = rows.collect();
    let heads = [words.name, words.made, words.files, words.size];
    (!rows.is_empty()).then(|| parts::table(words.title, &heads, rows))
}
