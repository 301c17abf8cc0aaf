//! `maestro_ctrl`: loads an LDMS cluster into etcd.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{CommandFactory, FromArgMatches, Parser};
use maestro::cli::{self, LogLevel};
use maestro::store::{EtcdStore, layout};

/// Reads the YAML of an LDMS cluster, checks it and loads it into etcd, from where maestro takes it.
#[derive(Debug, Parser)]
#[command(name = "maestro_ctrl", version)]
struct Arguments {
    /// The YAML file that names the members of the etcd cluster [default: etcd at 127.0.0.1:2379]
    #[arg(long, value_name = "FILE")]
    cluster: Option<PathBuf>,

    /// The YAML file of the LDMS cluster
    #[arg(long = "ldms_config", value_name = "FILE")]
    ldms_config: PathBuf,

    /// The name of the LDMS cluster in etcd [default: the file's name without its extension]
    #[arg(long, value_name = "NAME")]
    prefix: Option<String>,
}

fn main() -> ExitCode {
    let command = Arguments::command();
    let matches = command.clone().get_matches_from(cli::spelt_as_known(&command, std::env::args_os()));
    let arguments = Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    cli::log_to_stderr(LogLevel::Warning);
    match load(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn load(arguments: &Arguments) -> anyhow::Result<()> {
    let cluster = cli::read_cluster(&arguments.ldms_config)?;
    let prefix = match &arguments.prefix {
        Some(prefix) => prefix.clone(),
        None => name_of(&arguments.ldms_config)?,
    };
    let tree = layout::write(&cluster);
    let store = EtcdStore::new(&cli::etcd_options(arguments.cluster.as_deref())?)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    let report = runtime.block_on(store.save(&prefix, &tree, |_| ()))?;
    println!("LDMS cluster configuration saved to etcd cluster.");
    eprintln!("{prefix}: {} changed, {} added, {} removed", report.changed, report.added, report.removed);
    Ok(())
}

fn name_of(path: &Path) -> anyhow::Result<String> {
    let name = path.file_stem().and_then(OsStr::to_str);
    Ok(name.context("the file's name cannot name a cluster: give one with --prefix NAME")?.to_owned())
}
