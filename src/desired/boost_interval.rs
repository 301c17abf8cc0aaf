//! How often a temporary fast updater ticks.

use super::regex::NAMES_IN_ONE;

/// The shortest interval.
///
/// A set is first updated at the first tick that is at least a second after the one that looked it up: ten of these are
/// just more than a second, ten of 100 ms would be just less.
const SHORTEST_US: u64 = 105_000;
/// A whole number of ticks makes this, for the same reason.
const JUST_MORE_THAN_A_SECOND_US: u64 = 10 * SHORTEST_US;
/// What it takes a daemon to fetch a set, and to try one on an alternation of some hundred names: twice what was seen of a
/// real one, at least (2 000 sets each second, on the development head: 4 µs and 0.3 µs).
const FETCH_US: u64 = 10;
const TRY_US: u64 = 1;
/// The part of the time that a daemon may be busy with it, as a divisor.
const BUSY: u64 = 2;

/// The interval of a temporary updater, in microseconds, whose producers offer `offered` sets of which `named` are named in
/// its match list; 0 for no list, and all of them.
///
/// Ten times a second, unless the daemon would be busy for more than half of the time: an updater of 50 000 sets that ticks
/// faster than they can be fetched is no faster, and keeps the daemon from everything else.
#[must_use]
pub fn boost_interval_us(named: usize, offered: usize) -> i64 {
    let count = |sets: usize| u64::try_from(sets).unwrap_or(u64::MAX);
    let fetched = if named == 0 { offered } else { named };
    let tried = count(named.div_ceil(NAMES_IN_ONE)).saturating_mul(count(offered));
    let busy_us = count(fetched).saturating_mul(FETCH_US).saturating_add(tried.saturating_mul(TRY_US));
    let at_least_us = busy_us.saturating_mul(BUSY);
    let interval_us = match JUST_MORE_THAN_A_SECOND_US / at_least_us.max(SHORTEST_US) {
        0 => at_least_us.div_ceil(JUST_MORE_THAN_A_SECOND_US).saturating_mul(JUST_MORE_THAN_A_SECOND_US),
        ticks => JUST_MORE_THAN_A_SECOND_US / ticks,
    };
    i64::try_from(interval_us).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_thousand_sets_are_fetched_ten_times_a_second() {
        let intervals =
            [(0, 0), (1, 1), (500, 20_000), (0, 5_000)].map(|(named, offered)| boost_interval_us(named, offered));
        assert_eq!(intervals, [105_000; 4]);
    }

    #[test]
    fn more_sets_are_fetched_less_often() {
        assert_eq!(boost_interval_us(0, 10_000), 210_000);
        assert_eq!(boost_interval_us(0, 50_000), 1_050_000);
        assert_eq!(boost_interval_us(0, 1_000_000), 21_000_000);
    }

    #[test]
    fn naming_sets_among_very_many_costs_too() {
        assert_eq!(boost_interval_us(500, 100_000), 525_000);
        assert_eq!(boost_interval_us(5_000, 10_000), 525_000);
        assert_eq!(boost_interval_us(20_000, 20_000), 4_200_000);
    }
}
