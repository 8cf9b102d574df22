//! What `cairn serve` does not start on: one clear sentence on standard error, exit 1,
//! and nothing was changed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use harness::{Config, Server};

/// A new folder with a configuration in it.
struct Place {
    folder: PathBuf,
}

impl Place {
    fn new(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("starting-{name}"));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let place = Self { folder };
        place.configure(&place.data(), &Config::default());
        place
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn configure(&self, data: &Path, config: &Config) {
        let text = config.text(data, "127.0.0.1:0");
        std::fs::write(self.folder.join("cairn.toml"), text).unwrap();
    }

    /// Runs `cairn WORDS…` behind the words of `wrapper`. A server that starts although
    /// it should not is stopped after a while.
    fn cairn(&self, wrapper: &[&str], words: &[&str]) -> Output {
        let mut command = Command::new("timeout");
        command.arg("30").args(wrapper).arg(Server::binary());
        command.args(words).arg("--config");
        command
            .arg(self.folder.join("cairn.toml"))
            .output()
            .unwrap()
    }

    /// The data folder of a server that has run and was stopped.
    fn used(&self) {
        let mut server = Server::on(&self.folder, Config::default());
        server.stop();
    }

    /// Puts the database that stands in the folder `fixtures` in place of the folder's
    /// own, and leaves its key.
    fn with_fixture(&self, name: &str) {
        self.used();
        let database = self.data().join("database");
        std::fs::remove_dir_all(&database).unwrap();
        std::fs::create_dir(&database).unwrap();
        let fixture = harness::sources().join("fixtures").join(name);
        for (file, bytes) in files(&fixture) {
            std::fs::write(database.join(file), bytes).unwrap();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// The files of a folder with their bytes, but for logs that say that somebody looked.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if !name.starts_with("LOG") && name != "LOCK" {
            files.insert(name, std::fs::read(entry.path()).unwrap());
        }
    }
    assert!(!files.is_empty(), "nothing in {}", folder.display());
    files
}

/// The one sentence of a command that has failed.
#[track_caller]
fn sentence(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    let words = String::from_utf8(output.stderr.clone()).unwrap();
    let lines: Vec<&str> = words.lines().collect();
    assert_eq!(lines.len(), 1, "{words}");
    assert!(words.starts_with("cairn: "), "{words}");
    words
}

#[track_caller]
fn says(words: &str, parts: &[&str]) {
    for part in parts {
        assert!(words.contains(part), "{part:?} is not in {words:?}");
    }
}

#[test]
fn a_data_folder_that_cannot_be_made() {
    let place = Place::new("unmade");
    let data = Path::new("/proc/cairn-data");
    place.configure(data, &Config::default());
    let words = sentence(&place.cairn(&[], &["serve"]));
    says(&words, &["the data folder", data.to_str().unwrap()]);
}

/// Whoever runs the tests: what permission bits forbid is forbidden.
fn bound_by_permissions() -> &'static [&'static str] {
    let user = Command::new("id").arg("-u").output().unwrap();
    match user.stdout.trim_ascii() {
        b"0" => &[
            "setpriv",
            "--bounding-set",
            "-dac_override,-dac_read_search",
        ],
        _ => &[],
    }
}

fn change_mode(mode: &str, folder: &Path) {
    let changed = Command::new("chmod")
        .args(["-R", mode])
        .arg(folder)
        .status();
    assert!(changed.unwrap().success());
}

#[test]
fn a_data_folder_that_cannot_be_written() {
    let place = Place::new("read-only");
    std::fs::create_dir(place.data()).unwrap();
    // Once while it is empty, once with a database.
    for is_used in [false, true] {
        if is_used {
            place.used();
        }
        change_mode("a-w", &place.data());
        let output = place.cairn(bound_by_permissions(), &["serve"]);
        change_mode("u+w", &place.data());
        let words = sentence(&output);
        says(&words, &["the data folder", place.data().to_str().unwrap()]);
    }
    let mut server = Server::on(&place.folder, Config::default());
    server.stop();
}

#[test]
fn a_database_of_another_program() {
    let place = Place::new("foreign");
    place.with_fixture("foreign");
    let database = place.data().join("database");
    let before = files(&database);
    let words = sentence(&place.cairn(&[], &["serve"]));
    says(&words, &[database.to_str().unwrap(), "not Cairn's"]);
    assert_eq!(files(&database), before, "it is left alone");
}

#[test]
fn a_database_of_a_newer_version() {
    let place = Place::new("newer");
    place.with_fixture("newer");
    let words = sentence(&place.cairn(&[], &["serve"]));
    says(&words, &["newer version", "format 2", "up to 1"]);
    // Nor does another verb touch it.
    let words = sentence(&place.cairn(&[], &["user", "list"]));
    says(&words, &["newer version"]);
}

#[test]
fn a_database_that_is_damaged() {
    let place = Place::new("damaged");
    place.used();
    let database = place.data().join("database");
    std::fs::write(database.join("CURRENT"), "MANIFEST-999999\n").unwrap();
    let words = sentence(&place.cairn(&[], &["serve"]));
    says(&words, &[database.to_str().unwrap(), "is damaged"]);
    // And what to do.
    says(&words, &["cairn backup mend", "cairn backup restore"]);
}

#[test]
fn a_database_whose_key_is_lost() {
    let place = Place::new("keyless");
    place.used();
    let key = place.data().join("signing.key");
    std::fs::remove_file(&key).unwrap();
    let words = sentence(&place.cairn(&[], &["serve"]));
    says(&words, &[key.to_str().unwrap(), "missing"]);
    assert!(!key.exists(), "no other key takes its place");
}

#[test]
fn a_certificate_that_is_none() {
    let place = Place::new("certificate");
    let file = place.folder.join("cert.pem");
    std::fs::write(&file, "no certificate").unwrap();
    let config = Config {
        listener: "tls = { certificate = \"cert.pem\", key = \"cert.pem\" }".into(),
        ..Config::default()
    };
    place.configure(&place.data(), &config);
    let words = sentence(&place.cairn(&[], &["serve"]));
    says(&words, &[file.to_str().unwrap(), "certificate"]);
    std::fs::remove_file(&file).unwrap();
    let output = place.cairn(&[], &["serve"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let words = String::from_utf8(output.stderr).unwrap();
    says(&words, &["cairn.toml:", file.to_str().unwrap()]);
}
