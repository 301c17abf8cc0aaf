//! What has happened in a world, as far as the invariants ask for it.

use std::collections::BTreeMap;

use maestro::conductor::Notice;
use maestro::desired::Subject;
use maestro::ldmsd::Command;
use maestro::notation::Name;

use crate::virtual_cluster::Sample;

/// Prints what happens, for looking at one seed.
const TRACE: &str = "MAESTRO_SIMULATION_TRACE";

#[derive(Debug)]
pub(crate) struct History {
    trace: bool,
    /// Commands that reached a daemon and were not mere questions.
    pub(crate) commands: Vec<Sent>,
    pub(crate) notices: Vec<(u64, Notice)>,
    /// When something was last done to a daemon, or ended.
    pub(crate) disturbed_us: BTreeMap<Name, u64>,
    pub(crate) maestro_started_us: u64,
    /// When the configuration last changed.
    pub(crate) configured_us: u64,
    /// When a sample of each producer last reached each aggregator, by the aggregator's host.
    pub(crate) collected_us: BTreeMap<(String, String), u64>,
    /// Refusals that the operator knows of.
    pub(crate) told: BTreeMap<(Name, Subject), i32>,
    /// When each set's samples reached each aggregator: by collector's host and instance, the sample times.
    pub(crate) series: BTreeMap<(String, String), Vec<u64>>,
    pub(crate) violations: Vec<String>,
}

/// A command that a daemon was sent.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) at_us: u64,
    /// The instance that sent it.
    pub(crate) seat: usize,
    pub(crate) daemon: Name,
    pub(crate) command: Command,
    /// By order of the world, not by the daemon itself.
    pub(crate) refused: bool,
}

impl Default for History {
    fn default() -> History {
        History {
            trace: std::env::var_os(TRACE).is_some(),
            commands: Vec::new(),
            notices: Vec::new(),
            disturbed_us: BTreeMap::new(),
            maestro_started_us: 0,
            configured_us: 0,
            collected_us: BTreeMap::new(),
            told: BTreeMap::new(),
            series: BTreeMap::new(),
            violations: Vec::new(),
        }
    }
}

impl History {
    pub(crate) fn log(&self, now_us: u64, text: impl FnOnce() -> String) {
        if self.trace {
            eprintln!("{:4}.{:06} {}", now_us / 1_000_000 % 10_000, now_us % 1_000_000, text());
        }
    }

    pub(crate) fn sent(&mut self, at_us: u64, seat: usize, daemon: &Name, command: &Command, refused: bool) {
        self.log(at_us, || format!("{daemon} <- {command}{}", if refused { " (refused)" } else { "" }));
        self.commands.push(Sent { at_us, seat, daemon: daemon.clone(), command: command.clone(), refused });
    }

    pub(crate) fn collected(&mut self, samples: impl Iterator<Item = Sample>) {
        for Sample { collector, producer, instance, sampled_us, collected_us } in samples {
            self.collected_us.insert((collector.clone(), producer), collected_us);
            self.series.entry((collector, instance)).or_default().push(sampled_us);
        }
    }

    pub(crate) fn disturbed(&mut self, at_us: u64, daemon: &Name, what: &str) {
        self.log(at_us, || format!("*** {daemon} {what}"));
        self.disturbed_us.insert(daemon.clone(), at_us);
        self.told.retain(|(name, _), _| name != daemon);
    }

    pub(crate) fn maestro_started(&mut self, at_us: u64) {
        self.log(at_us, || "*** maestro starts".to_owned());
        self.maestro_started_us = at_us;
        self.told.clear();
    }

    /// Whether nothing was done to a daemon since then.
    pub(crate) fn undisturbed_since(&self, daemon: &Name, at_us: u64) -> bool {
        self.disturbed_us.get(daemon).is_none_or(|disturbed_us| *disturbed_us < at_us)
    }

    pub(crate) fn commands_since(&self, at_us: u64) -> impl Iterator<Item = &Sent> {
        self.commands.iter().rev().take_while(move |sent| sent.at_us >= at_us)
    }

    /// When the last thing happened that an operator or a daemon would have noticed.
    pub(crate) fn last_act_us(&self) -> u64 {
        let command = self.commands.last().map_or(0, |sent| sent.at_us);
        command.max(self.notices.last().map_or(0, |(at_us, _)| *at_us))
    }
}
