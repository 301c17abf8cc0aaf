//! Where the configuration comes from: etcd, or a file for small sites that run without it.
//!
//! Whatever happens to the source later, the last good configuration stays in force.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use tokio::sync::mpsc;

use super::Notebook;
use crate::cluster::Cluster;
use crate::conductor::Memory;
use crate::spec::{self, Diagnostic};
use crate::store::{EtcdStore, FileEvent, Snapshot, WatchEvent, layout, watch_file};

/// News of the configuration.
#[derive(Debug)]
pub enum ConfigEvent {
    /// What an earlier maestro has noted; before the first configuration.
    Remembered(Memory),
    /// There is a configuration, the first or another one.
    Changed(Arc<Cluster>),
    /// The source cannot be read, or what it holds is of no use.
    Trouble(String),
    /// The source can be read again.
    TroubleOver(String),
}

/// Reads the configuration of the cluster `prefix` in etcd once; without a prefix, of the only cluster there.
///
/// # Errors
/// etcd cannot be reached, holds no such cluster, or holds several where none was named; the text says what to do.
pub async fn read_from_etcd(store: &EtcdStore, prefix: Option<String>) -> anyhow::Result<Cluster> {
    let (prefix, snapshot) = load(store, prefix).await?;
    read_first(&mut layout::Reader::default(), &prefix, &snapshot).map(Arc::unwrap_or_clone)
}

/// Follows the configuration of the cluster `prefix` in etcd; without a prefix, of the only cluster there. What an earlier
/// maestro has noted comes first. Where that cannot be read, this one does not note anything either.
///
/// # Errors
/// As of [`read_from_etcd`].
pub async fn from_etcd(
    store: EtcdStore,
    prefix: Option<String>,
) -> anyhow::Result<(mpsc::Receiver<ConfigEvent>, Notebook)> {
    let (prefix, snapshot) = load(&store, prefix).await?;
    let mut reader = layout::Reader::default();
    let cluster = read_first(&mut reader, &prefix, &snapshot)?;
    let (memory, notebook) = Notebook::open(&store, &prefix).await.unwrap_or_else(|error| {
        tracing::warn!(
            "what an earlier maestro has noted cannot be read: {error}; going on without, some commands are sent again"
        );
        (Memory::default(), Notebook::none())
    });
    let mut watch = store.watch(&prefix, Some(snapshot))?;
    let (events, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut event = Some(ConfigEvent::Changed(cluster));
        if events.send(ConfigEvent::Remembered(memory)).await.is_err() {
            return;
        }
        while let Some(news) = event {
            if events.send(news).await.is_err() {
                return;
            }
            event = watch.recv().await.map(|news| match news {
                WatchEvent::Changed { snapshot, sections } => match reader.read(&snapshot.tree, sections.as_ref()) {
                    Ok(cluster) => ConfigEvent::Changed(cluster),
                    Err(error) => ConfigEvent::Trouble(format!(
                        "the new configuration of `{prefix}` in etcd cannot be used: {error}; keeping the last one"
                    )),
                },
                WatchEvent::Unavailable(reason) => {
                    ConfigEvent::Trouble(format!("{reason}; going on with the last configuration, trying again"))
                }
                WatchEvent::Available => ConfigEvent::TroubleOver("etcd answers again".into()),
            });
        }
    });
    Ok((receiver, notebook))
}

/// The name of the cluster to work for: as given, or of the only one in etcd.
///
/// # Errors
/// None was given, and etcd cannot be reached or does not hold exactly one.
pub async fn cluster_name(store: &EtcdStore, prefix: Option<String>) -> anyhow::Result<String> {
    match prefix {
        Some(prefix) => Ok(prefix),
        None => only_cluster(store).await,
    }
}

/// The name of the cluster and what etcd holds of it.
async fn load(store: &EtcdStore, prefix: Option<String>) -> anyhow::Result<(String, Snapshot)> {
    let prefix = cluster_name(store, prefix).await?;
    let Some(snapshot) = store.load(&prefix).await? else {
        let others = store.clusters().await.unwrap_or_default();
        let hint = if others.is_empty() { String::new() } else { format!(" (it holds {})", others.join(", ")) };
        bail!("etcd holds no cluster `{prefix}`{hint}: load it with maestro_ctrl --prefix {prefix}");
    };
    Ok((prefix, snapshot))
}

async fn only_cluster(store: &EtcdStore) -> anyhow::Result<String> {
    let mut clusters = store.clusters().await?;
    match clusters.len() {
        1 => Ok(clusters.remove(0)),
        0 => bail!("etcd holds no cluster: load one with maestro_ctrl --ldms_config FILE --prefix NAME"),
        _ => bail!("etcd holds several clusters ({}): choose one with --prefix NAME", clusters.join(", ")),
    }
}

fn read_first(reader: &mut layout::Reader, prefix: &str, snapshot: &Snapshot) -> anyhow::Result<Arc<Cluster>> {
    reader.read(&snapshot.tree, None).with_context(|| format!("the configuration of `{prefix}` in etcd"))
}

/// Follows an LDMS cluster YAML.
///
/// # Errors
/// The file cannot be read, or has errors, which the text shows with their places.
pub async fn from_file(path: PathBuf) -> anyhow::Result<mpsc::Receiver<ConfigEvent>> {
    let text = tokio::fs::read_to_string(&path).await.with_context(|| format!("cannot read {}", path.display()))?;
    let first = match read_file(&path, &text) {
        (Some(cluster), warnings) => {
            for warning in warnings {
                tracing::warn!("{warning}");
            }
            cluster
        }
        (None, diagnostics) => bail!("{}", spec::report(&diagnostics)),
    };
    let (events, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut watch = watch_file(&path);
        let mut event = Some(ConfigEvent::Changed(Arc::new(first)));
        let mut in_force = text;
        let mut troubled = false;
        loop {
            if let Some(news) = event.take()
                && events.send(news).await.is_err()
            {
                return;
            }
            let Some(news) = watch.recv().await else { return };
            event = match news {
                FileEvent::Changed(text) if text == in_force => std::mem::take(&mut troubled)
                    .then(|| ConfigEvent::TroubleOver(format!("{} can be read", path.display()))),
                FileEvent::Changed(text) => match read_file(&path, &text) {
                    (Some(cluster), _) => {
                        in_force = text;
                        troubled = false;
                        Some(ConfigEvent::Changed(Arc::new(cluster)))
                    }
                    (None, diagnostics) => {
                        troubled = true;
                        let report = spec::report(&diagnostics);
                        Some(ConfigEvent::Trouble(format!("keeping the last configuration:\n{report}")))
                    }
                },
                FileEvent::Unreadable(reason) => {
                    troubled = true;
                    Some(ConfigEvent::Trouble(format!("{reason}; keeping the last configuration")))
                }
            };
        }
    });
    Ok(receiver)
}

fn read_file(path: &Path, text: &str) -> (Option<Cluster>, Vec<Diagnostic>) {
    spec::read_cluster(&path.display().to_string(), text)
}
