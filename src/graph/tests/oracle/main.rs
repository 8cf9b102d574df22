//! Rooms made by chance, resolved by this server and by Synapse: both must have the same state wherever forks meet, and the same event ids.
//!
//! Synapse comes from PyPI into the target folder, once.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on may stop")]

#[path = "../room_versions/forks.rs"]
#[expect(dead_code, reason = "the tests of the rules look at more")]
mod forks;
#[path = "../room_versions/stories.rs"]
#[expect(dead_code, reason = "what is expected is for Synapse to say")]
mod stories;

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader, Lines, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use graph::Version;
use ruma_common::OwnedEventId;
use serde::Deserialize;
use serde_json::{Value, json};

use self::forks::{Chance, Room, State};

const SYNAPSE: &str = "matrix-synapse==1.163.0";
const ROOMS_OF_EACH_VERSION: u64 = 60;

#[derive(Deserialize)]
struct Answer {
    event_ids: Vec<OwnedEventId>,
    states: Vec<Vec<(String, String, OwnedEventId)>>,
}

/// Synapse, at work in a process of its own.
struct Synapse {
    process: Child,
    questions: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    meetings: usize,
    /// What was in conflict in which version.
    conflicts: BTreeSet<(Version, String)>,
}

impl Synapse {
    fn start() -> Self {
        let script = Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap())
            .join("tests/oracle/synapse_resolution.py");
        let mut process = Command::new(python_with_synapse())
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            questions: process.stdin.take().unwrap(),
            answers: BufReader::new(process.stdout.take().unwrap()).lines(),
            process,
            meetings: 0,
            conflicts: BTreeSet::new(),
        }
    }

    /// Compares all event ids and all resolved states of a room.
    fn compare(&mut self, room: &Room, name: &str) {
        let version = room.version;
        writeln!(self.questions, "{}", question(room)).unwrap();
        let answer = self.answers.next().unwrap().unwrap();
        let answer: Answer = serde_json::from_str(&answer).unwrap();
        let ids = room.events.iter().map(|event| event.event_id());
        assert!(ids.eq(&answer.event_ids), "version {version}, {name}");
        assert_eq!(room.meetings.len(), answer.states.len());
        for (index, (meeting, state)) in room.meetings.iter().zip(answer.states).enumerate() {
            let state: State = state
                .into_iter()
                .map(|(event_type, key, id)| ((event_type, key), id))
                .collect();
            assert_eq!(
                meeting.resolved,
                state,
                "version {version}, {name}, meeting {index}:\n{}",
                tell(room)
            );
            self.meetings += 1;
            let (differing, _) = forks::differences(&meeting.forks);
            let differing = differing.into_iter().map(|it| (version, it.event_type));
            self.conflicts.extend(differing);
        }
    }

    fn stop(mut self) {
        drop(self.questions);
        assert!(self.process.wait().unwrap().success());
    }
}

#[test]
fn synapse_resolves_alike() {
    let mut synapse = Synapse::start();
    for version in Version::KNOWN {
        for story in stories::STORIES {
            if version >= Version::V12 || !story.only_since_12 {
                synapse.compare(&Room::of_story(version, story.forks), story.name);
            }
        }
        for seed in 0..ROOMS_OF_EACH_VERSION {
            let room = Room::by_chance(version, &mut Chance::new(seed));
            synapse.compare(&room, &format!("seed {seed}"));
        }
    }
    // What was compared is worth comparing: everything that matters was in conflict in every version.
    assert!(synapse.meetings > 1000, "{}", synapse.meetings);
    for version in Version::KNOWN {
        for event_type in ["m.room.power_levels", "m.room.join_rules", "m.room.member"] {
            assert!(
                synapse
                    .conflicts
                    .contains(&(version, event_type.to_owned()))
            );
        }
    }
    synapse.stop();
}

fn question(room: &Room) -> Value {
    let events: Vec<Value> = room
        .events
        .iter()
        .map(|event| serde_json::from_str(event.json()).unwrap())
        .collect();
    let fork = |state: &State| -> Vec<Value> {
        let entries = state.iter();
        entries
            .map(|((event_type, key), id)| json!([event_type, key, id]))
            .collect()
    };
    let meetings: Vec<Vec<_>> = room
        .meetings
        .iter()
        .map(|meeting| meeting.forks.iter().map(fork).collect())
        .collect();
    json!({
        "version": room.version.as_str(), "id": room.id, "events": events, "meetings": meetings,
    })
}

/// A room's events, to find out why it is resolved differently.
fn tell(room: &Room) -> String {
    room.events
        .iter()
        .map(|event| format!("{} {}\n", event.event_id(), event.json()))
        .collect()
}

/// A Python that has Synapse, set up in the target folder if it is not there yet.
fn python_with_synapse() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(SYNAPSE.replace("==", "-"));
    let python = folder.join("bin/python");
    let complete = folder.join("complete");
    if !complete.exists() {
        let _ = fs::remove_dir_all(&folder);
        run(Command::new("python3").args(["-m", "venv"]).arg(&folder));
        run(Command::new(&python).args(["-m", "pip", "install", "--quiet", SYNAPSE]));
        fs::write(complete, "").unwrap();
    }
    python
}

fn run(command: &mut Command) {
    let status = command.status().unwrap();
    assert!(status.success(), "{command:?}: {status}");
}
