//! Reading the two YAML files that an operator names on the command line.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};

use crate::cluster::Cluster;
use crate::spec::etcd_file::Member;
use crate::spec::{self, etcd_file};
use crate::store::{EtcdOptions, Login, TlsFiles};

/// Where etcd is when nobody says.
const DEFAULT_ETCD: &str = "127.0.0.1:2379";

/// Reads an LDMS cluster; its warnings go to standard error.
///
/// # Errors
/// The file cannot be read, or has errors: the text is all of them, each with its place.
pub fn read_cluster(path: &Path) -> anyhow::Result<Cluster> {
    let (cluster, diagnostics) = spec::read_cluster(&path.display().to_string(), &read(path)?);
    match cluster {
        Some(cluster) => {
            for warning in diagnostics {
                eprintln!("{warning}");
            }
            Ok(cluster)
        }
        None => bail!("{}", spec::report(&diagnostics)),
    }
}

/// How etcd is reached, as an etcd.yaml says; without one, etcd on this host.
///
/// # Errors
/// The file cannot be read, or has errors.
pub fn etcd_options(path: Option<&Path>) -> anyhow::Result<EtcdOptions> {
    etcd_file(path).map(|(options, _)| options)
}

/// How etcd is reached, and which instances of maestro share the work, as an etcd.yaml says.
///
/// # Errors
/// The file cannot be read, or has errors.
pub fn etcd_file(path: Option<&Path>) -> anyhow::Result<(EtcdOptions, Vec<Member>)> {
    let Some(path) = path else {
        let options = EtcdOptions { endpoints: vec![DEFAULT_ETCD.to_owned()], ..EtcdOptions::default() };
        return Ok((options, Vec::new()));
    };
    let (config, diagnostics) = etcd_file::read(&path.display().to_string(), &read(path)?);
    let Some(config) = config else { bail!("{}", spec::report(&diagnostics)) };
    for warning in diagnostics {
        eprintln!("{warning}");
    }
    let identity = config.cert.zip(config.key).map(|(cert, key)| (cert.into(), key.into()));
    let options = EtcdOptions {
        endpoints: config.members.iter().map(ToString::to_string).collect(),
        tls: config.ca.map(|ca| TlsFiles { ca: ca.into(), identity }),
        login: config.user.zip(config.password).map(|(user, password)| Login { user, password }),
    };
    Ok((options, config.maestro_members))
}

/// An absolute path to where local daemons have their files: as given, or the user's home directory.
///
/// # Errors
/// The user has none.
pub fn directory_or_home(directory: Option<&Path>) -> anyhow::Result<PathBuf> {
    let directory = match directory {
        Some(directory) => directory.to_owned(),
        None => std::env::home_dir().context("this user has no home directory: give one with --local_path DIR")?,
    };
    std::path::absolute(&directory).with_context(|| format!("cannot use {}", directory.display()))
}

fn read(path: &Path) -> anyhow::Result<String> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    spec::decode(&path.display().to_string(), bytes).map_err(|error| anyhow!("{error}"))
}
