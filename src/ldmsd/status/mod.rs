//! What an ldmsd says of itself: the status replies, typed (the wire specification, section 7).
//!
//! Everything is read tolerantly: unknown fields are passed over, absent ones are `None` or empty, numbers
//! may come as text, unknown states are kept as they were written.
//!
//! `response.json::<Vec<ProducerStatus>>()` reads the answer to `prdcr_status`, and so on:
//!
//! | command | type |
//! |---|---|
//! | `prdcr_status` | `Vec<`[`ProducerStatus`]`>` |
//! | `prdcr_set_status` | `Vec<`[`CollectedSet`]`>` |
//! | `prdcr_stats` | [`ProducerCounts`] |
//! | `prdcr_listen_status` | `Vec<`[`ListenerStatus`]`>` |
//! | `updtr_status` | `Vec<`[`UpdaterStatus`]`>` |
//! | `updtr_match_list` | `Vec<`[`UpdaterMatches`]`>` |
//! | `strgp_status` | `Vec<`[`StoragePolicyStatus`]`>` |
//! | `plugn_status` | `Vec<`[`PluginStatus`]`>` |
//! | `plugn_sets` | `Vec<`[`PluginSets`]`>` |
//! | `daemon_status` | [`DaemonStatus`] |
//! | `cfg_cntr` | [`config_counter`](crate::ldmsd::Response::config_counter) |
//! | `version` | [`DaemonVersion::parse`] |
//! | directory | [`SetInfo`] |

mod daemon;
mod field;
mod json;
mod plugin;
mod producer;
mod set;
mod storage_policy;
mod updater;

pub use daemon::{DaemonStatus, DaemonVersion};
pub use json::{StatusError, parse};
pub use plugin::{PluginKind, PluginSets, PluginStatus};
pub use producer::{
    CollectedSet, ListenerState, ListenerStatus, ProducerCounts, ProducerSetStatus, ProducerState, ProducerStatus,
    SetState,
};
pub use set::{SetInfo, SetOrigin, UpdateHint};
pub use storage_policy::{StoragePolicyState, StoragePolicyStatus};
pub use updater::{UpdateMode, UpdaterMatch, UpdaterMatches, UpdaterProducer, UpdaterState, UpdaterStatus};
