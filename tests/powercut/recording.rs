//! Records what a server does to its data folder, with strace, and reads it again.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What is recorded: everything that changes a file or a folder, or makes that last.
const CALLS: &str = "trace=openat,open,creat,write,pwrite64,writev,pwritev,pwritev2,fdatasync,\
fsync,ftruncate,truncate,fallocate,rename,renameat,renameat2,link,linkat,unlink,unlinkat,mkdir,\
mkdirat,rmdir,copy_file_range,sendfile";

/// One thing done to the data folder; paths are relative to it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Deed {
    /// A file was opened for writing.
    Open {
        path: PathBuf,
        create: bool,
        truncate: bool,
        append: bool,
    },
    /// Bytes were written; where, or after what was written before.
    Write {
        path: PathBuf,
        at: Option<u64>,
        bytes: Vec<u8>,
    },
    /// A file got another length.
    Truncate {
        path: PathBuf,
        length: u64,
    },
    /// A file's content, or a folder's entries, were made to last.
    Sync {
        path: PathBuf,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Remove {
        path: PathBuf,
    },
    MakeFolder {
        path: PathBuf,
    },
}

/// A deed with the time at which it began and ended, in seconds since 1970.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    pub(crate) began: f64,
    pub(crate) ended: f64,
    pub(crate) deed: Deed,
}

/// All deeds in the order in which they ended.
#[derive(Debug, Default)]
pub(crate) struct Recording {
    pub(crate) events: Vec<Event>,
}

impl Recording {
    pub(crate) fn writes(&self) -> usize {
        self.events
            .iter()
            .filter(|event| matches!(event.deed, Deed::Write { .. }))
            .count()
    }

    /// How many files were made.
    pub(crate) fn files(&self) -> usize {
        let made = |event: &&Event| matches!(event.deed, Deed::Open { create: true, .. });
        self.events.iter().filter(made).count()
    }

    pub(crate) fn syncs(&self) -> usize {
        self.events
            .iter()
            .filter(|event| matches!(event.deed, Deed::Sync { .. }))
            .count()
    }
}

/// The words before a command that record it in a file. The recorder stands beside the
/// command (`-D`), so that the command can be stopped and killed as if it were alone.
pub(crate) fn command(trace: &Path) -> Vec<&str> {
    let trace = trace.to_str().expect("a path");
    vec![
        "strace",
        "-D",
        "-f",
        "--seccomp-bpf",
        "-q",
        "-ttt",
        "-T",
        "-y",
        "-xx",
        "-s",
        "16777216",
        "-e",
        CALLS,
        "-e",
        "signal=none",
        "-o",
        trace,
    ]
}

/// Reads a recording after the recorded command has ended.
pub(crate) async fn read(trace: &Path, data_dir: &Path) -> Recording {
    let mut length = 0;
    for _ in 0..300 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let now = std::fs::metadata(trace).map_or(0, |file| file.len());
        if now > 0 && now == length {
            break;
        }
        length = now;
    }
    let text = std::fs::read_to_string(trace).expect("the recording");
    parse(&text, data_dir)
}

/// Reads the lines of a recording.
pub(crate) fn parse(text: &str, data_dir: &Path) -> Recording {
    let mut begun: HashMap<&str, (f64, String)> = HashMap::new();
    let mut events = Vec::new();
    for line in text.lines() {
        let Some((process, rest)) = line.split_once(' ') else {
            continue;
        };
        let Some((time, call)) = rest.trim_start().split_once(' ') else {
            continue;
        };
        let Ok(time) = time.parse::<f64>() else {
            continue;
        };
        if let Some(first) = call.strip_suffix("<unfinished ...>") {
            begun.insert(process, (time, first.trim_end().to_owned()));
            continue;
        }
        let (began, call) = match call.strip_prefix("<... ") {
            Some(resumed) => {
                let Some((_, last)) = resumed.split_once("resumed>") else {
                    continue;
                };
                let Some((began, first)) = begun.remove(process) else {
                    continue;
                };
                (began, format!("{first}{last}"))
            }
            None => (time, call.to_owned()),
        };
        events.extend(event(began, &call, data_dir));
    }
    // What was begun and never ended may have happened.
    for (began, first) in begun.into_values() {
        events.extend(event(began, &format!("{first}) = 0 <1000000.0>"), data_dir));
    }
    events.sort_by(|one, other| one.ended.total_cmp(&other.ended));
    Recording { events }
}

/// Reads one call: `write(3</path>, "bytes", 5) = 5 <0.000012>`.
fn event(began: f64, call: &str, data_dir: &Path) -> Option<Event> {
    let (name, rest) = call.split_once('(')?;
    let (arguments, result) = rest.rsplit_once(") = ")?;
    let (result, lasted) = result.rsplit_once(" <")?;
    let lasted: f64 = lasted.trim_end_matches('>').parse().ok()?;
    if result.starts_with('-') || result.starts_with('?') {
        return None;
    }
    let arguments = split(arguments);
    let deed = deed(name, &arguments, result, data_dir)?;
    Some(Event {
        began,
        ended: began + lasted,
        deed,
    })
}

fn deed(name: &str, arguments: &[&str], result: &str, data_dir: &Path) -> Option<Deed> {
    let argument = |number: usize| arguments.get(number).copied();
    // A descriptor's file: 3<\x2f\x74…>, with "(deleted)" behind it once it is removed.
    let file = |number: usize| within(&decode(between(argument(number)?, '<', '>')?), data_dir);
    // A path as it was given: "\x2f\x74…".
    let path = |number: usize| within(&decode(between(argument(number)?, '"', '"')?), data_dir);
    let bytes = |number: usize| Some(decode(between(argument(number)?, '"', '"')?));
    let number = |place: usize| argument(place)?.parse::<u64>().ok();
    let written = result.parse::<usize>().unwrap_or(usize::MAX);
    let write = |at: Option<u64>, mut bytes: Vec<u8>| {
        bytes.truncate(if written == 0 { bytes.len() } else { written });
        Some(Deed::Write {
            path: file(0)?,
            at,
            bytes,
        })
    };
    match name {
        "openat" | "open" | "creat" => {
            let place = usize::from(name == "openat");
            let (path, flags) = (path(place)?, argument(place + 1).unwrap_or_default());
            let writes = flags.contains("O_WRONLY") || flags.contains("O_RDWR") || name == "creat";
            writes.then(|| Deed::Open {
                path,
                create: flags.contains("O_CREAT") || name == "creat",
                truncate: flags.contains("O_TRUNC") || name == "creat",
                append: flags.contains("O_APPEND"),
            })
        }
        "write" => write(None, bytes(1)?),
        "pwrite64" => write(Some(number(3)?), bytes(1)?),
        "writev" => write(None, vector(argument(1)?)),
        "pwritev" | "pwritev2" => write(Some(number(3)?), vector(argument(1)?)),
        "fdatasync" | "fsync" => Some(Deed::Sync { path: file(0)? }),
        "ftruncate" => Some(Deed::Truncate {
            path: file(0)?,
            length: number(1)?,
        }),
        "truncate" => Some(Deed::Truncate {
            path: path(0)?,
            length: number(1)?,
        }),
        "fallocate" => {
            let keeps = argument(1)?.contains("FALLOC_FL_KEEP_SIZE");
            assert!(
                keeps || file(0).is_none(),
                "an unknown use of fallocate: {arguments:?}"
            );
            None
        }
        "rename" => Some(Deed::Rename {
            from: path(0)?,
            to: path(1)?,
        }),
        "renameat" | "renameat2" => Some(Deed::Rename {
            from: path(1)?,
            to: path(3)?,
        }),
        "unlink" | "rmdir" => Some(Deed::Remove { path: path(0)? }),
        "unlinkat" => Some(Deed::Remove { path: path(1)? }),
        "mkdir" => Some(Deed::MakeFolder { path: path(0)? }),
        "mkdirat" => Some(Deed::MakeFolder { path: path(1)? }),
        "link" | "linkat" | "copy_file_range" | "sendfile" => {
            let touched =
                (0..arguments.len()).any(|place| file(place).is_some() || path(place).is_some());
            assert!(!touched, "an unknown use of {name}: {arguments:?}");
            None
        }
        _ => None,
    }
}

/// Splits arguments at their commas. Text and paths are in hexadecimal, so a comma is
/// always a separator, unless it stands within the brackets of a vector.
fn split(arguments: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut from) = (Vec::new(), 0_i32, 0);
    for (place, letter) in arguments.char_indices() {
        match letter {
            '[' | '{' => depth += 1,
            ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(arguments[from..place].trim());
                from = place + 1;
            }
            _ => {}
        }
    }
    parts.push(arguments[from..].trim());
    parts
}

fn between(text: &str, open: char, close: char) -> Option<&str> {
    let (_, rest) = text.split_once(open)?;
    rest.split_once(close).map(|(inner, _)| inner)
}

/// The bytes of `\x68\x65…`.
fn decode(text: &str) -> Vec<u8> {
    let digits = text.as_bytes();
    let mut bytes = Vec::with_capacity(digits.len() / 4);
    let mut place = 0;
    while place < digits.len() {
        if digits[place] == b'\\' && digits.get(place + 1) == Some(&b'x') {
            let value = text.get(place + 2..place + 4).expect("two digits");
            bytes.push(u8::from_str_radix(value, 16).expect("hexadecimal digits"));
            place += 4;
        } else {
            bytes.push(digits[place]);
            place += 1;
        }
    }
    bytes
}

/// The bytes of `[{iov_base="\x61", iov_len=1}, …]`.
fn vector(text: &str) -> Vec<u8> {
    text.split("iov_base=")
        .skip(1)
        .filter_map(|part| between(part, '"', '"'))
        .flat_map(decode)
        .collect()
}

/// A path inside the data folder, relative to it; `None` for any other.
fn within(path: &[u8], data_dir: &Path) -> Option<PathBuf> {
    let path = PathBuf::from(String::from_utf8_lossy(path).into_owned());
    path.strip_prefix(data_dir).ok().map(Path::to_owned)
}

#[test]
fn a_recording_is_read() {
    let hex =
        |text: &str| -> String { text.bytes().map(|byte| format!("\\x{byte:02x}")).collect() };
    let (file, text, other) = (hex("/d/a"), hex("<,)\">"), hex("/elsewhere/a"));
    let lines = format!(
        "7 10.0 openat(AT_FDCWD<{cwd}>, \"{file}\", O_WRONLY|O_CREAT, 0644) = 3<{file}> <0.5>\n\
         7 11.0 write(3<{file}>, \"{text}\", 5 <unfinished ...>\n\
         8 11.1 fdatasync(3<{file}>) = 0 <0.1>\n\
         7 11.5 <... write resumed>) = 3 <0.6>\n\
         8 12.0 write(3<{other}>, \"{text}\", 5) = 5 <0.1>\n\
         8 13.0 unlink(\"{file}\") = -1 ENOENT (No such file or directory) <0.1>\n\
         8 14.0 pwrite64(3<{file}>, \"{text}\", 5, 77) = 5 <0.1>\n",
        cwd = hex("/"),
    );
    let recording = parse(&lines, Path::new("/d"));
    let path = PathBuf::from("a");
    let expected = [
        Deed::Open {
            path: path.clone(),
            create: true,
            truncate: false,
            append: false,
        },
        Deed::Sync { path: path.clone() },
        Deed::Write {
            path: path.clone(),
            at: None,
            bytes: b"<,)".to_vec(),
        },
        Deed::Write {
            path,
            at: Some(77),
            bytes: b"<,)\">".to_vec(),
        },
    ];
    let deeds: Vec<Deed> = recording
        .events
        .iter()
        .map(|event| event.deed.clone())
        .collect();
    assert_eq!(deeds, expected);
    assert!((recording.events[2].ended - 11.6).abs() < 1e-6);
}
