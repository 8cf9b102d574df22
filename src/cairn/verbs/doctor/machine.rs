//! The machine: its memory and its clock.

use std::{fs, path::Path};

use runtime::Clock;

use super::Findings;
use crate::progress::size;

/// Less memory than this is too little for the server and its system.
const MEMORY: u64 = 900 << 20;
/// A clock before this (2026-01-01) is wrong: the program is younger.
const YOUNGEST: u64 = 1_767_225_600_000;

pub(super) fn machine(findings: &mut Findings) {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let number = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        let kilobytes = line.split_whitespace().next()?.parse::<u64>().ok()?;
        Some(kilobytes * 1_024)
    };
    match (number("MemTotal:"), number("MemAvailable:")) {
        (Some(total), Some(free)) => {
            let told = format!("{}, of which {} are free", size(total), size(free));
            if total < MEMORY {
                findings.wrong("memory", format!("{told}: at least 1 GiB, better 2"));
            } else {
                findings.well("memory", told);
            }
        }
        _ => findings.unknown("memory", "/proc/meminfo cannot be read"),
    }
    let now = Clock::system().now();
    if now.0 < YOUNGEST {
        findings.wrong(
            "clock",
            format!("it shows {now}: set it, or get a time server"),
        );
    } else if Path::new("/run/systemd/timesync/synchronized").exists() {
        findings.well("clock", format!("{now}, by a time server"));
    } else {
        findings.unknown(
            "clock",
            format!("{now}; whether that is right only you can tell"),
        );
    }
}
