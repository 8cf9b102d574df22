//! Programs from PyPI, set up once.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use crate::run;

/// A Python that has `package` (`name==version`), set up in a folder below `cache` if it is not
/// there yet. The package's programs stand beside it.
pub fn python_with(cache: &Path, package: &str) -> PathBuf {
    // Tests run beside each other, and one installs for all.
    static INSTALLING: Mutex<()> = Mutex::new(());
    let _turn = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = cache.join(package.replace("==", "-"));
    let python = folder.join("bin/python");
    let complete = folder.join("complete");
    if !complete.exists() {
        let _ = fs::remove_dir_all(&folder);
        run(Command::new("python3").args(["-m", "venv"]).arg(&folder));
        run(Command::new(&python).args(["-m", "pip", "install", "--quiet", package]));
        fs::write(complete, "").expect("a mark that all is there");
    }
    python
}
