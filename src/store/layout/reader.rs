//! Reading a cluster again and again as it changes.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::LayoutError;
use super::cursor::Cursor;
use super::foundation::Foundation;
use super::read::complete;
use crate::cluster::Cluster;
use crate::notation::Name;
use crate::store::tree::{self, Tree};

/// Reads what is kept of a cluster whenever it has changed. Of a large cluster nearly all keys are those of daemons and
/// producers, which a change of an interval does not touch: these are taken over then.
#[derive(Debug, Default)]
pub struct Reader {
    last: Option<Reading>,
}

/// What was read.
#[derive(Debug)]
struct Reading {
    cluster: Arc<Cluster>,
    ungrouped: Vec<Name>,
}

impl Reader {
    /// Reads a cluster as [`super::read()`] does. `changed` are the sections (first steps of keys) that are not as they
    /// were in the tree before; `None` where that is not known.
    ///
    /// # Errors
    ///
    /// As of [`super::read()`].
    pub fn read(&mut self, tree: &Tree, changed: Option<&BTreeSet<String>>) -> Result<Arc<Cluster>, LayoutError> {
        let reading = match self.last.take().zip(changed.filter(|changed| keeps_foundation(changed))) {
            Some((last, changed)) => read_rest(last, tree, changed)?,
            None => read_all(tree)?,
        };
        let cluster = Arc::clone(&reading.cluster);
        self.last = Some(reading);
        Ok(cluster)
    }
}

fn keeps_foundation(changed: &BTreeSet<String>) -> bool {
    !Foundation::SECTIONS.iter().any(|section| changed.contains(*section))
}

fn read_all(tree: &Tree) -> Result<Reading, LayoutError> {
    let node = tree::unflatten(tree)?;
    let root = Cursor::root(&node);
    let foundation = Foundation::read(&root)?;
    let ungrouped = foundation.ungrouped.clone();
    Ok(Reading { cluster: Arc::new(complete(foundation, &root)?), ungrouped })
}

fn read_rest(last: Reading, tree: &Tree, changed: &BTreeSet<String>) -> Result<Reading, LayoutError> {
    let node = tree::unflatten(tree.iter().filter(|(key, _)| !is_bulk(key)))?;
    // Only these may have moved a daemon into another group.
    let may_regroup = ["samplers", "advertisers"].iter().any(|section| changed.contains(*section));
    let ungrouped = if may_regroup { last.ungrouped.clone() } else { Vec::new() };
    let foundation = Foundation::of(&last.cluster, ungrouped);
    Ok(Reading { cluster: Arc::new(complete(foundation, &Cursor::root(&node))?), ..last })
}

/// Whether a key is one of those that a large cluster has most of, and that only its [`Foundation`] is read from.
fn is_bulk(key: &str) -> bool {
    ["daemons/", "producers/"].iter().any(|section| key.starts_with(section))
}
