//! How many files the process may have open, and who may have how many of them.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Taken for as many where the system sets no limit.
const UNLIMITED: usize = 1 << 20;
/// What everything else may open: the write-ahead log, its own files while RocksDB sorts,
/// the log, listeners, names that are looked up.
const REST: usize = 128;

/// How many files and connections the process may have open at once (`RLIMIT_NOFILE`), and
/// how they are shared out: a crowd of connections leaves the database its files, for it
/// stops writing when it cannot open one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenFiles {
    all: usize,
}

impl OpenFiles {
    /// The share-out of `all` files.
    pub const fn of(all: usize) -> Self {
        Self { all }
    }

    /// As many as this process may have.
    pub fn of_this_process() -> Self {
        let limit = getrlimit(Resource::Nofile).current;
        let limit = limit.and_then(|limit| usize::try_from(limit).ok());
        Self::of(limit.unwrap_or(UNLIMITED))
    }

    /// Asks the system for as many as it gives: a shell's first limit is often a
    /// thousandth of it.
    pub fn ask_for_more() {
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
    }

    /// All of them.
    pub const fn all(self) -> usize {
        self.all
    }

    /// Those that the database keeps open.
    pub fn database(self) -> usize {
        (self.all / 8).clamp(32, 512)
    }

    /// Uploads, downloads and thumbnails that are being written or read: more than some
    /// people with all that one may have (`media`) can take.
    pub fn media(self) -> usize {
        (self.all / 4).clamp(16, 16_384)
    }

    /// Connections to other servers.
    pub fn outgoing(self) -> usize {
        (self.all / 8).clamp(16, 2_048)
    }

    /// Connections from clients and other servers, on all listeners together.
    pub fn incoming(self) -> usize {
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
        OpenFiles::ask_for_more();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
        assert!(OpenFiles::of_this_process().all() > 0);
    }
}
