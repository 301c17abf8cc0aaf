//! What it costs to collect a set.

use serde::{Deserialize, Serialize};

/// What collecting a set costs: millionths of a byte per second, so that a set of which little is read an hour counts
/// as well, and that sums of different intervals compare as they should.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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

    /// So many times as much, divided by so many.
    #[must_use]
    pub fn scaled(self, times: usize, divided_by: usize) -> Weight {
        let scaled = u128::from(self.0) * times as u128 / divided_by.max(1) as u128;
        Weight(u64::try_from(scaled).unwrap_or(u64::MAX))
    }

    /// How much the two differ.
    #[must_use]
    pub fn abs_diff(self, other: Weight) -> Weight {
        Weight(self.0.abs_diff(other.0))
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
