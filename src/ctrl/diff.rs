//! `--diff`: what a load would change in etcd.

mod lines;
mod secrets;

use std::io::{self, Write};
use std::path::Path;

use anyhow::Context;
use tokio::runtime::Builder;

use super::progress::Bar;
use crate::cli;
use crate::store::{Difference, EtcdOptions, EtcdStore, layout};

/// How much is said of a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// What changes alike is one line, and so are objects that come or go as a whole.
    Folded,
    /// One line a key.
    EveryKey,
}

/// Prints on standard output what loading the YAML would change, as seen by readers of `prefix`, and on standard error
/// how much that is. Writes nothing to etcd. That there are differences is no error.
///
/// # Errors
/// The YAML cannot be read or has errors; etcd cannot be read, or holds half a configuration.
pub fn diff(ldms_config: &Path, prefix: &str, etcd: &EtcdOptions, detail: Detail) -> anyhow::Result<()> {
    let new = layout::write(&cli::read_cluster(ldms_config)?);
    let store = EtcdStore::new(etcd)?;
    let runtime = Builder::new_current_thread().enable_all().build().context("cannot start")?;
    let snapshot = runtime.block_on(Bar::new().shown_if_it_lasts(store.load(prefix)))?;
    if snapshot.is_none() {
        eprintln!("etcd holds no cluster `{prefix}`: all of it would be added");
    }
    let old = snapshot.map(|snapshot| snapshot.tree).unwrap_or_default();
    let difference = Difference::between(&old, &new);
    let lines = match detail {
        Detail::Folded => lines::folded(&difference, &old, &new),
        Detail::EveryKey => lines::every_key(&difference),
    };
    match print(&lines) {
        // Whoever reads has seen enough, as in `maestro_ctrl --diff … | head`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        printed => printed.context("cannot print the difference")?,
    }
    let (changed, added, removed) = (difference.changed.len(), difference.added.len(), difference.removed.len());
    eprintln!("{prefix}: {changed} changed, {added} added, {removed} removed; nothing was written");
    Ok(())
}

/// With colours where standard output is a terminal and `NO_COLOR` is not set.
fn print(lines: &[lines::Line]) -> io::Result<()> {
    let mut output = io::BufWriter::new(anstream::stdout().lock());
    for line in lines {
        let style = line.sign.style();
        writeln!(output, "{style}{line}{style:#}")?;
    }
    output.flush()
}
