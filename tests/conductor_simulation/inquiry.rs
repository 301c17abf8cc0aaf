//! What an agent asks a daemon, and how it reads the answers: as the runtime does, from the text of the replies.

use std::collections::BTreeMap;

use maestro::conductor::{Observed, Scope, Sections};
use maestro::ldmsd::observation::ObservedProducer;
use maestro::ldmsd::status::{self, ProducerCounts, ProducerStatus, SetInfo};
use maestro::ldmsd::{Attribute, Command, Observation, Verb};
use serde::de::DeserializeOwned;

use crate::daemon::Reply;

const NO_SUCH_PRODUCER: i32 = 2;

/// What a cheap probe sees of a daemon.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Fingerprint {
    cfg_cntr: Option<u64>,
    producers: Option<ProducerCounts>,
}

impl Fingerprint {
    pub(crate) fn update(&mut self, later: &Fingerprint) {
        self.cfg_cntr = later.cfg_cntr.or(self.cfg_cntr);
        self.producers = later.producers.or(self.producers);
    }
}

pub(crate) fn probe(sections: Sections) -> Vec<Command> {
    let counts = sections.aggregates.then_some(Verb::PrdcrStats);
    [Verb::DaemonStatus, Verb::CfgCntr].into_iter().chain(counts).map(Command::new).collect()
}

pub(crate) fn read_probe(replies: &[Reply]) -> Fingerprint {
    Fingerprint { cfg_cntr: replies.get(1).and_then(counter), producers: replies.get(2).and_then(json) }
}

/// Everything that is worth observing on a daemon.
pub(crate) fn everything(sections: Sections) -> Scope {
    let aggregates = sections.aggregates;
    Scope {
        all_producers: aggregates,
        producers: Vec::new(),
        updaters: aggregates,
        policies: aggregates,
        plugins: true,
    }
}

pub(crate) fn questions(scope: &Scope, sections: Sections) -> Vec<Command> {
    let mut verbs = vec![Verb::CfgCntr];
    verbs.extend(sections.aggregates.then_some(Verb::PrdcrStats));
    verbs.extend(scope.all_producers.then_some(Verb::PrdcrStatus));
    let mut commands: Vec<Command> = verbs.into_iter().map(Command::new).collect();
    let by_name = |name| Command::new(Verb::PrdcrStatus).with(Attribute::Name, name);
    commands.extend(scope.producers.iter().map(by_name));
    let mut verbs = Vec::new();
    if scope.updaters {
        verbs.extend([Verb::UpdtrStatus, Verb::UpdtrMatchList]);
    }
    verbs.extend(scope.policies.then_some(Verb::StrgpStatus));
    verbs.extend(scope.plugins.then_some(Verb::PlugnStatus));
    verbs.extend((scope.plugins && sections.samples).then_some(Verb::PlugnSets));
    commands.extend(verbs.into_iter().map(Command::new));
    commands
}

/// Reads the answers to [`questions`], in their order; `directory` is the daemon's directory as it sends it.
pub(crate) fn read(
    scope: &Scope,
    sections: Sections,
    replies: &[Reply],
    directory: Option<String>,
) -> (Observed, Fingerprint) {
    let mut replies = replies.iter();
    let mut next_if = |asked: bool| if asked { replies.next() } else { None };
    let mut observed = Observed { cfg_cntr: next_if(true).and_then(counter), ..Observed::default() };
    let counts = next_if(sections.aggregates).and_then(json);
    let fingerprint = Fingerprint { cfg_cntr: observed.cfg_cntr, producers: counts };
    observed.producers = next_if(scope.all_producers).and_then(json).map(Observation::producers_from);
    let mut some_producers = BTreeMap::new();
    for name in &scope.producers {
        some_producers.extend(next_if(true).and_then(one_producer).map(|found| (name.clone(), found)));
    }
    observed.some_producers = some_producers;
    let (updaters, matches) = (next_if(scope.updaters), next_if(scope.updaters));
    observed.updaters = updaters
        .and_then(json)
        .map(|updaters| Observation::updaters_from(updaters, matches.and_then(json).unwrap_or_default()));
    observed.policies = next_if(scope.policies).and_then(json).map(Observation::policies_from);
    let plugins = next_if(scope.plugins).and_then(json);
    let sets = next_if(scope.plugins && sections.samples).and_then(json).unwrap_or_default();
    let directory = directory.map(|text| SetInfo::from_directory(&[text.into_bytes()]).unwrap()).unwrap_or_default();
    observed.plugins = plugins.map(|plugins| Observation::plugins_from(plugins, sets, directory));
    (observed, fingerprint)
}

fn counter(reply: &Reply) -> Option<u64> {
    reply.text.as_deref()?.trim().parse().ok().filter(|_| reply.code == 0)
}

fn json<T: DeserializeOwned>(reply: &Reply) -> Option<T> {
    let text = reply.text.as_deref().filter(|_| reply.code == 0)?;
    Some(status::parse(text).unwrap())
}

fn one_producer(reply: &Reply) -> Option<Option<ObservedProducer>> {
    if reply.code == NO_SUCH_PRODUCER {
        return Some(None);
    }
    let entries: Vec<ProducerStatus> = json(reply)?;
    Some(entries.into_iter().next().map(Into::into))
}
