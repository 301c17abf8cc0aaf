//! Plugins (the wire specification, section 7.1).

use serde::{Deserialize, Deserializer};

use super::field::{given, number, words};

words! {
    /// What a plugin does.
    PluginKind {
        /// It samples metric sets.
        Sampler = "sampler",
        /// It stores them.
        Store = "store",
    }
}

/// A loaded plugin: an entry of `plugn_status`. Whether a sampler runs is not told.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
pub struct PluginStatus {
    /// The name of the instance; on 4.4 the plugin's own name (`csv` for `store_csv`).
    pub name: String,
    /// The name of the plugin; not told by 4.4.
    #[serde(default, deserialize_with = "given")]
    pub plugin: Option<String>,
    /// What it does.
    #[serde(rename = "type", default, deserialize_with = "kind")]
    pub kind: PluginKind,
    /// The interval of a sampler, in microseconds; told by 4.4 alone.
    #[serde(default, deserialize_with = "number")]
    pub sample_interval_us: Option<i64>,
    /// The offset of a sampler, in microseconds; told by 4.4 alone.
    #[serde(default, deserialize_with = "number")]
    pub sample_offset_us: Option<i64>,
}

/// `sampler[M]` and `sampler[S]` say whether several configurations are allowed.
fn kind<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PluginKind, D::Error> {
    let text = given(deserializer)?.unwrap_or_default();
    Ok(PluginKind::from(text.split('[').next().unwrap_or_default()))
}

/// The metric sets of a sampler: an entry of `plugn_sets`.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
pub struct PluginSets {
    /// The name of the instance.
    pub plugin: String,
    /// The names of its set instances.
    #[serde(default)]
    pub sets: Vec<String>,
}
