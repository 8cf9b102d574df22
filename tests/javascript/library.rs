//! The JavaScript library and the Node that runs it, installed in the target folder.

use std::fs::File;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

const MANIFEST: &str = include_str!("package.json");
const LOCK: &str = include_str!("package-lock.json");

/// A new folder with all stories in it, in which Node finds the library; its parent
/// holds `node_modules`.
pub(crate) fn with_stories() -> TempDir {
    let folder = tempfile::Builder::new()
        .prefix("stories-")
        .tempdir_in(installed())
        .expect("a folder for the stories");
    for entry in std::fs::read_dir(harness::sources()).expect("the sources") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|ending| ending == "mjs") {
            let name = path.file_name().expect("a name");
            std::fs::copy(&path, folder.path().join(name)).expect("a copy of a story");
        }
    }
    folder
}

/// The folder in which this lock file's packages are installed. Whoever comes first
/// installs them, other threads and processes wait.
fn installed() -> PathBuf {
    let mut hasher = DefaultHasher::new();
    (MANIFEST, LOCK).hash(&mut hasher);
    let name = format!("javascript-{:016x}", hasher.finish());
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).expect("a folder for the library");
    let turn = File::create(folder.join("lock")).expect("the lock");
    turn.lock().expect("the turn to install");
    let complete = folder.join("complete");
    if !complete.exists() {
        install(&folder);
        File::create(complete).expect("the mark that all is there");
    }
    folder
}

fn install(folder: &Path) {
    std::fs::write(folder.join("package.json"), MANIFEST).expect("package.json");
    std::fs::write(folder.join("package-lock.json"), LOCK).expect("package-lock.json");
    let output = Command::new("npm")
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .current_dir(folder)
        .output()
        .expect("npm, which `.ci/install-dependencies test` installs");
    assert!(
        output.status.success(),
        "npm ci in {}: {}",
        folder.display(),
        String::from_utf8_lossy(&output.stderr)
    );
}
