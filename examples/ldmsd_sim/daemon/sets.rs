//! Metric sets, and the directory in which a daemon lists them (the wire specification, section 3.5).

use serde::Deserialize;

/// A metric set as a directory describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MetricSet {
    /// The instance name, unique in a daemon.
    pub(crate) instance: String,
    pub(crate) schema: String,
    /// What each update transfers.
    pub(crate) data_size_bytes: u32,
    pub(crate) meta_size_bytes: u32,
    /// The number of metrics.
    pub(crate) metrics: u32,
    /// Permission bits.
    pub(crate) perm: u32,
    /// The update hint, `interval:offset` in microseconds; without an offset the second part is empty.
    pub(crate) hint: Option<String>,
    /// When the values were sampled, in microseconds since 1970; 0 where they never were.
    pub(crate) sampled_us: u64,
}

impl MetricSet {
    /// The set as an element of a directory. `from` is `L` for a set of the daemon itself, `R` for a copy.
    pub(crate) fn to_json(&self, from: char) -> String {
        let consistent = if self.sampled_us > 0 { 'C' } else { ' ' };
        let info = self
            .hint
            .as_deref()
            .map_or_else(String::new, |hint| format!(r#"{{"key":"updt_hint_us","value":"{hint}"}}"#));
        format!(
            r#"{{"name":"{}","schema":"{}","digest":"","flags":"{consistent}{from} ","meta_size":{},"data_size":{},"heap_size":0,"uid":0,"gid":0,"perm":"-{}","card":{},"array_card":1,"meta_gn":2,"data_gn":3,"timestamp":{{"sec":{},"usec":{}}},"duration":{{"sec":0,"usec":0}},"info":[{info}]}}"#,
            self.instance,
            self.schema,
            self.meta_size_bytes,
            self.data_size_bytes,
            permission_text(self.perm),
            self.metrics,
            self.sampled_us / 1_000_000,
            self.sampled_us % 1_000_000,
        )
    }
}

fn permission_text(perm: u32) -> String {
    (0..9).map(|bit| if perm & (0o400 >> bit) == 0 { '-' } else { char::from(b"rwx"[bit % 3]) }).collect()
}

/// Interval and offset of an update hint, in microseconds.
pub(super) fn hint_us(hint: &str) -> Option<(u64, i64)> {
    let (interval, offset) = hint.split_once(':')?;
    let interval = interval.parse().ok().filter(|interval| *interval > 0)?;
    Some((interval, offset.parse().unwrap_or(0)))
}

/// A directory text from its elements.
pub(crate) fn directory_text(elements: &[String]) -> String {
    format!(r#"{{ "directory" : [{}{}]}}"#, if elements.is_empty() { "" } else { " " }, elements.join(","))
}

/// Reads the directory text of another daemon; `None` where it is no directory.
pub(crate) fn read_directory(text: &[u8]) -> Option<Vec<MetricSet>> {
    #[derive(Deserialize)]
    struct Listing {
        directory: Vec<Entry>,
    }
    #[derive(Deserialize)]
    struct Entry {
        name: String,
        schema: String,
        #[serde(default)]
        data_size: u32,
        #[serde(default)]
        meta_size: u32,
        #[serde(default)]
        card: u32,
        #[serde(default)]
        perm: String,
        timestamp: Timestamp,
        #[serde(default)]
        info: Vec<Info>,
    }
    #[derive(Deserialize)]
    struct Timestamp {
        sec: u64,
        usec: u64,
    }
    #[derive(Deserialize)]
    struct Info {
        key: String,
        value: String,
    }
    let end = text.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let listing: Listing = serde_json::from_slice(&text[..end]).ok()?;
    let set = |entry: Entry| MetricSet {
        instance: entry.name,
        schema: entry.schema,
        data_size_bytes: entry.data_size,
        meta_size_bytes: entry.meta_size,
        metrics: entry.card,
        perm: entry.perm.bytes().skip(1).fold(0, |bits, byte| (bits << 1) | u32::from(byte != b'-')),
        hint: entry.info.into_iter().find(|info| info.key == "updt_hint_us").map(|info| info.value),
        sampled_us: entry.timestamp.sec * 1_000_000 + entry.timestamp.usec,
    };
    Some(listing.directory.into_iter().map(set).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_survives_being_written_and_read() {
        let set = |instance: &str, hint: Option<&str>, sampled_us| MetricSet {
            instance: instance.into(),
            schema: "meminfo".into(),
            data_size_bytes: 544,
            meta_size_bytes: 2968,
            metrics: 57,
            perm: 0o440,
            hint: hint.map(str::to_owned),
            sampled_us,
        };
        let sets = vec![set("n1/a", Some("1000000:0"), 1_795_327_738_000_001), set("n1/b", None, 0)];
        let elements: Vec<String> = sets.iter().map(|set| set.to_json('L')).collect();
        assert_eq!(read_directory(directory_text(&elements).as_bytes()), Some(sets));
        assert_eq!(read_directory(directory_text(&[]).as_bytes()), Some(vec![]));
        assert_eq!(read_directory(b"{"), None);
    }
}
