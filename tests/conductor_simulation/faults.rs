//! What goes wrong in a world, drawn from its seed.

use maestro::cluster::{Cluster, Producer};
use maestro::ldmsd::{Attribute, Command, Verb};
use maestro::notation::{Interval, Name};

use super::council::faults::CouncilFault;
use super::world::{Happening, SECOND_US, World};

/// Something that is done to the world.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    Kill(Name),
    Restart(Name),
    Hang(Name),
    Resume(Name),
    /// Maestro cannot reach a daemon; whether it gets a refusal rather than silence.
    Cut(Name, bool),
    Heal(Name),
    /// The daemon refuses a verb.
    Refuse(Name, Verb),
    Accept(Name),
    /// The connection breaks in the middle of the next commands.
    BreakNextBatch(Name),
    /// Somebody stops or starts a producer on an aggregator.
    Meddle(Name, u64),
    StopMaestro,
    StartMaestro,
    /// A sampler leaves the configuration, or comes back.
    ToggleSampler(Name),
    /// All samplers sample every so many seconds.
    SampleEvery(i64),
    /// Among several instances.
    Council(CouncilFault),
}

/// Verbs that a daemon is made to refuse.
const REFUSED: [Verb; 9] = [
    Verb::PrdcrAdd,
    Verb::PrdcrStartRegex,
    Verb::PrdcrStop,
    Verb::UpdtrAdd,
    Verb::UpdtrStart,
    Verb::UpdtrDel,
    Verb::StrgpAdd,
    Verb::Start,
    Verb::Load,
];

impl World {
    /// Draws faults that begin within `during_us` from now; some end by themselves.
    pub(crate) fn draw_faults(&mut self, during_us: u64) {
        let aggregators: Vec<Name> = self.cluster.groups.values().flat_map(|group| group.aggregators.clone()).collect();
        let samplers: Vec<Name> = self.cluster.samplers.values().flat_map(|group| group.daemons.clone()).collect();
        for _ in 0..self.random(1..9) {
            let at_us = self.now_us() + self.random(0..during_us);
            let lasts_us = if self.random(0..3) == 0 { 3 * SECOND_US } else { 40 * SECOND_US };
            let end_us = at_us + self.random(1_000..lasts_us);
            let from = if self.random(0..3) == 0 { &samplers } else { &aggregators };
            let daemon = from[self.random(0..from.len() as u64) as usize].clone();
            let aggregator = aggregators[self.random(0..aggregators.len() as u64) as usize].clone();
            let sampler = samplers[self.random(0..samplers.len() as u64) as usize].clone();
            let verb = REFUSED[self.random(0..REFUSED.len() as u64) as usize];
            let silent = self.random(0..2) == 0;
            let (fault, end) = match self.random(0..13) {
                0..3 => (Fault::Kill(daemon.clone()), Some(Fault::Restart(daemon))),
                3..5 => (Fault::Hang(daemon.clone()), Some(Fault::Resume(daemon))),
                5..7 => (Fault::Cut(daemon.clone(), !silent), Some(Fault::Heal(daemon))),
                7 => (Fault::Refuse(daemon.clone(), verb), Some(Fault::Accept(daemon))),
                8 => (Fault::BreakNextBatch(aggregator), None),
                9 => (Fault::Meddle(aggregator, self.random(0..1_000)), None),
                10 => (Fault::ToggleSampler(sampler), None),
                11 => (Fault::SampleEvery(self.random(1..3) as i64), None),
                _ if self.board.is_some() => continue,
                _ => (Fault::StopMaestro, Some(Fault::StartMaestro)),
            };
            self.at(at_us, Happening::Fault(fault));
            if let Some(end) = end {
                self.at(end_us, Happening::Fault(end));
            }
        }
    }

    pub(crate) fn suffer(&mut self, fault: Fault) {
        match fault {
            Fault::Kill(daemon) => self.kill(&daemon),
            Fault::Restart(daemon) => self.restart(&daemon),
            Fault::Hang(daemon) => self.hang(&daemon),
            Fault::Resume(daemon) => self.resume(&daemon),
            Fault::Cut(daemon, refuses) => self.cut(&daemon, refuses),
            Fault::Heal(daemon) => self.heal(&daemon),
            Fault::Refuse(daemon, verb) => self.refuse(&daemon, verb),
            Fault::Accept(daemon) => self.accept(&daemon),
            Fault::BreakNextBatch(daemon) => self.break_next_batch(&daemon),
            Fault::Meddle(aggregator, which) => self.meddle_with(&aggregator, which),
            Fault::StopMaestro => self.stop_maestro(),
            Fault::StartMaestro if self.conductor().is_none() => self.start_maestro(),
            Fault::StartMaestro => {}
            Fault::ToggleSampler(sampler) => self.toggle_sampler(&sampler),
            Fault::SampleEvery(seconds) => self.sample_every(seconds),
            Fault::Council(fault) => self.suffer_in_council(fault),
        }
    }

    fn meddle_with(&mut self, aggregator: &Name, which: u64) {
        let producers = self.producers_on(aggregator);
        let Some((name, found)) = producers.iter().nth(which as usize % producers.len().max(1)) else { return };
        // Only by the expression: what was started by name can never be deleted.
        let command = if found.state.is_started() {
            Command::new(Verb::PrdcrStop).with(Attribute::Name, name)
        } else {
            Command::new(Verb::PrdcrStartRegex).with(Attribute::Regex, format!("^{name}$"))
        };
        self.meddle(aggregator, &command);
    }

    pub(crate) fn toggle_sampler(&mut self, sampler: &Name) {
        let mut cluster = (*self.cluster).clone();
        let full = self.full_cluster.clone();
        let is_in = cluster.daemons.contains_key(sampler);
        if is_in {
            without(&mut cluster, sampler);
        } else {
            let gone: Vec<Name> =
                full.daemons.keys().filter(|name| !cluster.daemons.contains_key(*name)).cloned().collect();
            let plugins = cluster.plugins.clone();
            cluster = full;
            cluster.plugins = plugins;
            for name in gone.iter().filter(|name| *name != sampler) {
                without(&mut cluster, name);
            }
        }
        self.history.disturbed(self.network.now_us, sampler, if is_in { "leaves" } else { "comes back" });
        self.configure(cluster);
    }

    pub(crate) fn sample_every(&mut self, seconds: i64) {
        let mut cluster = (*self.cluster).clone();
        for plugin in cluster.plugins.values_mut().filter(|plugin| plugin.interval.is_some()) {
            plugin.interval = Some(Interval::from_us(seconds * SECOND_US as i64));
        }
        self.configure(cluster);
    }
}

pub(crate) fn without(cluster: &mut Cluster, sampler: &Name) {
    cluster.daemons.remove(sampler);
    for group in cluster.samplers.values_mut() {
        group.daemons.retain(|daemon| daemon != sampler);
    }
    for group in cluster.groups.values_mut() {
        group.producers.retain(|_, producer: &mut Producer| producer.daemon != *sampler);
    }
}
