//! The house test: the plan page `src/README.md` is true, and everything that
//! must be documented is.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::config;

/// The crates of ruma that the floors up to `pure` may use. `ground` uses none.
const PURE_RUMA: [&str; 4] = [
    "ruma-common",
    "ruma-events",
    "ruma-signatures",
    "ruma-state-res",
];

/// A crate's row in the floor table of `src/README.md`.
#[derive(Debug)]
struct Row {
    floor: String,
    /// Counted from the top of the table, 0 being the highest floor.
    depth: usize,
    /// Crates of the same floor that it may use.
    beside: BTreeSet<String>,
}

/// The folder of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("../..")
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The words in backticks in `cell`.
fn names(cell: &str) -> Vec<String> {
    cell.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// The floor table: `| floor | crate | what it is | beside it |`.
fn plan() -> BTreeMap<String, Row> {
    let page = read("src/README.md");
    let mut floors: Vec<String> = Vec::new();
    let mut plan = BTreeMap::new();
    for line in page
        .lines()
        .skip_while(|line| !line.starts_with("| Floor |"))
        .skip(2)
    {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, floor, name, _, beside, _] = cells.as_slice() else {
            break;
        };
        let floor = (*floor).to_owned();
        if floors.last() != Some(&floor) {
            assert!(
                !floors.contains(&floor),
                "src/README.md: floor {floor} is in two places"
            );
            floors.push(floor.clone());
        }
        let name = names(name)
            .pop()
            .unwrap_or_else(|| panic!("src/README.md: no name: {line}"));
        let beside = names(beside).into_iter().collect();
        plan.insert(
            name,
            Row {
                floor,
                depth: floors.len() - 1,
                beside,
            },
        );
    }
    assert!(!plan.is_empty(), "src/README.md has no floor table");
    plan
}

/// Each crate of the workspace with the names of all it depends on, tests included.
fn crates() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--offline",
        ])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let packages = metadata["packages"].as_array().unwrap();
    packages
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().unwrap();
            let names = dependencies
                .iter()
                .map(|dependency| text(&dependency["name"]))
                .collect();
            (text(&package["name"]), names)
        })
        .collect()
}

#[test]
fn the_plan_names_the_crates_that_exist_and_no_others() {
    let planned: Vec<String> = plan().into_keys().collect();
    let existing: Vec<String> = crates().into_keys().collect();
    assert_eq!(
        planned, existing,
        "left: src/README.md, right: the workspace"
    );
}

#[test]
fn no_arrow_points_up() {
    let (plan, crates) = (plan(), crates());
    for (name, dependencies) in &crates {
        let from = &plan[name];
        for dependency in dependencies {
            let Some(to) = plan.get(dependency) else {
                continue;
            };
            let allowed = to.depth > from.depth
                || (to.depth == from.depth && from.beside.contains(dependency));
            assert!(
                allowed,
                "{name} ({}) may not use {dependency} ({})",
                from.floor, to.floor
            );
        }
    }
}

#[test]
fn what_stands_beside_is_on_the_same_floor_and_used_in_one_direction() {
    let plan = plan();
    for (name, row) in &plan {
        for beside in &row.beside {
            let other = plan
                .get(beside)
                .unwrap_or_else(|| panic!("{beside} does not exist"));
            assert_eq!(other.floor, row.floor, "{name} beside {beside}");
            assert!(
                !other.beside.contains(name),
                "{name} and {beside} use each other"
            );
        }
    }
}

#[test]
fn ruma_stays_on_its_floors() {
    let plan = plan();
    for (name, dependencies) in crates() {
        let ruma = dependencies
            .iter()
            .filter(|dependency| dependency.starts_with("ruma"));
        for dependency in ruma {
            let allowed = match plan[&name].floor.as_str() {
                "ground" => false,
                "pure" => PURE_RUMA.contains(&dependency.as_str()),
                _ => true,
            };
            assert!(allowed, "{name} may not use {dependency}");
        }
    }
}

#[test]
fn every_table_has_a_sentence() {
    let page = read("src/model/tables.rs");
    let mut inside = false;
    let mut documented = false;
    let mut tables = 0;
    for (index, line) in page.lines().enumerate() {
        let line = line.trim();
        if !inside {
            inside = line.starts_with("tables!");
        } else if line == "}" {
            inside = false;
        } else if let Some(sentence) = line.strip_prefix("///") {
            documented |= !sentence.trim().is_empty();
        } else if is_table(line) {
            tables += 1;
            assert!(
                documented,
                "src/model/tables.rs:{}: no sentence above {line}",
                index + 1
            );
            documented = false;
        }
    }
    assert!(tables > 0, "src/model/tables.rs declares no table");
}

/// Whether a line of `tables!` begins an entry: `USER_BY_NAME: String => UserSerial, …`.
fn is_table(line: &str) -> bool {
    line.split_once(':').is_some_and(|(name, _)| {
        !name.is_empty()
            && name.chars().all(|character| {
                character.is_ascii_uppercase() || character.is_ascii_digit() || character == '_'
            })
    })
}

#[test]
fn every_section_of_options_is_part_of_the_configuration() {
    let known: BTreeSet<&str> = config::section_names().into_iter().collect();
    for (path, text) in sources("src") {
        for section in declared_sections(&text) {
            assert!(
                known.contains(section),
                "{}: the options of [{section}] are in no configuration",
                path.display()
            );
        }
    }
}

/// Every Rust file in a folder of the repository, with its text.
fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let mut paths = vec![root().join(folder)];
    let mut sources = Vec::new();
    while let Some(path) = paths.pop() {
        if path.is_dir() {
            let entries = std::fs::read_dir(&path).unwrap();
            paths.extend(entries.map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            sources.push((path, text));
        }
    }
    sources
}

#[test]
fn every_proof_of_the_security_page_is_a_test() {
    let mut tests = BTreeSet::new();
    for folder in ["src", "tests"] {
        for (_, text) in sources(folder) {
            tests.extend(test_names(&text).map(str::to_owned));
        }
    }
    let page = read("src/SECURITY.md");
    let rows = page.lines().filter(|line| line.starts_with("| "));
    let proofs: Vec<String> = rows
        .filter_map(|row| row.rsplit('|').nth(1).map(names))
        .flatten()
        .filter(|name| !name.contains('/'))
        .collect();
    assert!(proofs.len() > 50, "{} proofs", proofs.len());
    for name in proofs {
        assert!(
            tests.contains(&name),
            "src/SECURITY.md: there is no test {name}"
        );
    }
}

/// The names of the functions under a `#[test]` or `#[tokio::test]`, with other attributes
/// between or without.
fn test_names(text: &str) -> impl Iterator<Item = &str> {
    let mut is_test = false;
    text.lines().filter_map(move |line| {
        let line = line.trim_start();
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if is_test && !line.starts_with(['#', '/']) {
            is_test = false;
            let name = line.split_once("fn ")?.1;
            return name.split('(').next();
        }
        None
    })
}

/// The section names in `struct NAME in "SECTION" {` of a file outside its tests.
fn declared_sections(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .take_while(|line| !line.contains("#[cfg(test)]"))
        .filter(|line| !line.trim_start().starts_with("//") && line.contains("struct "))
        .filter_map(|line| line.split_once(" in \"")?.1.strip_suffix("\" {"))
}
