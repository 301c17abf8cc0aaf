//! How the changes of a daemon went: when one is tried again, and what the operator is told of a refusal.

use super::Now;
use super::daemons::DaemonState;
use super::event::Outcome;
use super::notice::Notice;
use crate::desired::{Change, Step, Subject, failed_to_listen, tombstone};
use crate::ldmsd::Verb;
use crate::notation::Name;

/// EEXIST.
const EXISTS: i32 = 17;

/// The last try of a change, so that neither a refusal nor a change without effect is repeated at once.
#[derive(Debug, Clone)]
pub(super) struct Attempt {
    pub(super) steps: Vec<Step>,
    /// The code of a refusal that the operator knows of.
    pub(super) told: Option<i32>,
    pub(super) next_try_us: u64,
    pub(super) delay_us: u64,
}

impl DaemonState {
    /// The first delay after a refusal that passes by itself (EBUSY), and after any other.
    const BUSY_DELAY_US: u64 = 100_000;
    const REFUSED_DELAY_US: u64 = 1_000_000;
    const LONGEST_DELAY_US: u64 = 60_000_000;

    /// Remembers how a change went; gives what the operator has not been told yet.
    pub(super) fn note(&mut self, name: &Name, change: Change, outcome: Outcome, now: Now) -> Option<Notice> {
        if let Outcome::Refused { step, .. } = &outcome {
            self.ledger.refuse(&change, *step);
        }
        let before = self.attempts.remove(&change.subject);
        let same_again = before.as_ref().filter(|attempt| attempt.steps == change.steps);
        let first_delay_us = match &outcome {
            Outcome::Refused { code: 16, .. } => Self::BUSY_DELAY_US,
            _ => Self::REFUSED_DELAY_US,
        };
        let delay_us =
            same_again.map_or(first_delay_us, |attempt| attempt.delay_us.saturating_mul(2).min(Self::LONGEST_DELAY_US));
        let told = before.and_then(|attempt| attempt.told);
        let is_listener = matches!(change.subject, Subject::Listener(_));
        let mut attempt = Attempt { steps: change.steps, told, next_try_us: now.mono_us + delay_us, delay_us };
        if let (Outcome::Refused { step, code: 16, .. }, Subject::Producer(producer)) = (&outcome, &change.subject)
            && attempt.steps.get(*step).is_some_and(|refused| refused.command.verb == Verb::PrdcrDel)
            && delay_us >= 8 * Self::BUSY_DELAY_US
        {
            self.ledger.enter(tombstone(producer));
        }
        if matches!(outcome, Outcome::Refused { code, .. } if is_listener && code != EXISTS) {
            self.ledger.enter(failed_to_listen(&change.subject));
        }
        let notice = match outcome {
            Outcome::Applied => {
                if let Some(entry) = change.remember {
                    self.ledger.enter(entry);
                }
                attempt.told = None;
                told.map(|_| Notice::Accepted { daemon: name.clone(), subject: change.subject.clone() })
            }
            Outcome::Refused { code, .. } if told == Some(code) => None,
            // It says so of an address that it failed to listen on, which has been told.
            Outcome::Refused { code: EXISTS, .. } if told.is_some() && is_listener => None,
            // EBUSY passes by itself: it is told only when it does not.
            Outcome::Refused { code: 16, .. } if delay_us < 8 * Self::BUSY_DELAY_US => None,
            Outcome::Refused { step, code, text } => {
                attempt.told = Some(code);
                attempt.steps.get(step).map(|refused| Notice::Refused {
                    daemon: name.clone(),
                    subject: change.subject.clone(),
                    command: refused.command.clone(),
                    code,
                    text,
                })
            }
        };
        self.attempts.insert(change.subject, attempt);
        notice
    }
}
