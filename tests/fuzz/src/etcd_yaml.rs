//! An etcd.yaml: a configuration or errors, neither of which shows a password.

use maestro::spec::etcd_file;

/// Reads the text as an etcd.yaml.
pub fn run(data: &[u8]) {
    let (config, diagnostics) = etcd_file::read("etcd.yaml", &super::text_of(data));
    assert!(config.is_some() || !diagnostics.is_empty());
    if let Some(config) = config {
        assert!(!config.members.is_empty());
    }
}
