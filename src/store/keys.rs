//! The keys of one cluster in etcd.
//!
//! The configuration lies under `/PREFIX/`, as the Python maestro lays it out. What maestro keeps for itself lies apart,
//! under `/maestro/PREFIX/`, so that no program that reads or replaces a configuration stumbles over it.

use super::tree::{escape, unescape};
use super::{StateKey, StateKind, StoreError};

/// The name under which maestro keeps its own state, and which therefore no cluster may have.
const RESERVED: &str = "maestro";

/// The one key beside the configuration under the cluster's prefix: written last, it says that a save is complete.
const LAST_UPDATED: &str = "last_updated";

/// Where one cluster's keys are.
#[derive(Debug, Clone)]
pub(super) struct ClusterKeys {
    prefix: String,
    /// `/PREFIX/`; with its closing slash, so that `orion` never reaches into `orion2`.
    root: String,
}

impl ClusterKeys {
    /// # Errors
    ///
    /// [`StoreError::InvalidPrefix`] where the name cannot be one step of a key.
    pub(super) fn new(prefix: &str) -> Result<ClusterKeys, StoreError> {
        let reason = if prefix.is_empty() {
            "it is empty"
        } else if prefix.contains('/') {
            "it contains a slash"
        } else if prefix == RESERVED {
            "it is the one under which maestro keeps its own state"
        } else {
            return Ok(ClusterKeys { prefix: prefix.to_owned(), root: format!("/{prefix}/") });
        };
        Err(StoreError::InvalidPrefix { prefix: prefix.to_owned(), reason })
    }

    /// The cluster's name.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The first key the cluster can have.
    pub(super) fn root(&self) -> &str {
        &self.root
    }

    /// The first key behind all keys of the cluster.
    pub(super) fn end(&self) -> String {
        behind(&self.prefix)
    }

    /// The key that is written when a save is complete.
    pub(super) fn last_updated(&self) -> String {
        format!("{}{LAST_UPDATED}", self.root)
    }

    /// Exists, bound to a lease, while a save is running.
    pub(super) fn save_lock(&self) -> String {
        format!("/{RESERVED}/{}/save-lock", self.prefix)
    }

    /// Exists from the first change of a save to its completion; also after the save died in between.
    pub(super) fn unfinished_save(&self) -> String {
        format!("/{RESERVED}/{}/unfinished-save", self.prefix)
    }

    /// What begins every key of maestro's own state of a kind, with its closing slash.
    pub(super) fn state_root(&self, kind: StateKind) -> String {
        format!("/{RESERVED}/{}/{}/", self.prefix, kind.word())
    }

    /// The key of an entry of maestro's own state.
    pub(super) fn state_entry(&self, key: &StateKey) -> String {
        let part = key.part.map(|part| format!("/{part:03}")).unwrap_or_default();
        format!("{}{}{part}", self.state_root(key.kind), escape(&key.name))
    }

    /// The entry of maestro's own state that has a key; none where maestro would not have written it so.
    pub(super) fn read_state_entry(&self, kind: StateKind, key: &[u8]) -> Option<StateKey> {
        let rest = std::str::from_utf8(key).ok()?.strip_prefix(&self.state_root(kind))?;
        let (name, part) = match rest.split_once('/') {
            Some((name, part)) => (name, Some(part.parse().ok()?)),
            None => (rest, None),
        };
        let entry = StateKey { kind, name: unescape(name).into_owned(), part };
        (self.state_entry(&entry).as_bytes() == key).then_some(entry)
    }

    /// The first key of what several instances of maestro tell each other.
    pub(super) fn instances(&self) -> String {
        format!("/{RESERVED}/{}/instances/", self.prefix)
    }

    /// The first key behind all keys of [`ClusterKeys::instances`]: in ASCII, `0` follows `/`.
    pub(super) fn behind_instances(&self) -> String {
        format!("/{RESERVED}/{}/instances0", self.prefix)
    }

    /// The key of an entry of the configuration.
    pub(super) fn absolute(&self, relative: &str) -> String {
        format!("{}{relative}", self.root)
    }

    /// Checks that an entry of a tree can be stored under the cluster and be read back as it was.
    ///
    /// # Errors
    ///
    /// [`StoreError::InvalidKey`]
    pub(super) fn check(&self, relative: &str) -> Result<(), StoreError> {
        if relative.is_empty() || relative == LAST_UPDATED {
            return Err(StoreError::InvalidKey { key: self.absolute(relative) });
        }
        Ok(())
    }
}

/// The first key behind all keys of a cluster: in ASCII, `0` follows `/`.
fn behind(prefix: &str) -> String {
    format!("/{prefix}0")
}

/// What the first step of any key in etcd says: the cluster's name, and the first key behind all of that cluster's.
/// None where the key does not begin with a name between slashes.
pub(super) fn first_step(key: &[u8]) -> Option<(&str, String)> {
    let rest = key.strip_prefix(b"/")?;
    let end = rest.iter().position(|&byte| byte == b'/')?;
    let prefix = std::str::from_utf8(rest.get(..end)?).ok()?;
    Some((prefix, behind(prefix)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_of_a_cluster_holds_its_own_keys_only() {
        let keys = ClusterKeys::new("et").unwrap();
        let holds = |key: &str| (keys.root()..&keys.end()).contains(&key);
        assert!(holds("/et/daemons/a/addr"));
        assert!(holds("/et/~"));
        assert!(!holds("/et2/daemons/a/addr"));
        assert!(!holds("/et-2/daemons/a/addr"));
        assert!(!holds("/et"));
    }

    #[test]
    fn refuses_names_that_would_reach_into_other_keys() {
        for prefix in ["", "maestro", "a/b", "/a", "a/"] {
            assert!(ClusterKeys::new(prefix).is_err(), "{prefix:?}");
        }
    }

    #[test]
    fn entries_of_the_state_are_told_from_their_keys() {
        let keys = ClusterKeys::new("orion").unwrap();
        let entries = [("agg-1", None), ("a/b%2F", None), ("agg-[1-3]", Some(7)), ("x/001", Some(1))];
        for (name, part) in entries {
            let entry = StateKey { kind: StateKind::Producers, name: name.to_owned(), part };
            let key = keys.state_entry(&entry);
            assert_eq!(keys.read_state_entry(StateKind::Producers, key.as_bytes()), Some(entry), "{key}");
            assert_eq!(keys.read_state_entry(StateKind::Daemons, key.as_bytes()), None, "{key}");
        }
        let slash = StateKey { kind: StateKind::Daemons, name: "a/b".to_owned(), part: None };
        assert_eq!(keys.state_entry(&slash), "/maestro/orion/daemons/a%2Fb");
        for key in ["/maestro/orion/daemons/a/b", "/maestro/orion/daemons/a/7", "/maestro/orion2/daemons/a", "\u{fe}"] {
            assert_eq!(keys.read_state_entry(StateKind::Daemons, key.as_bytes()), None, "{key}");
        }
    }

    #[test]
    fn the_first_step_of_a_key_is_the_clusters_name() {
        assert_eq!(first_step(b"/orion/daemons/a"), Some(("orion", "/orion0".to_owned())));
        assert_eq!(first_step(b"/orion/"), Some(("orion", "/orion0".to_owned())));
        for key in ["/orion", "orion/daemons", "", "/"] {
            assert_eq!(first_step(key.as_bytes()), None, "{key}");
        }
        assert_eq!(first_step(b"/\xff/a"), None);
    }
}
