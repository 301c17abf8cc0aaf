//! What every ldmsd should be, and what to send so that it becomes so.
//!
//! [`daemon_config`] is the one place that knows what a cluster asks of a daemon, [`changes`] the one
//! place that turns the difference between that and an [`Observation`] into commands. Both are pure.
//! A settled daemon yields no change, so applying them twice sends nothing the second time.
//!
//! Where the order of commands matters to a live daemon, the module that makes them says so
//! (producers, updaters, storage policies, plugins).

mod advertisers;
mod advertising;
mod boost_interval;
mod change;
mod config;
mod given;
mod ledger;
mod parts;
mod plugin_config;
mod plugins;
mod policies;
mod producers;
mod record;
mod regex;
mod retired;
mod review;
mod services;
pub mod startup;
#[cfg(test)]
mod tests;
mod updaters;
#[doc = include_str!("yaml_keys.md")]
pub mod yaml_keys {}

pub use advertisers::advertisers_to_all;
pub use boost_interval::boost_interval_us;
pub use change::{Change, Step, Subject};
pub use config::{
    AdvertiserWanted, Advertising, BoostConfig, DaemonConfig, ListenWanted, PluginWanted, PolicyWanted, ProducerWanted,
    Roles, Run, Schedule, UpdaterWanted, daemon_config,
};
pub use ledger::{Ledger, LedgerEntry};
pub use parts::{Parts, SchemaOfSet};
pub use producers::{doubt_messages, tombstone};
pub use record::{DaemonRecord, Possessions};
pub use regex::{alternations, escape};
pub use retired::{Related, Retired, RetiredPlugin, retire};
pub use review::{lingering, review};
pub use services::failed_to_listen;
pub(crate) use updaters::belongs_to;

use crate::ldmsd::{Numbering, Observation};

/// What has to be sent to a daemon so that it becomes what `config` says.
///
/// `ledger` holds what has been sent to this run of the daemon and cannot be observed.
#[must_use]
pub fn changes(config: &DaemonConfig, observed: &Observation, ledger: &Ledger, numbering: Numbering) -> Vec<Change> {
    let mut changes = Vec::new();
    services::changes(config, ledger, numbering, &mut changes);
    // Before others are loaded, which may publish sets of the same names.
    plugins::remove_retired(config, observed, numbering, false, &mut changes);
    plugins::changes(config, observed, ledger, numbering, &mut changes);
    let going = producers::going(config, observed, ledger);
    producers::changes(config, observed, ledger, &going, &mut changes);
    advertising::changes(config, observed, ledger, &mut changes);
    policies::changes(config, observed, ledger, numbering, &mut changes);
    // A store plugin can only go when no policy uses it any more.
    plugins::remove_retired(config, observed, numbering, true, &mut changes);
    updaters::changes(config, observed, ledger, &going, &mut changes);
    producers::start_standbys(config, observed, &going, &mut changes);
    changes
}
