//! Asking a daemon what it is.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::conductor::{Observed, Scope, Sections};
use crate::ldmsd::status::{DaemonStatus, ProducerCounts, ProducerStatus};
use crate::ldmsd::{Attribute, Client, ClientError, Command, Numbering, Observation, Response, Verb};

/// A name that no storage policy has.
const NO_POLICY: &str = "-";
/// ENOSYS: the daemon does not know the command.
const NOT_IMPLEMENTED: i32 = 38;

/// What a cheap probe sees of a daemon. While it stays the same, so does what is worth observing.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Fingerprint {
    cfg_cntr: Option<u64>,
    producers: Option<ProducerCounts>,
}

impl Fingerprint {
    /// Takes over what a later look has seen.
    pub(super) fn update(&mut self, later: Fingerprint) {
        self.cfg_cntr = later.cfg_cntr.or(self.cfg_cntr);
        self.producers = later.producers.or(self.producers.take());
    }
}

/// Whether an answer to `daemon_status` says that the daemon has finished starting.
pub(super) fn is_ready(answer: &Response) -> bool {
    answer.is_ok() && answer.json::<DaemonStatus>().is_ok_and(|status| status.is_ready())
}

/// Asks what is cheap to ask: some hundred bytes, however many producers there are.
pub(super) async fn probe(client: &Client, sections: Sections, within: Duration) -> Result<Fingerprint, ClientError> {
    let mut commands = vec![Command::new(Verb::DaemonStatus), Command::new(Verb::CfgCntr)];
    if sections.aggregates {
        commands.push(Command::new(Verb::PrdcrStats));
    }
    let answers = client.request_all(commands, within).await?;
    Ok(fingerprint(&answers[1..]))
}

fn fingerprint(answers: &[Response]) -> Fingerprint {
    Fingerprint {
        cfg_cntr: answers.first().and_then(Response::config_counter),
        producers: answers.get(1).and_then(|answer| answer.json().ok()),
    }
}

/// Observes what `scope` names. The fingerprint is taken before, so that a change in between is seen
/// by the next probe.
pub(super) async fn observe(
    client: &Client,
    scope: &Scope,
    sections: Sections,
    within: Duration,
) -> Result<(Observed, Fingerprint), ClientError> {
    let mut questions = Questions::default();
    let counter = questions.ask(Verb::CfgCntr);
    let counts = sections.aggregates.then(|| questions.ask(Verb::PrdcrStats));
    let all_producers = scope.all_producers.then(|| questions.ask(Verb::PrdcrStatus));
    let some_producers: Vec<usize> = scope
        .producers
        .iter()
        .map(|name| questions.ask_with(Command::new(Verb::PrdcrStatus).with(Attribute::Name, name)))
        .collect();
    // Only the development line knows this question; it does not tell itself otherwise.
    let line = (scope.all_producers && client.numbering() == Numbering::V45)
        .then(|| questions.ask_with(Command::new(Verb::StrgpPiStats).with(Attribute::Name, NO_POLICY)));
    let updaters = scope.updaters.then(|| (questions.ask(Verb::UpdtrStatus), questions.ask(Verb::UpdtrMatchList)));
    let policies = scope.policies.then(|| questions.ask(Verb::StrgpStatus));
    let plugins = scope.plugins.then(|| questions.ask(Verb::PlugnStatus));
    let plugin_sets = (scope.plugins && sections.samples).then(|| questions.ask(Verb::PlugnSets));

    let answers = client.request_all(questions.commands, within).await?;
    let directory = if plugin_sets.is_some() { client.directory(within).await? } else { Vec::new() };

    let mut observed = Observed { cfg_cntr: answers[counter].config_counter(), ..Observed::default() };
    let fingerprint =
        Fingerprint { cfg_cntr: observed.cfg_cntr, producers: counts.and_then(|index| answers[index].json().ok()) };
    observed.development_line = line.map(|index| answers[index].code != NOT_IMPLEMENTED);
    observed.producers = all_producers.and_then(|index| read(&answers[index])).map(Observation::producers_from);
    observed.some_producers = scope
        .producers
        .iter()
        .zip(some_producers)
        .filter_map(|(name, index)| Some((name.clone(), one_producer(&answers[index])?)))
        .collect::<BTreeMap<_, _>>();
    observed.updaters = updaters.and_then(|(status, matches)| {
        Some(Observation::updaters_from(read(&answers[status])?, read(&answers[matches]).unwrap_or_default()))
    });
    observed.policies = policies.and_then(|index| read(&answers[index])).map(Observation::policies_from);
    observed.plugins = plugins.and_then(|index| {
        let sets = plugin_sets.and_then(|index| read(&answers[index])).unwrap_or_default();
        Some(Observation::plugins_from(read(&answers[index])?, sets, directory))
    });
    Ok((observed, fingerprint))
}

#[derive(Default)]
struct Questions {
    commands: Vec<Command>,
}

impl Questions {
    fn ask(&mut self, verb: Verb) -> usize {
        self.ask_with(Command::new(verb))
    }

    fn ask_with(&mut self, command: Command) -> usize {
        self.commands.push(command);
        self.commands.len() - 1
    }
}

/// An answer that cannot be read tells nothing: what was known before stays.
fn read<T: DeserializeOwned + Default>(answer: &Response) -> Option<T> {
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
fn one_producer(answer: &Response) -> Option<Option<crate::ldmsd::observation::ObservedProducer>> {
    const NO_SUCH_PRODUCER: i32 = 2;
    if answer.code == NO_SUCH_PRODUCER {
        return Some(None);
    }
    let entries: Vec<ProducerStatus> = read(answer)?;
    Some(entries.into_iter().next().map(Into::into))
}
