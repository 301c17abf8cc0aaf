//! What the two programs share on the command line: how options are spelt, and how they log.

mod files;
mod instance;

use std::ffi::OsString;
use std::io::IsTerminal;

use clap::{Command, ValueEnum};
pub use files::{directory_or_home, etcd_file, etcd_options, read_cluster};
pub use instance::own_member;
use tracing::level_filters::LevelFilter;

/// How much is logged. The names are those of the Python program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lower")]
pub enum LogLevel {
    /// What each daemon is sent, and everything below.
    Debug,
    /// What changed and what is done about it.
    Info,
    /// What is wrong.
    #[value(alias = "warn")]
    Warning,
    /// What stops maestro from doing its work.
    #[value(alias = "critical")]
    Error,
}

impl From<LogLevel> for LevelFilter {
    fn from(level: LogLevel) -> LevelFilter {
        match level {
            LogLevel::Debug => LevelFilter::DEBUG,
            LogLevel::Info => LevelFilter::INFO,
            LogLevel::Warning => LevelFilter::WARN,
            LogLevel::Error => LevelFilter::ERROR,
        }
    }
}

/// Logs to standard error from now on.
pub fn log_to_stderr(level: LogLevel) {
    // Only this crate speaks: the libraries' own debug lines are of no use to an operator.
    let filter = tracing_subscriber::filter::Targets::new().with_target("maestro", LevelFilter::from(level));
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    use tracing_subscriber::prelude::*;
    tracing_subscriber::registry().with(layer).with(filter).init();
}

/// The arguments with every option spelt as `command` spells it: `--log_level` for `--log-level` and
/// the other way round, since scripts have been written for either.
pub fn spelt_as_known(command: &Command, arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let known: Vec<&str> = command.get_arguments().filter_map(clap::Arg::get_long).collect();
    let same = |a: &str, b: &str| a.len() == b.len() && a.replace('_', "-") == b.replace('_', "-");
    let mut options_ended = false;
    arguments
        .map(|argument| {
            let Some(text) = argument.to_str().filter(|_| !options_ended) else { return argument };
            options_ended = text == "--";
            let Some(option) = text.strip_prefix("--") else { return argument };
            let (name, value) = option.split_at(option.find('=').unwrap_or(option.len()));
            match known.iter().find(|known| same(known, name)) {
                Some(known) => format!("--{known}{value}").into(),
                None => argument,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Arg;

    #[test]
    fn options_are_known_in_either_spelling() {
        let command =
            Command::new("test").arg(Arg::new("a").long("ldms_config")).arg(Arg::new("b").long("generate-config-path"));
        let arguments =
            ["--ldms-config", "x_y-z", "--generate_config_path=out_dir", "--other_one", "--", "--ldms-config"];
        let spelt = spelt_as_known(&command, arguments.iter().map(OsString::from));
        assert_eq!(
            spelt,
            ["--ldms_config", "x_y-z", "--generate-config-path=out_dir", "--other_one", "--", "--ldms-config"]
        );
    }
}
