//! The directory of metric sets (the wire specification, section 3.5).

use serde::{Deserialize, Deserializer, Serialize};

use super::field::given;
use super::json::{StatusError, parse};

/// A metric set of a daemon, its own or one that it collects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SetInfo {
    /// The name of the set instance.
    pub name: String,
    /// The name of its schema.
    pub schema: String,
    /// Whether no update is under way.
    pub consistent: bool,
    /// Where the daemon has it from.
    pub origin: SetOrigin,
    /// The size of its description, fetched once.
    pub meta_size_bytes: u64,
    /// The size of its values, fetched at every update.
    pub data_size_bytes: u64,
    /// The size of its heap (lists and records); 0 where there is none.
    pub heap_size_bytes: u64,
    /// When it was sampled, in microseconds since 1970.
    pub timestamp_us: u64,
    /// How often it is sampled, where the sampler tells.
    pub update_hint: Option<UpdateHint>,
}

/// Where a daemon has a metric set from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SetOrigin {
    /// It samples the set.
    Local,
    /// It collects the set from another daemon.
    Remote,
    /// It does not tell.
    Unknown,
}

/// How often a metric set is sampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct UpdateHint {
    /// The time between samples, in microseconds.
    pub interval_us: u64,
    /// The offset from the full multiple of the interval, in microseconds; `None` where the sampler is not
    /// tied to the clock.
    pub offset_us: Option<i64>,
}

impl UpdateHint {
    /// Reads `interval:offset`, both in microseconds. The offset may be missing.
    #[must_use]
    pub fn parse(text: &str) -> Option<UpdateHint> {
        let (interval, offset) = text.split_once(':').unwrap_or((text, ""));
        let interval_us = interval.trim().parse().ok().filter(|interval| *interval > 0)?;
        Some(UpdateHint { interval_us, offset_us: offset.trim().parse().ok() })
    }
}

impl SetInfo {
    /// The sets of a directory that came in several JSON texts, in the order of the daemon.
    ///
    /// # Errors
    /// A text is no directory.
    pub fn from_directory(parts: &[Vec<u8>]) -> Result<Vec<SetInfo>, StatusError> {
        let mut sets = Vec::new();
        for part in parts {
            let part: Directory = parse(&String::from_utf8_lossy(part))?;
            sets.extend(part.directory.into_iter().map(SetInfo::from));
        }
        Ok(sets)
    }
}

#[derive(Deserialize)]
struct Directory {
    #[serde(default)]
    directory: Vec<Entry>,
}

/// A set as it is written.
#[derive(Deserialize)]
struct Entry {
    name: String,
    #[serde(default)]
    schema: String,
    #[serde(default)]
    flags: String,
    #[serde(default)]
    meta_size: u64,
    #[serde(default)]
    data_size: u64,
    #[serde(default)]
    heap_size: u64,
    #[serde(default)]
    timestamp: Timestamp,
    #[serde(default, deserialize_with = "list_or_nothing")]
    info: Vec<Info>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Timestamp {
    sec: u64,
    usec: u64,
}

#[derive(Deserialize)]
struct Info {
    key: String,
    #[serde(default, deserialize_with = "given")]
    value: Option<String>,
}

/// `null` stands for an empty list.
fn list_or_nothing<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Info>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl From<Entry> for SetInfo {
    fn from(entry: Entry) -> SetInfo {
        let hint = entry.info.iter().find(|info| info.key == "updt_hint_us").and_then(|info| info.value.as_deref());
        SetInfo {
            consistent: entry.flags.contains('C'),
            origin: match &entry.flags {
                flags if flags.contains('L') => SetOrigin::Local,
                flags if flags.contains('R') => SetOrigin::Remote,
                _ => SetOrigin::Unknown,
            },
            name: entry.name,
            schema: entry.schema,
            meta_size_bytes: entry.meta_size,
            data_size_bytes: entry.data_size,
            heap_size_bytes: entry.heap_size,
            timestamp_us: entry.timestamp.sec.saturating_mul(1_000_000).saturating_add(entry.timestamp.usec),
            update_hint: hint.and_then(UpdateHint::parse),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_are_read_with_and_without_offset() {
        let hint = |interval_us, offset_us| Some(UpdateHint { interval_us, offset_us });
        assert_eq!(UpdateHint::parse("1000000:-20000"), hint(1_000_000, Some(-20_000)));
        assert_eq!(UpdateHint::parse("1000000:"), hint(1_000_000, None));
        assert_eq!(UpdateHint::parse("1000000"), hint(1_000_000, None));
        assert_eq!(UpdateHint::parse("0:0"), None);
        assert_eq!(UpdateHint::parse("often"), None);
    }

    #[test]
    fn a_set_that_tells_little_is_still_a_set() {
        let sets =
            SetInfo::from_directory(&[br#"{"directory":[{"name":"a"}]}"#.to_vec(), br#"{"directory":[]}"#.to_vec()]);
        let sets = sets.unwrap();
        assert_eq!((sets.len(), sets[0].name.as_str(), sets[0].origin), (1, "a", SetOrigin::Unknown));
        assert_eq!(sets[0].update_hint, None);
    }
}
