//! Keys and values of etcd: a cluster or an error, and the cluster is written as keys that read as the same.

use maestro::store::{Tree, layout};

/// Reads lines of `KEY=VALUE` as a cluster.
pub fn run(data: &[u8]) {
    let text = super::text_of(data);
    let entry = |line: &str| line.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
    let tree: Tree = text.lines().filter_map(entry).collect();
    if let Ok(cluster) = layout::read(&tree) {
        assert_eq!(layout::read(&layout::write(&cluster)), Ok(cluster));
    }
}
