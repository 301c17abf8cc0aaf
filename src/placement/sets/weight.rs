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

    /// The mean of some weights, nothing of none.
    #[must_use]
    pub fn average(weights: &[Weight]) -> Weight {
        let total: Weight = weights.iter().copied().sum();
        Weight(total.0 / (weights.len().max(1) as u64))
    }
}

/// `31.2 kB/s`
impl std::fmt::Display for Weight {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let bytes_per_s = self.bytes_per_s();
        match bytes_per_s {
            ..1e3 => write!(f, "{bytes_per_s:.0} B/s"),
            1e3..1e6 => write!(f, "{:.1} kB/s", bytes_per_s / 1e3),
            _ => write!(f, "{:.1} MB/s", bytes_per_s / 1e6),
        }
    }
}

impl std::iter::Sum for Weight {
    fn sum<I: Iterator<Item = Weight>>(weights: I) -> Weight {
        Weight(weights.map(|weight| weight.0).fold(0, u64::saturating_add))
    }
}
