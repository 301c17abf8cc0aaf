//! `--check`: is the YAML right?

use std::path::Path;

use crate::cli;

/// Reads the YAML of a cluster and says what it holds; warnings go to standard error.
///
/// # Errors
/// The file cannot be read, or has errors: the text is all of them, each with its place.
pub fn check(ldms_config: &Path) -> anyhow::Result<()> {
    let cluster = cli::read_cluster(ldms_config)?;
    let aggregators: usize = cluster.groups.values().map(|group| group.aggregators.len()).sum();
    println!(
        "{} is right: {} daemons, {aggregators} of them aggregators in {} group{}",
        ldms_config.display(),
        cluster.daemons.len(),
        cluster.groups.len(),
        if cluster.groups.len() == 1 { "" } else { "s" }
    );
    Ok(())
}
