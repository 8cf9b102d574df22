//! A folder as a disk may hold it after the power was cut.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use crate::chance::Chance;
use crate::recording::{Deed, Recording};

type FileNumber = usize;

/// A folder with its files.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk {
    folders: Vec<PathBuf>,
    files: BTreeMap<PathBuf, Vec<u8>>,
    /// How many bytes of writes were left out.
    lost: u64,
}

/// Something that happened to a file's content.
#[derive(Debug, Clone)]
enum Change {
    Write { at: u64, bytes: Vec<u8> },
    Truncate { length: u64 },
}

/// Something that happened to a folder's entries.
#[derive(Debug, Clone)]
enum Entry {
    Add { path: PathBuf, file: FileNumber },
    Remove { path: PathBuf },
    Move { from: PathBuf, to: PathBuf },
}

/// A thing done, and when: it lasts if a sync began after it ended and ended in time.
#[derive(Debug, Clone)]
struct Timed<T> {
    ended: f64,
    what: T,
}

/// What is going on with one file.
#[derive(Debug, Clone, Default)]
struct File {
    /// As it lay on the disk before.
    content: Vec<u8>,
    changes: Vec<Timed<Change>>,
    /// Where the next write goes that does not say where.
    end: u64,
    /// When the last sync began that was over in time.
    synced: f64,
}

/// What is going on with one folder's entries.
#[derive(Debug, Clone, Default)]
struct Folder {
    entries: Vec<Timed<Entry>>,
    synced: f64,
}

/// The folder while it is followed to the instant of the cut.
#[derive(Default)]
struct Following {
    files: Vec<File>,
    /// As the server sees it.
    live: HashMap<PathBuf, FileNumber>,
    folders: HashMap<PathBuf, Folder>,
    made: Vec<PathBuf>,
}

impl Disk {
    /// Reads a folder; sockets are left out.
    pub(crate) fn read(root: &Path) -> Self {
        let mut disk = Self::default();
        let mut waiting = vec![PathBuf::new()];
        while let Some(folder) = waiting.pop() {
            for entry in std::fs::read_dir(root.join(&folder)).expect("a folder") {
                let entry = entry.expect("an entry");
                let path = folder.join(entry.file_name());
                let kind = entry.file_type().expect("its kind");
                if kind.is_dir() {
                    disk.folders.push(path.clone());
                    waiting.push(path);
                } else if kind.is_file() {
                    let content = std::fs::read(root.join(&path)).expect("a file");
                    disk.files.insert(path, content);
                }
            }
        }
        disk
    }

    /// This folder after the recorded deeds, with the power cut at `instant`: all that
    /// was synced, and of the rest of each file and folder a random beginning, cut at
    /// any byte.
    pub(crate) fn after(&self, recording: &Recording, instant: f64, chance: &mut Chance) -> Self {
        let mut following = Following {
            made: self.folders.clone(),
            ..Following::default()
        };
        for (path, content) in &self.files {
            let end = content.len() as u64;
            let file = File {
                content: content.clone(),
                end,
                ..File::default()
            };
            following.live.insert(path.clone(), following.files.len());
            following.files.push(file);
        }
        let first: HashMap<PathBuf, FileNumber> = following.live.clone();
        for event in recording
            .events
            .iter()
            .filter(|event| event.began < instant)
        {
            following.follow(&event.deed, event.began, event.ended, instant);
        }
        following.cut(first, chance)
    }

    /// Writes the folder to the real disk; gives the number of bytes that were lost.
    pub(crate) fn write(&self, root: &Path) -> u64 {
        std::fs::create_dir_all(root).expect("a folder");
        for folder in &self.folders {
            std::fs::create_dir_all(root.join(folder)).expect("a folder");
        }
        for (path, content) in &self.files {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            std::fs::write(path, content).expect("a file");
        }
        self.lost
    }
}

fn parent(path: &Path) -> PathBuf {
    path.parent().map(Path::to_owned).unwrap_or_default()
}

impl Following {
    fn follow(&mut self, deed: &Deed, began: f64, ended: f64, instant: f64) {
        match deed {
            Deed::Open {
                path,
                create,
                truncate,
                append,
            } => {
                if let Some(&number) = self.live.get(path) {
                    if *truncate {
                        self.change(number, ended, Change::Truncate { length: 0 });
                    }
                    let file = &mut self.files[number];
                    file.end = if *append { file.end } else { 0 };
                } else if *create {
                    let file = self.files.len();
                    self.files.push(File::default());
                    self.live.insert(path.clone(), file);
                    self.entry(
                        &parent(path),
                        ended,
                        Entry::Add {
                            path: path.clone(),
                            file,
                        },
                    );
                }
            }
            Deed::Write { path, at, bytes } => {
                if let Some(&number) = self.live.get(path) {
                    let at = at.unwrap_or(self.files[number].end);
                    self.change(
                        number,
                        ended,
                        Change::Write {
                            at,
                            bytes: bytes.clone(),
                        },
                    );
                }
            }
            Deed::Truncate { path, length } => {
                if let Some(&number) = self.live.get(path) {
                    self.change(number, ended, Change::Truncate { length: *length });
                }
            }
            Deed::Sync { path } if ended <= instant => {
                if let Some(&number) = self.live.get(path) {
                    let file = &mut self.files[number];
                    file.synced = file.synced.max(began);
                } else {
                    let folder = self.folders.entry(path.clone()).or_default();
                    folder.synced = folder.synced.max(began);
                }
            }
            Deed::Sync { .. } => {}
            Deed::Rename { from, to } => self.rename(from, to, ended),
            Deed::Remove { path } => {
                self.live.remove(path);
                self.entry(&parent(path), ended, Entry::Remove { path: path.clone() });
            }
            // A folder that was made is there: only files are watched this closely.
            Deed::MakeFolder { path } => self.made.push(path.clone()),
        }
    }

    /// Within one folder a name takes the place of another at once. Between two, each
    /// folder's entry lasts by itself, once that folder was synced.
    fn rename(&mut self, from: &Path, to: &Path, ended: f64) {
        let number = self.live.remove(from);
        if let Some(number) = number {
            self.live.insert(to.to_owned(), number);
        }
        let (from, to) = (from.to_owned(), to.to_owned());
        match number {
            Some(file) if parent(&from) != parent(&to) => {
                let path = to.clone();
                self.entry(&parent(&to), ended, Entry::Add { path, file });
                let folder = parent(&from);
                self.entry(&folder, ended, Entry::Remove { path: from });
            }
            _ => {
                let folder = parent(&to);
                self.entry(&folder, ended, Entry::Move { from, to });
            }
        }
    }

    fn change(&mut self, number: FileNumber, ended: f64, what: Change) {
        let file = &mut self.files[number];
        match &what {
            Change::Write { at, bytes } => file.end = at + bytes.len() as u64,
            Change::Truncate { length } => file.end = file.end.min(*length),
        }
        file.changes.push(Timed { ended, what });
    }

    fn entry(&mut self, folder: &Path, ended: f64, what: Entry) {
        self.folders
            .entry(folder.to_owned())
            .or_default()
            .entries
            .push(Timed { ended, what });
    }

    /// What the disk holds: the synced part, and a random beginning of the rest.
    fn cut(self, first: HashMap<PathBuf, FileNumber>, chance: &mut Chance) -> Disk {
        let mut entries: HashMap<PathBuf, FileNumber> = first;
        for folder in self.folders.values() {
            let kept = kept(&folder.entries, folder.synced, chance);
            for entry in &folder.entries[..kept] {
                match &entry.what {
                    Entry::Add { path, file } => {
                        entries.insert(path.clone(), *file);
                    }
                    Entry::Remove { path } => {
                        entries.remove(path);
                    }
                    Entry::Move { from, to } => {
                        if let Some(file) = entries.remove(from) {
                            entries.insert(to.clone(), file);
                        }
                    }
                }
            }
        }
        let mut disk = Disk {
            folders: self.made,
            ..Disk::default()
        };
        let mut entries: Vec<(PathBuf, FileNumber)> = entries.into_iter().collect();
        entries.sort();
        for (path, number) in entries {
            let (content, lost) = content(&self.files[number], chance);
            disk.lost += lost;
            disk.files.insert(path, content);
        }
        disk
    }
}

/// How many of these are kept: all that were over when the last sync began, and of the
/// rest a random number.
fn kept<T>(things: &[Timed<T>], synced: f64, chance: &mut Chance) -> usize {
    let lasting = things.iter().filter(|thing| thing.ended <= synced).count();
    let rest = (things.len() - lasting) as u64;
    lasting + chance.below(rest + 1) as usize
}

/// A file's content on the disk, and how many written bytes are missing in it.
fn content(file: &File, chance: &mut Chance) -> (Vec<u8>, u64) {
    let kept = kept(&file.changes, file.synced, chance);
    let mut content = file.content.clone();
    for change in &file.changes[..kept] {
        apply(&mut content, &change.what, usize::MAX);
    }
    let mut lost = 0;
    for (number, change) in file.changes[kept..].iter().enumerate() {
        if let Change::Write { bytes, .. } = &change.what {
            // Of the first that is not kept whole, a part may be there.
            let part = if number == 0 {
                chance.below(bytes.len() as u64 + 1)
            } else {
                0
            };
            apply(&mut content, &change.what, part as usize);
            lost += bytes.len() as u64 - part;
        }
    }
    (content, lost)
}

fn apply(content: &mut Vec<u8>, change: &Change, part: usize) {
    match change {
        Change::Write { at, bytes } => {
            let part = part.min(bytes.len());
            if part > 0 {
                let (from, to) = (*at as usize, *at as usize + part);
                if content.len() < to {
                    content.resize(to, 0);
                }
                content[from..to].copy_from_slice(&bytes[..part]);
            }
        }
        Change::Truncate { length } => content.resize(*length as usize, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::Event;

    fn event(began: f64, ended: f64, deed: Deed) -> Event {
        Event { began, ended, deed }
    }

    fn write(began: f64, text: &str) -> Event {
        let deed = Deed::Write {
            path: "a".into(),
            at: None,
            bytes: text.into(),
        };
        event(began, began + 0.1, deed)
    }

    fn created() -> Event {
        let deed = Deed::Open {
            path: "a".into(),
            create: true,
            truncate: false,
            append: false,
        };
        event(1.0, 1.1, deed)
    }

    fn synced(path: &str, began: f64, ended: f64) -> Event {
        event(began, ended, Deed::Sync { path: path.into() })
    }

    #[test]
    fn what_was_synced_lasts_and_the_rest_is_a_beginning() {
        let events = vec![
            created(),
            synced("", 1.2, 1.3),
            write(2.0, "one"),
            synced("a", 3.0, 3.5),
            write(3.2, "two"),
            write(4.0, "three"),
        ];
        let recording = Recording { events };
        let mut chance = Chance::from_seed(1);
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..500 {
            let disk = Disk::default().after(&recording, 5.0, &mut chance);
            seen.insert(String::from_utf8(disk.files[Path::new("a")].clone()).unwrap());
        }
        let all = "onetwothree";
        let expected: Vec<&str> = (3..=all.len()).map(|length| &all[..length]).collect();
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), expected);
        // The sync was not over: nothing need be there.
        let short = (0..500)
            .map(|_| {
                Disk::default().after(&recording, 3.4, &mut chance).files[Path::new("a")].len()
            })
            .min();
        assert_eq!(short, Some(0));
    }

    #[test]
    fn a_file_lasts_only_with_its_folders_entry() {
        let recording = Recording {
            events: vec![created(), write(2.0, "x"), synced("a", 3.0, 3.1)],
        };
        let mut chance = Chance::from_seed(2);
        let there = (0..100)
            .filter(|_| {
                let disk = Disk::default().after(&recording, 5.0, &mut chance);
                disk.files.contains_key(Path::new("a"))
            })
            .count();
        assert!((1..100).contains(&there), "{there}");
    }
    #[test]
    fn a_file_moved_between_folders_lasts_by_its_new_folder() {
        let moved = Deed::Rename {
            from: "a".into(),
            to: "new/a".into(),
        };
        let events = vec![
            created(),
            write(2.0, "x"),
            synced("a", 3.0, 3.1),
            event(4.0, 4.1, moved),
            synced("new", 5.0, 5.1),
        ];
        let recording = Recording { events };
        let mut chance = Chance::from_seed(3);
        for _ in 0..100 {
            let disk = Disk::default().after(&recording, 6.0, &mut chance);
            assert_eq!(disk.files[Path::new("new/a")], b"x");
            let disk = Disk::default().after(&recording, 3.5, &mut chance);
            assert!(!disk.files.contains_key(Path::new("new/a")));
        }
    }
}
