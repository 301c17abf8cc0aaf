//! How often a daemon may be asked for everything.

use tokio::time::Instant;

/// A daemon is left alone for so many times as long as it took to tell everything: an aggregator of 100 000 metric sets,
/// some of which come and go all the time, would do little else than tell of them.
const REST: u32 = 2;

/// When a daemon may be asked for everything again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    next: Instant,
}

impl Pace {
    /// It has told everything, which took from `began` to `ended`.
    pub(super) fn after(began: Instant, ended: Instant) -> Pace {
        Pace { next: ended + REST * ended.saturating_duration_since(began) }
    }

    pub(super) fn allows(self, now: Instant) -> bool {
        now >= self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn who_takes_long_is_left_alone_for_longer() {
        let began = Instant::now();
        let after = |ms| began + Duration::from_millis(ms);
        let pace = Pace::after(began, after(600));
        assert_eq!([700, 1_799, 1_800].map(|ms| pace.allows(after(ms))), [false, false, true]);
        assert!(Pace::after(began, after(5)).allows(after(20)));
    }
}
