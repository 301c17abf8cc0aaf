//! Storage policies (the wire specification, section 7.6).

use serde::Deserialize;

use super::field::{given, number, words};

words! {
    /// The state of a storage policy.
    StoragePolicyState {
        /// Nothing is stored.
        Stopped = "STOPPED",
        /// Sets are stored as they are updated.
        Running = "RUNNING",
    }
}

/// A storage policy: an entry of `strgp_status`.
#[derive(Debug, Clone, Deserialize, PartialEq)]
pub struct StoragePolicyStatus {
    /// Its name.
    pub name: String,
    /// The container of the store.
    #[serde(default, deserialize_with = "given")]
    pub container: Option<String>,
    /// The schema whose sets are stored.
    #[serde(default, deserialize_with = "given")]
    pub schema: Option<String>,
    /// The regular expression of schemas whose sets are stored, in place of one schema.
    #[serde(default, deserialize_with = "given")]
    pub regex: Option<String>,
    /// The store plugin, not the instance of it.
    #[serde(default)]
    pub plugin: String,
    /// How often the store is flushed, in seconds; 0 where it was not told to.
    #[serde(rename = "flush", default, deserialize_with = "number")]
    pub flush_s: Option<f64>,
    /// Its state.
    #[serde(default)]
    pub state: StoragePolicyState,
    /// The path of the decomposition.
    #[serde(rename = "decomp", default, deserialize_with = "given")]
    pub decomposition: Option<String>,
    /// Regular expressions of producer names; repeated where they were added repeatedly.
    #[serde(default)]
    pub producers: Vec<String>,
    /// The metrics that are stored. A policy without any gets all of the first set.
    #[serde(default)]
    pub metrics: Vec<String>,
}
