//! What it costs to collect a set.

/// What collecting a set costs: millionths of a byte per second, so that a set of which little is read an hour counts
/// as well, and that sums of different intervals compare as they should.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Weight(pub(super) u64);

impl Weight {
    /// The weight of a set of so many bytes that is collected every `interval_us`.
    #[must_use]
    pub fn of(data_size_bytes: u64, interval_us: u64) -> Weight {
        let per_second = u128::from(data_size_bytes) * 1_000_000_000_000 / u128::from(interval_us.max(1));
        Weight(u64::try_from(per_second).unwrap_or(u64::MAX))
    }

    /// Bytes per second.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "for people to read")]
    pub fn bytes_per_s(self) -> f64 {
        self.0 as f64 / 1e6
    }
}

impl std::iter::Sum for Weight {
    fn sum<I: Iterator<Item = Weight>>(weights: I) -> Weight {
        Weight(weights.map(|weight| weight.0).fold(0, u64::saturating_add))
    }
}
