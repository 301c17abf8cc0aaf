//! How often a temporary fast updater ticks.

use super::regex::NAMES_IN_ONE;

/// The shortest interval.
///
/// A set is first updated at the first tick that is at least a second after the one that looked it up: ten of these are
/// just more than a second, ten of 100 ms would be just less.
const SHORTEST_US: u64 = 105_000;
/// A whole number of ticks makes this, for the same reason.
const JUST_MORE_THAN_A_SECOND_US: u64 = 10 * SHORTEST_US;
/// What it takes a daemon to fetch a set, and to try a set on one alternation of some hundred names (operations of a live
/// ldmsd, section 7: 2.2 % of a core for 1 200 sets a second, 3.0 % where each is tried on an alternation of 300).
const FETCH_US: u64 = 18;
const TRY_US: u64 = 7;
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
        assert_eq!([(0, 0), (1, 1), (500, 2_000), (0, 2_900)].map(|(n, o)| boost_interval_us(n, o)), [105_000; 4]);
    }

    #[test]
    fn more_sets_are_fetched_less_often() {
        assert_eq!(boost_interval_us(0, 10_000), 525_000);
        assert_eq!(boost_interval_us(0, 50_000), 2_100_000);
        assert_eq!(boost_interval_us(0, 1_000_000), 36_750_000);
    }

    #[test]
    fn naming_sets_among_very_many_costs_too() {
        assert_eq!(boost_interval_us(500, 10_000), 350_000);
        assert_eq!(boost_interval_us(5_000, 10_000), 3_150_000);
    }
}
