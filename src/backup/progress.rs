//! How far a long work has come.

/// Who is told how far a work has come.
pub trait Progress {
    /// A part of the work begins: a word or two for a person.
    fn begin(&mut self, what: &str);
    /// So many bytes more are to be done than was known.
    fn expect(&mut self, bytes: u64);
    /// So many bytes more are done.
    fn done(&mut self, bytes: u64);
}

/// Tells nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn begin(&mut self, _: &str) {}
    fn expect(&mut self, _: u64) {}
    fn done(&mut self, _: u64) {}
}
