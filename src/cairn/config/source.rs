//! A configuration file as written: finds the line of a key, and keys that
//! nobody knows.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use serde::Serialize;
use toml::de::{DeTable, DeValue};

use super::sections::{self, Section};

/// One mistake in a configuration file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Problem {
    /// The configuration file.
    pub(crate) file: PathBuf,
    /// The line, counted from 1; `None` for what is missing.
    pub(crate) line: Option<usize>,
    /// What is wrong.
    pub(crate) message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(formatter, ":{line}")?;
        }
        write!(formatter, ": {}", self.message)
    }
}

/// A configuration file that is well-formed TOML.
pub(super) struct Source<'a> {
    file: &'a Path,
    text: &'a str,
    table: DeTable<'a>,
}

impl<'a> Source<'a> {
    /// Parses `text`; the error is the first place that is no TOML.
    pub(super) fn parse(file: &'a Path, text: &'a str) -> Result<Self, Problem> {
        let table = DeTable::parse(text).map_err(|error| decoding_problem(file, text, &error))?;
        Ok(Self {
            file,
            text,
            table: table.into_inner(),
        })
    }

    /// The problem `message` with the key at `path` (list items by their number),
    /// or with the nearest part of the path that was written.
    pub(super) fn problem(&self, path: &[&str], message: String) -> Problem {
        Problem {
            file: self.file.to_owned(),
            line: self.line_of(path),
            message,
        }
    }

    /// What `error`, met in reading this file, means.
    pub(super) fn decoding_problem(&self, error: &toml::de::Error) -> Problem {
        decoding_problem(self.file, self.text, error)
    }

    fn line_of(&self, path: &[&str]) -> Option<usize> {
        let (first, rest) = path.split_first()?;
        let (key, value) = self.table.get_key_value(*first)?;
        let mut start = key.span().start;
        let mut value = value.get_ref();
        for step in rest {
            match value {
                DeValue::Table(table) => {
                    let Some((key, inner)) = table.get_key_value(*step) else {
                        break;
                    };
                    start = key.span().start;
                    value = inner.get_ref();
                }
                DeValue::Array(array) => {
                    let Some(item) = step.parse().ok().and_then(|index: usize| array.get(index))
                    else {
                        break;
                    };
                    start = item.span().start;
                    value = item.get_ref();
                }
                _ => break,
            }
        }
        Some(line_at(self.text, start))
    }

    /// Every key that no section knows, with the nearest that one does.
    pub(super) fn unknown_keys(&self) -> Vec<Problem> {
        let sections = sections::all();
        let mut problems = Vec::new();
        self.check_keys(&self.table, "", &sections, &mut problems);
        problems.sort_by_key(|problem| problem.line);
        problems
    }

    fn check_keys(
        &self,
        table: &DeTable<'_>,
        section_name: &str,
        sections: &[Section],
        problems: &mut Vec<Problem>,
    ) {
        let Some(section) = sections.iter().find(|section| section.name == section_name) else {
            // A key with a table of free keys.
            return;
        };
        for (key, value) in table {
            let name: &str = key.get_ref();
            if !section.options.iter().any(|option| option.key == name) {
                problems.push(Problem {
                    file: self.file.to_owned(),
                    line: Some(line_at(self.text, key.span().start)),
                    message: unknown_key(name, section, sections),
                });
                continue;
            }
            let inner = match section_name {
                "" => name.to_owned(),
                outer => format!("{outer}.{name}"),
            };
            match value.get_ref() {
                DeValue::Table(table) => self.check_keys(table, &inner, sections, problems),
                DeValue::Array(items) => {
                    for table in items.iter().filter_map(|item| item.get_ref().as_table()) {
                        self.check_keys(table, &inner, sections, problems);
                    }
                }
                _ => {}
            }
        }
    }
}

fn unknown_key(name: &str, section: &Section, sections: &[Section]) -> String {
    let place = match section.name {
        "" => String::new(),
        _ => format!(" in {}", section.title()),
    };
    let owner = sections
        .iter()
        .find(|other| other.options.iter().any(|option| option.key == name));
    if let Some(owner) = owner {
        let home = match owner.name {
            "" => "above the first section".to_owned(),
            _ => format!("in {}", owner.title()),
        };
        return format!("unknown key `{name}`{place}; it belongs {home}");
    }
    let nearest = section
        .options
        .iter()
        .min_by_key(|option| strsim::damerau_levenshtein(name, option.key))
        .map_or("", |option| option.key);
    format!("unknown key `{name}`{place}; the nearest known key is `{nearest}`")
}

fn decoding_problem(file: &Path, text: &str, error: &toml::de::Error) -> Problem {
    Problem {
        file: file.to_owned(),
        line: error.span().map(|span| line_at(text, span.start)),
        // A message of several lines would break the list of problems.
        message: error.message().trim().replace('\n', ", "),
    }
}

fn line_at(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().get(..offset).unwrap_or(text.as_bytes());
    before.iter().filter(|byte| **byte == b'\n').count() + 1
}
