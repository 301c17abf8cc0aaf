//! What harms a daemon and is therefore not sent to it: the one place of these rules.
//!
//! All of it was measured on real daemons (operations of a live ldmsd, sections 7, 9 and 14; the wire specification,
//! section 9). A rule needs the command, and what is known of the daemon: [`Known`], to which the answers of the daemon are
//! shown as they come. Where a rule depends on what has not been asked yet, the command is refused with the question that
//! would settle it.
//!
//! | command | harm | to whom |
//! |---|---|---|
//! | `set_stats` without `summary` | dies | 4.4 |
//! | `start` with an interval of 0 | dies | all |
//! | `updtr_add push=…` | dies of the first set that is pushed to it | development head |
//! | `prdcr_unsubscribe` of a stream | dies where a message subscription was made after the stream's | 4.5, development head |
//! | `xprt_stats` | dies after a `listen` that failed | 4.5, development head |
//! | `strgp_add` of a policy that exists | a stopped policy is deleted | all |
//! | `store_time_stats` | the policies can never be deleted again | all |
//! | `stream_new` | no answer, so that the connection is given up | all |
//! | a regular expression with thousands of alternatives | gigabytes of memory | all |
//! | thousands of `updtr_match_add` for one updater | each is tried on each set at each tick: no time for anything else | all |
//!
//! What kills a daemon below the level of commands cannot be written with the types of the codec's users: a session begins
//! with CONNECT, sends no unknown message, and its munge credentials have a payload.
//!
//! Two things harm only whoever sends them, and are left to the caller: a producer started by `prdcr_start` can never be
//! deleted on 4.5 and the development head (`prdcr_start_regex` avoids that), and stopping a producer during the tick of the
//! level above can kill the aggregator there.

use std::collections::{BTreeMap, BTreeSet};

use super::attribute::Attribute;
use super::codec::Response;
use super::command::Command;
use super::status::StoragePolicyStatus;
use super::verb::{Numbering, Verb};
use crate::notation::Interval;

/// The most alternatives of a regular expression: 5 000 take 387 MB and 0.9 s, 1 000 next to nothing.
pub const MOST_ALTERNATIVES: usize = 2_000;

/// The longest match list of an updater that is sent at a time: 1 200 entries on as many sets cost 40 % of a core.
pub const MOST_MATCHES: usize = 5_000;

/// ENOENT.
const NO_SUCH_POLICY: i32 = 2;
/// ENOSYS: the daemon does not know the command.
const NOT_IMPLEMENTED: i32 = 38;

/// A command that is not sent because of what it would do to the daemon.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Hazard {
    /// `set_stats` to the 4.4 line.
    #[error("set_stats is not sent: an LDMS 4.4 daemon dies of it unless it has the attribute summary")]
    SetStats,
    /// Sampling without a pause.
    #[error("start is not sent with an interval of {interval}: the daemon dies of it")]
    NoInterval {
        /// The interval.
        interval: String,
    },
    /// A push updater on the development head.
    #[error(
        "updtr_add push is not sent: this daemon, of the development head of LDMS, dies of the first set pushed to it"
    )]
    Push,
    /// A push updater on a daemon that may be of the development head.
    #[error(
        "updtr_add push is not sent before strgp_pi_stats has told the daemon's line: the development head dies of it"
    )]
    PushToUnknownLine,
    /// Taking the subscription of a stream back.
    #[error(
        "prdcr_unsubscribe is not sent: the daemon dies where a message subscription came after that of the stream"
    )]
    Unsubscribe,
    /// Statistics of transports.
    #[error("xprt_stats is not sent: the daemon dies of it if it has ever failed to listen on an address")]
    TransportStatistics,
    /// A storage policy that exists.
    #[error("strgp_add is not sent: {policy} exists, and would be deleted if it is stopped; send strgp_del first")]
    PolicyExists {
        /// The policy.
        policy: String,
    },
    /// A storage policy of which it is not known whether it exists.
    #[error("strgp_add is not sent before strgp_status has told whether {policy} exists: if so it might be deleted")]
    PolicyUnknown {
        /// The policy.
        policy: String,
    },
    /// Statistics of storage policies.
    #[error("store_time_stats is not sent: storage policies that were asked for it can never be deleted again")]
    StoreStatistics,
    /// A command without an answer.
    #[error("{0} is not sent: ldmsd never answers it")]
    NoAnswer(Verb),
    /// A regular expression that takes too much memory.
    #[error(
        "{verb} is not sent: a regular expression of {alternatives} alternatives takes a daemon gigabytes; \
         send several with at most {MOST_ALTERNATIVES}"
    )]
    LongExpression {
        /// The command.
        verb: Verb,
        /// How many alternatives the expression has.
        alternatives: usize,
    },
    /// A match list that takes too much time.
    #[error(
        "updtr_match_add is not sent more than {MOST_MATCHES} times for updater {updater}, which would leave the daemon \
         no time for anything else: send regular expressions with alternatives"
    )]
    LongMatchList {
        /// The updater.
        updater: String,
    },
}

/// A [`Hazard`] with the command of a batch that it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HazardAt {
    /// The place of the command, from 0.
    pub index: usize,
    /// The hazard.
    pub hazard: Hazard,
}

/// What is known of a daemon, as far as a rule needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    numbering: Numbering,
    /// Whether the daemon is of the development head.
    development_head: Option<bool>,
    policies: Policies,
}

/// What is known of the storage policies of a daemon.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Policies {
    present: BTreeSet<String>,
    absent: BTreeSet<String>,
    /// Those that are not `present` do not exist.
    complete: bool,
}

impl Known {
    /// What connecting to a daemon tells.
    #[must_use]
    pub fn new(numbering: Numbering) -> Known {
        // The development head has the numbers of 4.5.
        let development_head = (numbering == Numbering::V44).then_some(false);
        Known { numbering, development_head, policies: Policies::default() }
    }

    /// The questions whose answers [`Known::learn`] can do most with.
    #[must_use]
    pub fn questions(&self) -> Vec<Command> {
        let line = Command::new(Verb::StrgpPiStats).with(Attribute::Name, "-");
        let line = self.development_head.is_none().then_some(line);
        line.into_iter().chain([Command::new(Verb::StrgpStatus)]).collect()
    }

    /// Takes from the daemon's answer to a command what a rule may need.
    pub fn learn(&mut self, command: &Command, answer: &Response) {
        let name = command.get(Attribute::Name).map(str::to_owned);
        match (command.verb, name) {
            // Only the development head knows the command, whatever it answers.
            (Verb::StrgpPiStats, _) => self.development_head = Some(answer.code != NOT_IMPLEMENTED),
            (Verb::StrgpStatus, None) if answer.is_ok() => {
                if let Ok(policies) = answer.json::<Vec<StoragePolicyStatus>>() {
                    let present = policies.into_iter().map(|policy| policy.name).collect();
                    self.policies = Policies { present, absent: BTreeSet::new(), complete: true };
                }
            }
            (Verb::StrgpStatus, Some(name)) if answer.is_ok() => self.policies.note(name, true),
            (Verb::StrgpStatus | Verb::StrgpDel, Some(name)) if answer.code == NO_SUCH_POLICY => {
                self.policies.note(name, false);
            }
            (Verb::StrgpAdd, Some(name)) if answer.is_ok() => self.policies.note(name, true),
            (Verb::StrgpDel, Some(name)) if answer.is_ok() => self.policies.note(name, false),
            // The policy existed after all, and may be deleted now.
            (Verb::StrgpAdd, Some(_)) => self.policies = Policies::default(),
            _ => {}
        }
    }

    /// Whether commands may be sent, one after the other.
    ///
    /// # Errors
    /// The first of them that may not.
    pub fn check<'a>(&self, commands: impl IntoIterator<Item = &'a Command>) -> Result<(), HazardAt> {
        let mut policies = self.policies.clone();
        let mut matches: BTreeMap<&str, usize> = BTreeMap::new();
        for (index, command) in commands.into_iter().enumerate() {
            let name = command.get(Attribute::Name).unwrap_or_default();
            let hazard = match command.verb {
                Verb::StrgpAdd => {
                    let hazard = policies.hazard_of_adding(name);
                    policies.note(name.to_owned(), true);
                    hazard
                }
                Verb::StrgpDel => {
                    policies.note(name.to_owned(), false);
                    None
                }
                Verb::UpdtrMatchAdd => {
                    let count = matches.entry(name).or_default();
                    *count += 1;
                    (*count > MOST_MATCHES).then(|| Hazard::LongMatchList { updater: name.to_owned() })
                }
                _ => self.hazard_of(command),
            };
            if let Some(hazard) = hazard.or_else(|| long_expression(command)) {
                return Err(HazardAt { index, hazard });
            }
        }
        Ok(())
    }

    /// The hazard of a command whatever else is sent.
    fn hazard_of(&self, command: &Command) -> Option<Hazard> {
        let is_v44 = self.numbering == Numbering::V44;
        match command.verb {
            Verb::SetStats if is_v44 && command.get(Attribute::Summary).is_none() => Some(Hazard::SetStats),
            Verb::Start => {
                let interval = command.get(Attribute::Interval)?;
                let us = Interval::parse(interval).ok()?.us()?;
                (us <= 0).then(|| Hazard::NoInterval { interval: interval.to_owned() })
            }
            Verb::UpdtrAdd if command.get(Attribute::Push).is_some() => match self.development_head {
                Some(false) => None,
                Some(true) => Some(Hazard::Push),
                None => Some(Hazard::PushToUnknownLine),
            },
            Verb::PrdcrUnsubscribe if !is_v44 && command.get(Attribute::Stream).is_some() => Some(Hazard::Unsubscribe),
            Verb::XprtStats if !is_v44 => Some(Hazard::TransportStatistics),
            Verb::StoreTimeStats => Some(Hazard::StoreStatistics),
            Verb::StreamNew => Some(Hazard::NoAnswer(command.verb)),
            _ => None,
        }
    }
}

impl Policies {
    fn note(&mut self, name: String, exists: bool) {
        let (to, from) =
            if exists { (&mut self.present, &mut self.absent) } else { (&mut self.absent, &mut self.present) };
        from.remove(&name);
        to.insert(name);
    }

    fn hazard_of_adding(&self, name: &str) -> Option<Hazard> {
        let policy = name.to_owned();
        if self.present.contains(name) {
            Some(Hazard::PolicyExists { policy })
        } else if self.complete || self.absent.contains(name) {
            None
        } else {
            Some(Hazard::PolicyUnknown { policy })
        }
    }
}

fn long_expression(command: &Command) -> Option<Hazard> {
    let alternatives = command.get(Attribute::Regex)?.bytes().filter(|byte| *byte == b'|').count() + 1;
    (alternatives > MOST_ALTERNATIVES).then_some(Hazard::LongExpression { verb: command.verb, alternatives })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ldmsd::codec::WireAttribute;

    fn command(line: &str) -> Command {
        Command::from_words(line.split(' ')).unwrap()
    }

    fn commands(lines: &[&str]) -> Vec<Command> {
        lines.iter().map(|line| command(line)).collect()
    }

    fn hazard(known: &Known, line: &str) -> Option<Hazard> {
        known.check([&command(line)]).err().map(|at| at.hazard)
    }

    fn answer(code: i32, json: &str) -> Response {
        Response { msg_no: 1, code, attributes: vec![WireAttribute::json(json)] }
    }

    #[test]
    fn only_the_line_that_suffers_is_spared() {
        let (v44, v45) = (Known::new(Numbering::V44), Known::new(Numbering::V45));
        assert_eq!(hazard(&v44, "set_stats"), Some(Hazard::SetStats));
        assert_eq!(hazard(&v44, "set_stats summary=true"), None);
        assert_eq!(hazard(&v45, "set_stats"), None);
        for (line, expected) in
            [("prdcr_unsubscribe regex=.* stream=s", Hazard::Unsubscribe), ("xprt_stats", Hazard::TransportStatistics)]
        {
            assert_eq!(hazard(&v45, line), Some(expected));
            assert_eq!(hazard(&v44, line), None);
        }
        assert_eq!(hazard(&v45, "prdcr_unsubscribe regex=.* message_tag=t"), None);
        for known in [&v44, &v45] {
            assert_eq!(hazard(known, "store_time_stats"), Some(Hazard::StoreStatistics));
            assert_eq!(hazard(known, "stream_new name=s"), Some(Hazard::NoAnswer(Verb::StreamNew)));
            assert_eq!(hazard(known, "prdcr_status"), None);
        }
    }

    #[test]
    fn a_sampler_is_never_started_without_an_interval() {
        let known = Known::new(Numbering::V45);
        for interval in ["0", "0s", "0.0ms", "-1"] {
            let expected = Hazard::NoInterval { interval: interval.to_owned() };
            assert_eq!(hazard(&known, &format!("start name=m interval={interval}")), Some(expected));
        }
        // What only the daemon can read is the daemon's to refuse.
        for interval in ["1", "1s", "${INTERVAL}", "soon"] {
            assert_eq!(hazard(&known, &format!("start name=m interval={interval}")), None);
        }
    }

    #[test]
    fn push_updaters_go_to_those_only_that_are_known_to_bear_them() {
        let push = "updtr_add name=u interval=1s push=true";
        assert_eq!(hazard(&Known::new(Numbering::V44), push), None);
        let mut known = Known::new(Numbering::V45);
        assert_eq!(hazard(&known, push), Some(Hazard::PushToUnknownLine));
        assert_eq!(hazard(&known, "updtr_add name=u interval=1s"), None);
        let question = command("strgp_pi_stats name=-");
        assert!(known.questions().contains(&question));
        known.learn(&question, &answer(38, ""));
        assert_eq!(hazard(&known, push), None);
        known.learn(&question, &answer(2, ""));
        assert_eq!(hazard(&known, push), Some(Hazard::Push));
    }

    #[test]
    fn a_policy_is_added_only_where_it_is_known_not_to_exist() {
        let add = "strgp_add name=p plugin=store_csv schema=s";
        let exists = Some(Hazard::PolicyExists { policy: "p".into() });
        let unknown = Some(Hazard::PolicyUnknown { policy: "p".into() });
        let mut known = Known::new(Numbering::V44);
        assert_eq!(hazard(&known, add), unknown);
        known.learn(&command("strgp_status"), &answer(0, r#"[{"name":"p","state":"STOPPED"}]"#));
        assert_eq!(hazard(&known, add), exists);
        assert_eq!(hazard(&known, "strgp_add name=q plugin=store_csv schema=s"), None);
        known.learn(&command("strgp_del name=p"), &answer(16, ""));
        assert_eq!(hazard(&known, add), exists, "a refused deletion deletes nothing");
        known.learn(&command("strgp_del name=p"), &answer(0, ""));
        assert_eq!(hazard(&known, add), None);
        known.learn(&command(add), &answer(0, ""));
        assert_eq!(hazard(&known, add), exists);
        known.learn(&command(add), &answer(17, ""));
        assert_eq!(hazard(&known, add), unknown, "the second addition may have deleted it");
        known.learn(&command("strgp_status name=p"), &answer(2, ""));
        assert_eq!(hazard(&known, add), None);
    }

    #[test]
    fn what_a_batch_does_itself_counts() {
        let mut known = Known::new(Numbering::V44);
        known.learn(&command("strgp_status"), &answer(0, r#"[{"name":"p"}]"#));
        let add = "strgp_add name=p plugin=store_csv schema=s";
        let renewed = commands(&["strgp_stop name=p", "strgp_del name=p", add, "strgp_start name=p"]);
        assert_eq!(known.check(&renewed), Ok(()));
        let twice = commands(&["strgp_del name=p", add, add]);
        let hazard = Hazard::PolicyExists { policy: "p".into() };
        assert_eq!(known.check(&twice), Err(HazardAt { index: 2, hazard }));
    }

    #[test]
    fn expressions_and_match_lists_stay_short() {
        let known = Known::new(Numbering::V45);
        let names = |count: usize| (0..count).map(|number| format!("n{number}")).collect::<Vec<_>>().join("|");
        assert_eq!(hazard(&known, &format!("prdcr_start_regex regex=^({})$", names(2_000))), None);
        let expected = Hazard::LongExpression { verb: Verb::PrdcrStartRegex, alternatives: 2_001 };
        assert_eq!(hazard(&known, &format!("prdcr_start_regex regex=^({})$", names(2_001))), Some(expected));

        let of = |updater: &str, count: usize| {
            vec![command(&format!("updtr_match_add name={updater} regex=x match=inst")); count]
        };
        assert_eq!(known.check(&[of("u", 5_000), of("v", 5_000)].concat()), Ok(()));
        let hazard = Hazard::LongMatchList { updater: "v".into() };
        assert_eq!(known.check(&[of("u", 5_000), of("v", 5_001)].concat()), Err(HazardAt { index: 10_000, hazard }));
    }
}
