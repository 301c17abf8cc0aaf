//! The daemon as a whole (the wire specification, section 6.1).

use serde::Deserialize;

/// The answer to `daemon_status`.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
pub struct DaemonStatus {
    /// `ready` once the daemon has read its configuration files.
    #[serde(default)]
    pub state: String,
}

impl DaemonStatus {
    /// Whether the daemon takes part in the cluster.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.state == "ready"
    }
}

/// The version of a daemon.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DaemonVersion {
    /// The version of ldmsd. The 4.4 line tells that of its plugin interface here.
    pub ldmsd: Option<String>,
}

impl DaemonVersion {
    /// Reads the answer to `version`: JSON, or on 4.4 lines of text.
    #[must_use]
    pub fn parse(text: &str) -> DaemonVersion {
        const KEY: &str = "LDMSD Version";
        let of_json = |text: &str| {
            let object: serde_json::Value = serde_json::from_str(text).ok()?;
            object.get(KEY)?.as_str().map(str::to_owned)
        };
        let of_line = |line: &str| Some(line.strip_prefix(KEY)?.strip_prefix(':')?.trim().to_owned());
        DaemonVersion { ldmsd: of_json(text).or_else(|| text.lines().find_map(of_line)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_in_both_forms() {
        let version = |text| DaemonVersion::parse(text).ldmsd;
        assert_eq!(version(r#"{ "LDMSD Version":"4.5.3.2-348a8", "git-SHA": "x"}"#).as_deref(), Some("4.5.3.2-348a8"));
        assert_eq!(version("LDMS Version: 4.2.0.0\nLDMSD Version: 3.2.2.0").as_deref(), Some("3.2.2.0"));
        assert_eq!(version("who knows"), None);
    }
}
