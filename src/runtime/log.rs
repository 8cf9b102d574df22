//! The log: journald under systemd, readable lines elsewhere.
//!
//! All crates write through the `log` facade, with structured values as fields:
//! `log::info!(request_id = id; "signed in")`. Logs never hold content.

use std::{fmt::Write as _, io::Write as _, panic::PanicHookInfo};

use ::log::{
    Level, LevelFilter, Log, Metadata, Record,
    kv::{Error, Key, Value, VisitSource},
};
use systemd_journal_logger::{JournalLog, connected_to_journal};

use crate::Clock;

/// Why the log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Another part of the process has opened a log already.
    #[error("the log is open already")]
    AlreadyOpen,
}

/// Opens the log for this process, and logs panics from now on.
///
/// Writes to journald when standard error is connected to it (systemd sets
/// `JOURNAL_STREAM`), and otherwise to standard error, one line an entry:
/// `2026-11-23T12:00:00.123Z INFO  target: message key=value`.
///
/// # Errors
/// [`LogError::AlreadyOpen`] the second time.
pub fn init(level: LevelFilter) -> Result<(), LogError> {
    let journal = if connected_to_journal() {
        JournalLog::new().ok()
    } else {
        None
    };
    match journal {
        Some(journal) => journal.install(),
        None => ::log::set_boxed_logger(Box::new(Terminal {
            clock: Clock::system(),
        })),
    }
    .map_err(|_| LogError::AlreadyOpen)?;
    set_level(level);
    std::panic::set_hook(Box::new(report_panic));
    Ok(())
}

/// Writes entries of `level` and more urgent ones from now on.
pub fn set_level(level: LevelFilter) {
    ::log::set_max_level(level);
}

/// Logs where a panic happened. A message that was put together at run time may
/// quote what somebody wrote, so it is for debugging only.
fn report_panic(info: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    let literal = info
        .payload()
        .downcast_ref::<&'static str>()
        .copied()
        .unwrap_or_default();
    ::log::error!(thread = thread, place = place; "panic: {literal}");
    if let Some(message) = info.payload().downcast_ref::<String>() {
        ::log::debug!(thread = thread, place = place; "panic: {message}");
    }
}

struct Terminal {
    clock: Clock,
}

impl Log for Terminal {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= ::log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let line = line(&self.clock, record);
            // One write a line, so that threads do not mix. Where even standard error
            // is closed there is nobody left to tell.
            let _ = std::io::stderr().lock().write_all(line.as_bytes());
        }
    }

    fn flush(&self) {}
}

/// One entry as one line, whatever its message holds.
fn line(clock: &Clock, record: &Record<'_>) -> String {
    let level = match record.level() {
        Level::Error => "ERROR",
        Level::Warn => "WARN ",
        Level::Info => "INFO ",
        Level::Debug => "DEBUG",
        Level::Trace => "TRACE",
    };
    let mut line = format!("{} {level} {}: ", clock.now(), record.target());
    push_printable(&mut line, &record.args().to_string());
    // `Fields` never refuses a pair.
    let _ = record.key_values().visit(&mut Fields(&mut line));
    line.push('\n');
    line
}

struct Fields<'a>(&'a mut String);

impl<'kvs> VisitSource<'kvs> for Fields<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        let value = value.to_string();
        self.0.push(' ');
        push_printable(self.0, key.as_str());
        self.0.push('=');
        if value.is_empty() || value.contains([' ', '"', '=']) {
            // Writing to a string cannot fail.
            let _ = write!(self.0, "{value:?}");
        } else {
            push_printable(self.0, &value);
        }
        Ok(())
    }
}

/// Appends `text` with control characters escaped: no text from outside can
/// begin a line of its own or steer the terminal.
fn push_printable(line: &mut String, text: &str) {
    for character in text.chars() {
        if character.is_control() {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Timestamp;

    #[test]
    fn an_entry_is_one_line_with_its_fields() {
        let clock = Clock::manual(Timestamp(1_795_435_200_123));
        let fields = [("request_id", "r1"), ("reason", "two words")];
        let line = line(
            &clock,
            &Record::builder()
                .level(Level::Info)
                .target("web")
                .args(format_args!("first\nsecond \u{1b}[31m"))
                .key_values(&fields.as_slice())
                .build(),
        );
        assert_eq!(
            line,
            "2026-11-23T12:00:00.123Z INFO  web: first\\nsecond \\u{1b}[31m request_id=r1 reason=\"two words\"\n"
        );
    }
}
