//! How many files the process may have open, and who may have how many of them.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Taken for as many where the system sets no limit.
const UNLIMITED: u64 = 1 << 20;
/// What everything else may open: the write-ahead log, its own files while RocksDB sorts,
/// the log, listeners, names that are looked up.
const REST: u64 = 128;

/// How many files and connections the process may have open at once (`RLIMIT_NOFILE`), and
/// how they are shared out: a crowd of connections leaves the database its files, for it
/// stops writing when it cannot open one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenFiles {
    all: u64,
}

impl OpenFiles {
    /// The share-out of `all` files.
    pub const fn of(all: u64) -> Self {
        Self { all }
    }

    /// As many as this process may have.
    pub fn of_this_process() -> Self {
        Self::of(getrlimit(Resource::Nofile).current.unwrap_or(UNLIMITED))
    }

    /// Asks the system for as many as it gives: a shell's first limit is often a
    /// thousandth of it.
    pub fn ask_for_more() -> Self {
        let limit = getrlimit(Resource::Nofile);
        let wanted = Rlimit {
            current: limit.maximum,
            ..limit
        };
        if limit.current != limit.maximum
            && let Err(error) = setrlimit(Resource::Nofile, wanted)
        {
            log::warn!("the limit of open files stays as it is: {error}");
        }
        Self::of_this_process()
    }

    /// All of them.
    pub const fn all(self) -> u64 {
        self.all
    }

    /// Those that the database keeps open.
    pub fn database(self) -> u64 {
        (self.all / 8).clamp(32, 512)
    }

    /// Uploads, downloads and thumbnails that are being written or read: more than some
    /// people with all that one may have (`media`) can take.
    pub fn media(self) -> u64 {
        (self.all / 4).clamp(16, 16_384)
    }

    /// Connections to other servers.
    pub fn outgoing(self) -> u64 {
        (self.all / 8).clamp(16, 2_048)
    }

    /// Connections from clients and other servers, on all listeners together.
    pub fn incoming(self) -> u64 {
        let others = self.database() + self.media() + self.outgoing() + REST;
        self.all.saturating_sub(others).max(16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn together_they_are_not_more_than_there_are() {
        for all in [400, 1_024, 20_000, 65_536, 1 << 20] {
            let files = OpenFiles::of(all);
            let (database, media, outgoing) = (files.database(), files.media(), files.outgoing());
            let together = database + media + outgoing + files.incoming() + REST;
            assert!(together <= all, "{all}: {together}");
            // Most are for those who come.
            assert!(files.incoming() >= all / 8, "{all}: {}", files.incoming());
        }
    }

    #[test]
    fn as_many_as_the_system_gives() {
        let files = OpenFiles::ask_for_more();
        assert!(files.all() > 0);
        assert_eq!(files, OpenFiles::of_this_process());
    }
}
