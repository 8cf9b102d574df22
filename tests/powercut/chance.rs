//! Choices that can be repeated.

/// A small generator of random numbers (SplitMix64), started from `POWERCUT_SEED`.
#[derive(Debug, Clone)]
pub(crate) struct Chance {
    seed: u64,
    state: u64,
}

impl Chance {
    /// Starts from `POWERCUT_SEED`, or from the time.
    pub(crate) fn new() -> Self {
        let given = std::env::var("POWERCUT_SEED")
            .ok()
            .and_then(|seed| seed.parse().ok());
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let seed = given.unwrap_or_else(|| now.map_or(1, |time| time.as_micros() as u64));
        Self::from_seed(seed)
    }

    pub(crate) fn from_seed(seed: u64) -> Self {
        Self { seed, state: seed }
    }

    /// What to set to have the same choices again.
    pub(crate) fn name(&self) -> String {
        format!("POWERCUT_SEED={}", self.seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to `limit`, without `limit`; 0 for 0.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next().checked_rem(limit).unwrap_or(0)
    }

    /// A number from 0 to 1, without 1.
    pub(crate) fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}
