//! Updaters (the wire specification, section 7.5).

use serde::Deserialize;

use super::field::{flag, number, words};
use super::producer::ProducerState;

words! {
    /// The state of an updater.
    UpdaterState {
        /// Not started.
        Stopped = "STOPPED",
        /// It updates the sets that it covers.
        Running = "RUNNING",
        /// Being stopped.
        Stopping = "STOPPING",
    }
}

words! {
    /// How an updater fetches sets.
    UpdateMode {
        /// The aggregator asks.
        Pull = "Pull",
        /// The producer pushes when a value has changed.
        PushOnChange = "Push on Change",
        /// The producer pushes on each update.
        PushOnRequest = "Push on Request",
    }
}

/// An updater: an entry of `updtr_status`.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
pub struct UpdaterStatus {
    /// Its name.
    pub name: String,
    /// How often it updates, in microseconds.
    #[serde(rename = "interval", default, deserialize_with = "number")]
    pub interval_us: Option<i64>,
    /// The offset from the full multiple of the interval, in microseconds. 0 also where none was given.
    #[serde(rename = "offset", default, deserialize_with = "number")]
    pub offset_us: Option<i64>,
    /// Whether the updates are tied to the clock.
    #[serde(rename = "sync", default, deserialize_with = "flag")]
    pub synchronous: bool,
    /// How it fetches sets.
    #[serde(default)]
    pub mode: UpdateMode,
    /// Whether it follows the hint of each set.
    #[serde(rename = "auto", default, deserialize_with = "flag")]
    pub auto_interval: bool,
    /// Its state.
    #[serde(default)]
    pub state: UpdaterState,
    /// The producers that it covers.
    #[serde(default)]
    pub producers: Vec<UpdaterProducer>,
}

/// A producer that an updater covers.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
pub struct UpdaterProducer {
    /// The name of the producer.
    pub name: String,
    /// Its state.
    #[serde(default)]
    pub state: ProducerState,
}

/// Which sets an updater covers: an entry of `updtr_match_list`.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
pub struct UpdaterMatches {
    /// The name of the updater.
    pub name: String,
    /// Its conditions; without any it covers all sets of its producers.
    #[serde(rename = "match", default)]
    pub matches: Vec<UpdaterMatch>,
}

/// A condition on sets.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
pub struct UpdaterMatch {
    /// The regular expression.
    pub regex: String,
    /// What it is matched with: `inst` or `schema`.
    #[serde(default)]
    pub selector: String,
}
