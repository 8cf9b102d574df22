//! How far a long verb has come: a bar with a rate on a terminal, plain lines elsewhere.

use std::io::{IsTerminal as _, Write as _};

use backup::Progress;
use runtime::{Clock, Timestamp};

/// How often a bar is drawn anew, in ms.
const DRAW_EVERY: u64 = 100;
/// How often a line is written where there is no terminal, in ms.
const LINE_EVERY: u64 = 10_000;
/// How long the bar is.
const WIDTH: u64 = 24;

/// Tells on standard error how far a verb has come.
pub(crate) struct Teller {
    clock: Clock,
    way: Way,
    /// What is counted, if not bytes.
    unit: Option<&'static str>,
    what: String,
    expected: u64,
    done: u64,
    begun: Timestamp,
    told: Timestamp,
}

#[derive(Clone, Copy, PartialEq)]
enum Way {
    Bar,
    Lines,
    Silent,
}

impl Teller {
    /// Tells people; programs, which asked for JSON, are told in the end only.
    pub(crate) fn new(json: bool) -> Self {
        let way = match (json, std::io::stderr().is_terminal()) {
            (true, _) => Way::Silent,
            (false, true) => Way::Bar,
            (false, false) => Way::Lines,
        };
        let clock = Clock::system();
        Self {
            way,
            unit: None,
            what: String::new(),
            expected: 0,
            done: 0,
            begun: clock.now(),
            told: clock.now(),
            clock,
        }
    }

    /// The same where it is not bytes that are counted.
    pub(crate) fn counting(json: bool, unit: &'static str) -> Self {
        let mut teller = Self::new(json);
        teller.unit = Some(unit);
        teller
    }

    /// Something else begins, of so many.
    pub(crate) fn start(&mut self, what: &str, count: usize) {
        self.begin(what);
        self.expect(u64::try_from(count).unwrap_or(u64::MAX));
    }

    /// So many more are done.
    pub(crate) fn advance(&mut self, count: usize) {
        self.done(u64::try_from(count).unwrap_or(u64::MAX));
    }

    fn amount(&self, number: u64) -> String {
        match self.unit {
            None => size(number),
            Some(unit) => format!("{number} {unit}"),
        }
    }

    /// How many in each second so far.
    fn rate(&self) -> u64 {
        let elapsed = self.clock.now().since(self.begun).as_millis();
        let elapsed = u64::try_from(elapsed).unwrap_or(u64::MAX).max(1);
        self.done.saturating_mul(1_000) / elapsed
    }

    fn line(&self) -> String {
        let rate = self.rate();
        let left = self.expected.saturating_sub(self.done);
        let mut line = format!(
            "{}: {} of {}, {}/s",
            self.what,
            self.amount(self.done),
            self.amount(self.expected),
            self.amount(rate)
        );
        if let Some(seconds) = left.checked_div(rate)
            && seconds > 0
        {
            line += &format!(", {} left", duration(seconds));
        }
        line
    }

    fn tell(&mut self) {
        let every = match self.way {
            Way::Bar => DRAW_EVERY,
            Way::Lines => LINE_EVERY,
            Way::Silent => return,
        };
        let now = self.clock.now();
        if now.since(self.told).as_millis() < u128::from(every) {
            return;
        }
        self.told = now;
        let line = self.line();
        let mut output = std::io::stderr();
        // Nobody may be looking, and the work goes on all the same.
        let _ = match self.way {
            Way::Bar => {
                let full = self.done.saturating_mul(WIDTH) / self.expected.max(1);
                let bar: String = (0..WIDTH)
                    .map(|place| if place < full { '█' } else { '░' })
                    .collect();
                write!(output, "\r{bar} {line}\u{1b}[K").and_then(|()| output.flush())
            }
            _ => writeln!(output, "{line}"),
        };
    }

    /// Removes the bar: something else is about to be told.
    fn clear(&self) {
        if self.way == Way::Bar {
            let _ = write!(std::io::stderr(), "\r\u{1b}[K");
        }
    }
}

impl Progress for Teller {
    fn begin(&mut self, what: &str) {
        self.clear();
        what.clone_into(&mut self.what);
        (self.expected, self.done) = (0, 0);
        self.begun = self.clock.now();
        if self.way == Way::Lines {
            let _ = writeln!(std::io::stderr(), "{what}…");
        }
    }

    fn expect(&mut self, bytes: u64) {
        self.expected += bytes;
    }

    fn done(&mut self, bytes: u64) {
        self.done += bytes;
        self.tell();
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        self.clear();
    }
}

/// A number of bytes for people.
pub(crate) fn size(bytes: u64) -> String {
    let (unit, name) = match bytes {
        0..=1_023 => return format!("{bytes} B"),
        1_024..=1_048_575 => (1_024, "KiB"),
        1_048_576..=1_073_741_823 => (1_048_576, "MiB"),
        _ => (1_073_741_824, "GiB"),
    };
    let tenths = bytes.saturating_mul(10) / unit;
    format!("{}.{} {name}", tenths / 10, tenths % 10)
}

/// A number of seconds for people.
pub(crate) fn duration(seconds: u64) -> String {
    let (minutes, hours) = (seconds / 60, seconds / 3_600);
    match seconds {
        0..=59 => format!("{seconds} s"),
        60..=3_599 => format!("{minutes} min {} s", seconds % 60),
        3_600..=86_399 => format!("{hours} h {} min", minutes % 60),
        _ => format!("{} days {} h", hours / 24, hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_durations_are_for_people() {
        for (bytes, expected) in [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_536, "1.5 KiB"),
            (1_048_576, "1.0 MiB"),
            (5_368_709_120, "5.0 GiB"),
        ] {
            assert_eq!(size(bytes), expected);
        }
        for (seconds, expected) in [
            (5, "5 s"),
            (65, "1 min 5 s"),
            (7_260, "2 h 1 min"),
            (200_000, "2 days 7 h"),
        ] {
            assert_eq!(duration(seconds), expected);
        }
    }

    #[test]
    fn a_line_has_the_rate_and_what_is_left() {
        let clock = Clock::manual(Timestamp(1_000));
        let mut teller = Teller {
            clock: clock.clone(),
            way: Way::Silent,
            unit: None,
            what: String::new(),
            expected: 0,
            done: 0,
            begun: clock.now(),
            told: clock.now(),
        };
        teller.begin("files");
        teller.expect(4 << 20);
        clock.advance(2_000);
        teller.done(1 << 20);
        assert_eq!(
            teller.line(),
            "files: 1.0 MiB of 4.0 MiB, 512.0 KiB/s, 6 s left"
        );
    }
}
