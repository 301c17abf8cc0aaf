//! `maestro_ctrl`: loads an LDMS cluster into etcd, writes configuration files for its daemons, or keeps those of this
//! machine running.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{CommandFactory, FromArgMatches, Parser};
use maestro::cli::{self, LogLevel};
use maestro::ctrl::{self, Detail};

/// Reads the YAML of an LDMS cluster, checks it and loads it into etcd, from where maestro takes it.
#[derive(Debug, Parser)]
#[command(name = "maestro_ctrl", version)]
struct Arguments {
    /// The YAML file that names the members of the etcd cluster [default: etcd at 127.0.0.1:2379]
    #[arg(long, value_name = "FILE")]
    cluster: Option<PathBuf>,

    /// The YAML file of the LDMS cluster; generating and --local can do without one, and take the cluster from etcd
    #[arg(long = "ldms_config", value_name = "FILE", required_unless_present_any = ["generate_config_path", "daemon_name", "local"])]
    ldms_config: Option<PathBuf>,

    /// The name of the LDMS cluster in etcd [default: the file's name without its extension; to take it from etcd,
    /// the only one there]
    #[arg(long, value_name = "NAME")]
    prefix: Option<String>,

    /// Only check the YAML: all of its mistakes are shown, each with its place
    #[arg(long, conflicts_with_all = ["generate_config_path", "daemon_name"])]
    check: bool,

    /// Only show the difference with what etcd holds; nothing is written
    #[arg(long, conflicts_with_all = ["check", "generate_config_path", "daemon_name", "local"])]
    diff: bool,

    /// With --diff: every key, where else what changes alike is one line
    #[arg(long, requires = "diff")]
    verbose: bool,

    /// Write a v4 configuration file for each daemon, DIR/DAEMON.conf, with which ldmsd starts without maestro
    #[arg(long, value_name = "DIR")]
    generate_config_path: Option<PathBuf>,

    /// Print the v4 configuration file of one daemon; with --generate-config-path, write only this one
    #[arg(long = "daemon_name", value_name = "NAME")]
    daemon_name: Option<String>,

    /// Start the daemons whose host is this machine, each with its v4 configuration file, and keep them running until
    /// SIGTERM or Ctrl-C
    #[arg(long, conflicts_with_all = ["check", "generate_config_path", "daemon_name"])]
    local: bool,

    /// With --local: where the configuration, log and pid files are, DIR/DAEMON.conf and so on [default: the home
    /// directory]
    #[arg(long = "local_path", value_name = "DIR", requires = "local")]
    local_path: Option<PathBuf>,

    /// With --local: the ldmsd to start [default: the first in PATH]
    #[arg(long, value_name = "FILE", requires = "local")]
    ldmsd: Option<PathBuf>,
}

fn main() -> ExitCode {
    let command = Arguments::command();
    let matches = command.clone().get_matches_from(cli::spelt_as_known(&command, std::env::args_os()));
    let arguments = Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    cli::log_to_stderr(if arguments.local { LogLevel::Info } else { LogLevel::Warning });
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    if arguments.local {
        return ctrl::local(source(arguments)?, arguments.local_path.as_deref(), arguments.ldmsd.as_deref());
    }
    match (&arguments.generate_config_path, arguments.daemon_name.as_deref()) {
        (Some(directory), daemon) => ctrl::generate(source(arguments)?, directory, daemon),
        (None, Some(daemon)) => ctrl::print(source(arguments)?, daemon),
        (None, None) => {
            let ldms_config = arguments.ldms_config.as_deref().context("--ldms_config FILE is missing")?;
            if arguments.check {
                return ctrl::check(ldms_config);
            }
            let prefix = match &arguments.prefix {
                Some(prefix) => prefix.clone(),
                None => name_of(ldms_config)?,
            };
            let etcd = cli::etcd_options(arguments.cluster.as_deref())?;
            if arguments.diff {
                let detail = if arguments.verbose { Detail::EveryKey } else { Detail::Folded };
                return ctrl::diff(ldms_config, &prefix, &etcd, detail);
            }
            ctrl::load(ldms_config, &prefix, &etcd)
        }
    }
}

/// Where the cluster is that is not to be loaded.
fn source(arguments: &Arguments) -> anyhow::Result<ctrl::Source> {
    Ok(match &arguments.ldms_config {
        Some(path) => ctrl::Source::File(path.clone()),
        None => ctrl::Source::Etcd {
            options: cli::etcd_options(arguments.cluster.as_deref())?,
            prefix: arguments.prefix.clone(),
        },
    })
}

fn name_of(path: &Path) -> anyhow::Result<String> {
    let name = path.file_stem().and_then(OsStr::to_str);
    Ok(name.context("the file's name cannot name a cluster: give one with --prefix NAME")?.to_owned())
}
