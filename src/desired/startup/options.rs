//! Options of a daemon that only its start can set: memory, threads, log, default quota.
//!
//! In the YAML they are keys of a `daemons` entry beside ours. A value becomes `option --KEY VALUE`, as on the command
//! line of ldmsd; a mapping becomes a command of its own, `KEY name=value …` (ldmsd(8), ldmsd_yaml_parser(5)).

use std::collections::BTreeMap;

use crate::ldmsd::{Attribute, Command, Verb};
use crate::spec::diagnostic::nearest;

/// What ldmsd's command line knows and its configuration file takes.
const KNOWN: [&str; 13] = [
    "banner",
    "daemon_name",
    "default_auth",
    "default_auth_args",
    "default_quota",
    "kernel_file",
    "log_config",
    "log_file",
    "log_level",
    "pid_file",
    "publish_kernel",
    "set_memory",
    "worker_threads",
];

/// Names that some of them have had, or that say the same.
const FORMER: [(&str, &str); 4] =
    [("credits", "default_quota"), ("loglevel", "log_level"), ("memory", "set_memory"), ("quota", "default_quota")];

/// An option with which the daemon would not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// No such option.
    #[error("`{option}` is no option of ldmsd{}", .meant.map(|word| format!("; did you mean `{word}`?")).unwrap_or_default())]
    Unknown {
        /// The key.
        option: String,
        /// What was probably meant.
        meant: Option<&'static str>,
    },
    /// More than one word, where the option takes one.
    #[error("the option `{option}` takes one word, and `{value}` is none")]
    NotAWord {
        /// The key.
        option: String,
        /// The value.
        value: String,
    },
}

/// The commands that set the options.
pub(super) fn commands(options: &BTreeMap<String, String>) -> Result<Vec<Command>, OptionError> {
    options.iter().map(|(option, value)| command(option, value)).collect()
}

fn command(option: &str, value: &str) -> Result<Command, OptionError> {
    let known = FORMER.iter().find(|(former, _)| *former == option).map_or(option, |(_, known)| known);
    let has_parameters = !value.is_empty() && value.split_whitespace().all(|word| word.contains('='));
    if let Some(verb) = Verb::from_word(option).filter(|verb| has_parameters && !verb.only_asks()) {
        return Ok(Command::new(verb).with(Attribute::String, value));
    }
    let Some(known) = KNOWN.iter().find(|word| **word == known) else {
        return Err(OptionError::Unknown { option: option.to_owned(), meant: nearest(option, KNOWN) });
    };
    if value.is_empty() || value.contains(char::is_whitespace) {
        return Err(OptionError::NotAWord { option: option.to_owned(), value: value.to_owned() });
    }
    Ok(match *known {
        // As an option it kills a 4.5 daemon, and one of the development head, whose command line has `-v`.
        "log_level" => Command::new(Verb::LogLevel).with(Attribute::Level, value),
        known => Command::new(Verb::Option).with(Attribute::String, format!("--{known} {value}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(option: &str, value: &str) -> Result<String, OptionError> {
        command(option, value).map(|command| command.to_string())
    }

    #[test]
    fn values_are_options_and_mappings_are_commands() {
        assert_eq!(line("set_memory", "512M").unwrap(), "option --set_memory 512M");
        assert_eq!(
            line("default_auth_args", "conf=/etc/secret").unwrap(),
            "option --default_auth_args conf=/etc/secret"
        );
        assert_eq!(line("credits", "1M").unwrap(), "option --default_quota 1M");
        assert_eq!(line("loglevel", "INFO").unwrap(), "log_level level=INFO");
        assert_eq!(
            line("metric_sets_default_authz", "perm=0777 uid=0").unwrap(),
            "metric_sets_default_authz perm=0777 uid=0"
        );
        assert_eq!(line("set_memory", "size=2G").unwrap(), "memory size=2G");
    }

    #[test]
    fn options_with_which_no_daemon_starts_are_refused() {
        let unknown = line("worker_thread", "4").unwrap_err();
        assert_eq!(unknown.to_string(), "`worker_thread` is no option of ldmsd; did you mean `worker_threads`?");
        assert_eq!(line("rack", "A 3").unwrap_err().to_string(), "`rack` is no option of ldmsd");
        assert!(matches!(line("rack", "row=3"), Err(OptionError::Unknown { .. })));
        assert!(matches!(line("log_file", "/tmp/a b"), Err(OptionError::NotAWord { .. })));
    }
}
