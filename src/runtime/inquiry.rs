//! What a daemon is asked about itself, and how its answers are read: without a socket, so that a simulated
//! cluster is observed by the same code as a real one.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;

use crate::conductor::{Observed, Scope, Sections};
use crate::ldmsd::observation::ObservedProducer;
use crate::ldmsd::status::{DaemonStatus, ProducerCounts, ProducerStatus, SetInfo};
use crate::ldmsd::{Attribute, Command, Numbering, Observation, Response, Verb};

/// A name that no storage policy has.
const NO_POLICY: &str = "-";
/// ENOENT: there is no such producer.
const NO_SUCH_PRODUCER: i32 = 2;
/// ENOSYS: the daemon does not know the command.
const NOT_IMPLEMENTED: i32 = 38;

/// What a cheap probe sees of a daemon. While it stays the same, so does what is worth observing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fingerprint {
    cfg_cntr: Option<u64>,
    producers: Option<ProducerCounts>,
}

impl Fingerprint {
    /// Takes over what a later look has seen.
    pub fn update(&mut self, later: Fingerprint) {
        self.cfg_cntr = later.cfg_cntr.or(self.cfg_cntr);
        self.producers = later.producers.or(self.producers.take());
    }
}

/// Whether an answer to `daemon_status` says that the daemon has finished starting.
#[must_use]
pub fn is_ready(answer: &Response) -> bool {
    answer.is_ok() && answer.json::<DaemonStatus>().is_ok_and(|status| status.is_ready())
}

/// The questions of a probe: cheap to ask and to answer, some hundred bytes however many producers there are.
#[must_use]
pub fn probe(sections: Sections) -> Vec<Command> {
    let counts = has_producers(sections).then_some(Verb::PrdcrStats);
    [Verb::DaemonStatus, Verb::CfgCntr].into_iter().chain(counts).map(Command::new).collect()
}

/// Reads the answers to [`probe`], in their order.
#[must_use]
pub fn read_probe(answers: &[Response]) -> Fingerprint {
    Fingerprint {
        cfg_cntr: answers.get(1).and_then(Response::config_counter),
        producers: answers.get(2).and_then(|answer| answer.json().ok()),
    }
}

/// Connections to others, of either kind.
fn has_producers(sections: Sections) -> bool {
    sections.aggregates || sections.advertises
}

/// Everything that is worth observing on a daemon.
#[must_use]
pub fn everything(sections: Sections) -> Scope {
    let aggregates = sections.aggregates;
    Scope {
        all_producers: has_producers(sections),
        producers: Vec::new(),
        listeners: sections.listens,
        updaters: aggregates,
        policies: aggregates,
        plugins: true,
    }
}

/// An observation of one daemon: what is to be asked, and how the answers are read.
#[derive(Debug, Clone)]
pub struct Inquiry<'a> {
    scope: &'a Scope,
    sections: Sections,
    /// Only the development line knows a question about its storage policies, and does not tell itself otherwise.
    asks_line: bool,
}

impl<'a> Inquiry<'a> {
    /// The observation of what `scope` names, on a daemon of a numbering family that does what `sections` says.
    #[must_use]
    pub fn new(scope: &'a Scope, sections: Sections, numbering: Numbering) -> Inquiry<'a> {
        Inquiry {
            scope,
            sections,
            asks_line: scope.all_producers && sections.aggregates && numbering == Numbering::V45,
        }
    }

    /// What to ask. The counters of the fingerprint come first, so that a change in between is seen by the next probe.
    #[must_use]
    pub fn questions(&self) -> Vec<Command> {
        let scope = self.scope;
        let mut commands = vec![Command::new(Verb::CfgCntr)];
        let ask = |commands: &mut Vec<Command>, asked: bool, verb| commands.extend(asked.then(|| Command::new(verb)));
        ask(&mut commands, has_producers(self.sections), Verb::PrdcrStats);
        ask(&mut commands, scope.all_producers, Verb::PrdcrStatus);
        let by_name = |name| Command::new(Verb::PrdcrStatus).with(Attribute::Name, name);
        commands.extend(scope.producers.iter().map(by_name));
        let line = || Command::new(Verb::StrgpPiStats).with(Attribute::Name, NO_POLICY);
        commands.extend(self.asks_line.then(line));
        ask(&mut commands, scope.listeners, Verb::PrdcrListenStatus);
        ask(&mut commands, scope.updaters, Verb::UpdtrStatus);
        ask(&mut commands, scope.updaters, Verb::UpdtrMatchList);
        ask(&mut commands, scope.policies, Verb::StrgpStatus);
        ask(&mut commands, scope.plugins, Verb::PlugnStatus);
        ask(&mut commands, self.wants_directory(), Verb::PlugnSets);
        commands
    }

    /// Whether the directory has to be listed besides: it tells the sets' update hints.
    #[must_use]
    pub fn wants_directory(&self) -> bool {
        self.scope.plugins && self.sections.samples
    }

    /// Reads the answers to [`Inquiry::questions`], in their order, and the directory, empty where it is not wanted.
    #[must_use]
    pub fn read(&self, answers: &[Response], directory: Vec<SetInfo>) -> (Observed, Fingerprint) {
        let scope = self.scope;
        let mut answers = answers.iter();
        let mut next_if = |asked: bool| if asked { answers.next() } else { None };
        let mut observed =
            Observed { cfg_cntr: next_if(true).and_then(Response::config_counter), ..Observed::default() };
        let counts = next_if(has_producers(self.sections)).and_then(|answer| answer.json().ok());
        let fingerprint = Fingerprint { cfg_cntr: observed.cfg_cntr, producers: counts };
        observed.producers = next_if(scope.all_producers).and_then(parsed).map(Observation::producers_from);
        let found = scope.producers.iter().filter_map(|name| Some((name.clone(), one_producer(next_if(true)?)?)));
        observed.some_producers = found.collect::<BTreeMap<_, _>>();
        observed.development_line = next_if(self.asks_line).map(|answer| answer.code != NOT_IMPLEMENTED);
        observed.listeners = next_if(scope.listeners).and_then(parsed).map(Observation::listeners_from);
        let (updaters, matches) = (next_if(scope.updaters), next_if(scope.updaters));
        let matches = matches.and_then(parsed).unwrap_or_default();
        observed.updaters = updaters.and_then(parsed).map(|updaters| Observation::updaters_from(updaters, matches));
        observed.policies = next_if(scope.policies).and_then(parsed).map(Observation::policies_from);
        let plugins = next_if(scope.plugins).and_then(parsed);
        let sets = next_if(self.wants_directory()).and_then(parsed).unwrap_or_default();
        observed.published = self.wants_directory().then(|| Observation::published_from(&directory));
        observed.plugins = plugins.map(|plugins| Observation::plugins_from(plugins, sets, directory));
        (observed, fingerprint)
    }
}

/// An answer that cannot be read tells nothing: what was known before stays.
fn parsed<T: DeserializeOwned + Default>(answer: &Response) -> Option<T> {
    if !answer.is_ok() {
        tracing::debug!("a question was refused: {} {}", answer.code, answer.text());
        return None;
    }
    if answer.text().is_empty() {
        return Some(T::default());
    }
    match answer.json() {
        Ok(value) => Some(value),
        Err(error) => {
            tracing::debug!("an answer that cannot be read: {error}");
            None
        }
    }
}

/// `prdcr_status name=`: the producer, or that there is none of the name.
fn one_producer(answer: &Response) -> Option<Option<ObservedProducer>> {
    if answer.code == NO_SUCH_PRODUCER {
        return Some(None);
    }
    let entries: Vec<ProducerStatus> = parsed(answer)?;
    Some(entries.into_iter().next().map(Into::into))
}
