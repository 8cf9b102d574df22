//! Chance, as a parameter.

use std::{fmt, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use parking_lot::Mutex;
use rand::{
    Rng as _, SeedableRng as _,
    rand_core::UnwrapErr,
    rngs::{StdRng, SysRng},
};

/// A source of random bytes. Clones share one source.
#[derive(Clone)]
pub struct Random(Source);

#[derive(Clone)]
enum Source {
    System,
    Seeded(Arc<Mutex<StdRng>>),
}

impl Random {
    /// The operating system's generator: for every key, token and identifier of a
    /// running server.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// The same bytes for the same seed: for tests, never for secrets.
    pub fn seeded(seed: u64) -> Self {
        Self(Source::Seeded(Arc::new(Mutex::new(StdRng::seed_from_u64(
            seed,
        )))))
    }

    /// Fills `bytes`.
    ///
    /// Panics if the system has no randomness: going on without it would hand out
    /// secrets that can be guessed. Linux never fails here once it has started.
    pub fn fill(&self, bytes: &mut [u8]) {
        match &self.0 {
            Source::System => UnwrapErr(SysRng).fill_bytes(bytes),
            Source::Seeded(generator) => generator.lock().fill_bytes(bytes),
        }
    }

    /// `N` random bytes.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }

    /// 256 random bits as 43 characters of unpadded URL-safe base64: access
    /// tokens, invitation tokens, generated passwords.
    pub fn token(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.bytes::<32>())
    }

    /// 64 random bits.
    pub fn number(&self) -> u64 {
        u64::from_le_bytes(self.bytes())
    }
}

/// Says which source it is; the state of a generator is no text for a log.
impl fmt::Debug for Random {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self.0 {
            Source::System => "Random::system",
            Source::Seeded(_) => "Random::seeded",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_bytes() {
        assert_eq!(
            Random::seeded(7).bytes::<40>(),
            Random::seeded(7).bytes::<40>()
        );
        assert_ne!(Random::seeded(7).number(), Random::seeded(8).number());
        assert_ne!(Random::system().token(), Random::system().token());
        assert_eq!(Random::system().token().len(), 43);
    }
}
