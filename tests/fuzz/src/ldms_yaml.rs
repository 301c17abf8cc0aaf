//! An LDMS YAML: a cluster or errors, and the cluster survives etcd.

use maestro::spec::{self, Severity};
use maestro::store::layout;

/// Reads the text as an LDMS YAML.
pub fn run(data: &[u8]) {
    let text = super::text_of(data);
    let (cluster, diagnostics) = spec::read_cluster_with("ldms.yaml", &text, &|_| true);
    let errors = diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error);
    assert_eq!(cluster.is_none(), errors);
    assert!(spec::report(&diagnostics).lines().count() >= diagnostics.len());
    // Large clusters take long, and show no more than small ones.
    if let Some(cluster) = cluster.filter(|cluster| cluster.daemons.len() <= 1_000) {
        assert_eq!(layout::read(&layout::write(&cluster)), Ok(cluster));
    }
}
