//! When an updater may go that another one has taken the place of.
//!
//! A daemon reckons the first tick of an updater from the next full multiple of its interval: one that is started
//! between a multiple and its offset misses that tick, seen on 4.4, 4.5 and the development head. The updater that it
//! replaces has to make it. Who has ticked in this interval may go: the new one is there for the next.

use crate::cluster::{Updater, UpdaterMode};
use crate::desired::{Change, UpdaterWanted, belongs_to};
use crate::ldmsd::{Attribute, Verb};
use crate::notation::{Interval, Name};

/// How long after a tick an updater is thought to have made it: clocks differ by some milliseconds.
const AFTER_A_TICK_US: u64 = 100_000;

/// How long a change has to wait that takes an updater away, because `wanted` is to have ticked in its place; 0 for any
/// other change.
pub(super) fn goes_on_for_us(change: &Change, wanted: &[UpdaterWanted], wall_us: u64) -> u64 {
    let Some(first) = change.steps.first().filter(|step| step.command.verb == Verb::UpdtrStop) else { return 0 };
    let Some(on_daemon) = first.command.get(Attribute::Name).map(Name::from) else { return 0 };
    let successors = wanted.iter().filter(|wanted| belongs_to(&on_daemon, &wanted.name));
    successors.map(|successor| until_ticked_us(successor, wall_us)).max().unwrap_or(0)
}

/// How long until an updater has ticked in the interval that began with the last full multiple.
fn until_ticked_us(updater: &Updater, wall_us: u64) -> u64 {
    let as_us = |interval: &Interval| interval.us().and_then(|us| u64::try_from(us).ok());
    let Some(interval_us) = as_us(&updater.interval).filter(|us| *us > 0) else { return 0 };
    let offset_us = match updater.mode {
        // It goes by the offsets of its sets, which a daemon takes up to half of the interval.
        UpdaterMode::Auto => interval_us / 2,
        _ => updater.offset.as_ref().and_then(as_us).unwrap_or(0),
    };
    if offset_us == 0 || offset_us >= interval_us {
        return 0;
    }
    let ticked_us = offset_us + AFTER_A_TICK_US.min((interval_us - offset_us) / 2);
    ticked_us.saturating_sub(wall_us % interval_us)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desired::Subject;
    use crate::ldmsd::Command;

    fn updater(mode: UpdaterMode, offset_us: i64) -> UpdaterWanted {
        let interval = Interval::from_us(1_000_000);
        let offset = Some(Interval::from_us(offset_us));
        let (name, producers, sets) = ("updtr_0".into(), vec![".*".into()], Vec::new());
        Updater { name, mode, interval, offset, perm: None, producers, sets }.into()
    }

    fn removal(name: &str) -> Change {
        let step = |verb| Command::new(verb).with(Attribute::Name, name).into();
        Change::visible(Subject::Updater(name.into()), vec![step(Verb::UpdtrStop), step(Verb::UpdtrDel)])
    }

    #[test]
    fn an_updater_goes_when_it_has_made_the_tick_that_its_successor_misses() {
        let wanted = [updater(UpdaterMode::Pull, 300_000)];
        let waits_us = |phase_us: u64| goes_on_for_us(&removal("updtr_0.1"), &wanted, 7_000_000 + phase_us);
        assert_eq!([0, 100_000, 350_000].map(waits_us), [400_000, 300_000, 50_000]);
        assert_eq!([400_000, 700_000, 999_999].map(waits_us), [0, 0, 0]);
    }

    #[test]
    fn nothing_waits_that_no_tick_depends_on() {
        let at_us = 7_100_000;
        assert_eq!(goes_on_for_us(&removal("updtr_0"), &[updater(UpdaterMode::Pull, 0)], at_us), 0);
        assert_eq!(goes_on_for_us(&removal("updtr_0"), &[updater(UpdaterMode::Pull, -300_000)], at_us), 0);
        let wanted = [updater(UpdaterMode::Pull, 300_000)];
        assert_eq!(goes_on_for_us(&removal("updtr_1"), &wanted, at_us), 0, "nothing takes its place");
        assert_eq!(goes_on_for_us(&removal("boost-1"), &wanted, at_us), 0);
        let start = Command::new(Verb::UpdtrStart).with(Attribute::Name, "updtr_0").into();
        let start = Change::visible(Subject::Updater("updtr_0".into()), vec![start]);
        assert_eq!(goes_on_for_us(&start, &wanted, at_us), 0);
        assert_eq!(goes_on_for_us(&removal("updtr_0"), &[updater(UpdaterMode::Auto, 0)], at_us), 500_000);
    }
}
