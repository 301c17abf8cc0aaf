//! When what was sent to a daemon, and cannot be observed, is doubted because somebody else has changed the daemon.
//!
//! Everything that does not show is then sent again, for what was done may have undone any of it. Somebody may be
//! another maestro, which would do the same: so a few doubts are allowed at once, and from then on one a minute. What may
//! not be doubted now is doubted later, because nothing else will tell.

use super::notice::Notice;
use super::{Conductor, Now, Timer};
use crate::notation::Name;

/// So many doubts are allowed one after the other.
const AT_ONCE: u64 = 3;
/// So much later one more is.
const AGAIN_US: u64 = 60_000_000;

/// The doubts about one daemon.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Doubts {
    /// When all of them are allowed again.
    all_allowed_us: u64,
    /// A change by somebody else has not been followed by a doubt yet.
    waiting: bool,
}

impl Doubts {
    /// Somebody else has changed the daemon.
    pub(super) fn raise(&mut self) {
        self.waiting = true;
    }

    /// When the change is to be doubted that has not been yet; may be in the past.
    fn due_us(&self) -> Option<u64> {
        self.waiting.then_some(self.all_allowed_us.saturating_sub((AT_ONCE - 1) * AGAIN_US))
    }

    /// Whether it is time for a doubt, which is then counted.
    fn take_due(&mut self, now: Now) -> bool {
        let is_due = self.due_us().is_some_and(|due_us| due_us <= now.mono_us);
        if is_due {
            self.waiting = false;
            self.all_allowed_us = self.all_allowed_us.max(now.mono_us) + AGAIN_US;
        }
        is_due
    }

    /// The daemon has begun anew: there is nothing left to be doubted.
    pub(super) fn settle(&mut self) {
        self.waiting = false;
    }
}

impl Conductor {
    /// Doubts the ledger of a daemon if somebody else has changed it, now or as soon as that is allowed.
    pub(super) fn doubt(&mut self, name: &Name, now: Now) {
        let Some(state) = self.daemons.get_mut(name) else { return };
        if state.doubts.take_due(now) {
            state.ledger.doubt();
            // A daemon counts the subscriptions of its aggregators as well: nothing to trouble the operator with.
            if !self.subscribes_to(name) {
                self.report(Notice::ChangedByAnother { daemon: name.clone() });
            }
        } else if let Some(due_us) = state.doubts.due_us() {
            self.timers.insert((due_us, Timer::Daemon(name.clone())));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_US: u64 = 1_000_000;

    /// The seconds at which a daemon is doubted that somebody else changes at these seconds.
    fn doubted(changed: impl IntoIterator<Item = u64>) -> Vec<u64> {
        let mut changed: Vec<u64> = changed.into_iter().collect();
        changed.reverse();
        let mut doubts = Doubts::default();
        (0..400)
            .filter(|second| {
                if changed.pop_if(|next| next == second).is_some() {
                    doubts.raise();
                }
                let us = 5_000 * SECOND_US + second * SECOND_US;
                doubts.take_due(Now { mono_us: us, wall_us: us })
            })
            .collect()
    }

    #[test]
    fn a_few_changes_are_doubted_at_once_and_no_later_one_is_forgotten() {
        assert_eq!(doubted([10]), [10]);
        assert_eq!(doubted([10, 15, 20]), [10, 15, 20]);
        assert_eq!(doubted([10, 15, 20, 25, 30]), [10, 15, 20, 70], "together, a minute after the first");
        assert_eq!(doubted([10, 15, 20, 25, 100]), [10, 15, 20, 70, 130]);
        assert_eq!(doubted([10, 15, 20, 350, 351, 352]), [10, 15, 20, 350, 351, 352]);
    }

    #[test]
    fn who_changes_it_for_ever_is_answered_once_a_minute() {
        assert_eq!(doubted(10..400), [10, 11, 12, 70, 130, 190, 250, 310, 370]);
    }
}
