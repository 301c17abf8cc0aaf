//! `maestro_ctrl`: loads an LDMS cluster into etcd.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{CommandFactory, FromArgMatches, Parser};
use maestro::cli::{self, LogLevel};
use maestro::ctrl;

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

    /// Only check the YAML: all of its mistakes are shown, each with its place
    #[arg(long)]
    check: bool,
}

fn main() -> ExitCode {
    let command = Arguments::command();
    let matches = command.clone().get_matches_from(cli::spelt_as_known(&command, std::env::args_os()));
    let arguments = Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    cli::log_to_stderr(LogLevel::Warning);
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    if arguments.check {
        return ctrl::check(&arguments.ldms_config);
    }
    let prefix = match &arguments.prefix {
        Some(prefix) => prefix.clone(),
        None => name_of(&arguments.ldms_config)?,
    };
    ctrl::load(&arguments.ldms_config, &prefix, &cli::etcd_options(arguments.cluster.as_deref())?)
}

fn name_of(path: &Path) -> anyhow::Result<String> {
    let name = path.file_stem().and_then(OsStr::to_str);
    Ok(name.context("the file's name cannot name a cluster: give one with --prefix NAME")?.to_owned())
}
