//! One command to an ldmsd: a verb with its attributes.
//!
//! The same value prints as a line of an ldmsd v4 configuration file ([`Command`]'s `Display`) and
//! encodes as a request on the wire, so that what maestro sends and what it writes into a
//! configuration file cannot differ.

use std::fmt;

use super::attribute::Attribute;
use super::verb::Verb;

/// A command for one ldmsd.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Command {
    /// What to do.
    pub verb: Verb,
    /// The attributes, in the order in which they are printed and sent. All values are text on the wire.
    pub attributes: Vec<(Attribute, String)>,
}

impl Command {
    /// A command without attributes.
    #[must_use]
    pub fn new(verb: Verb) -> Command {
        Command { verb, attributes: Vec::new() }
    }

    /// The command with one more attribute at the end.
    #[must_use]
    pub fn with(mut self, attribute: Attribute, value: impl ToString) -> Command {
        self.attributes.push((attribute, value.to_string()));
        self
    }

    /// The command with one more attribute where there is a value.
    #[must_use]
    pub fn with_some(self, attribute: Attribute, value: Option<impl ToString>) -> Command {
        match value {
            Some(value) => self.with(attribute, value),
            None => self,
        }
    }

    /// The value of an attribute; of a repeated one the first, which is the one that ldmsd takes.
    #[must_use]
    pub fn get(&self, attribute: Attribute) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| *key == attribute).map(|(_, value)| value.as_str())
    }
}

/// Why words are not a command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// There are no words.
    #[error("a command begins with a verb, such as `prdcr_status`")]
    Empty,
    /// The first word is no verb.
    #[error("there is no verb `{0}`")]
    Verb(String),
    /// A word names no attribute.
    #[error("{verb}: there is no attribute `{word}`")]
    Attribute {
        /// The verb.
        verb: Verb,
        /// What should be its attribute.
        word: String,
    },
}

impl Command {
    /// Reads the words of a line of a configuration file: a verb, then `attribute=value` words.
    ///
    /// As in ldmsd, some verbs hand on whatever they do not know, as the options of a plugin (`config`, `auth_add`), as
    /// variables (`env`), as options of the command line (`option`); and advertisers and bridges say what they are.
    ///
    /// # Errors
    /// A word is no verb or attribute.
    pub fn from_words<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Command, CommandError> {
        let mut words = words.into_iter();
        let word = words.next().ok_or(CommandError::Empty)?;
        let verb = Verb::from_word(word).ok_or_else(|| CommandError::Verb(word.to_owned()))?;
        let mut command = Command::new(verb);
        let mut options = Vec::new();
        for word in words {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            match (Attribute::from_word(key), own_attributes(verb)) {
                (Some(attribute), None) => command = command.with(attribute, value),
                (Some(attribute), Some(own)) if own.contains(&attribute) => command = command.with(attribute, value),
                (_, Some(_)) => options.push(word),
                (None, None) => return Err(CommandError::Attribute { verb, word: key.to_owned() }),
            }
        }
        if !options.is_empty() {
            command = command.with(Attribute::String, options.join(" "));
        }
        let kind = match verb {
            Verb::AdvertiserAdd | Verb::AdvertiserStart => Some("advertiser"),
            Verb::BridgeAdd => Some("bridge"),
            _ => None,
        };
        let is_said = command.get(Attribute::Type).is_some();
        Ok(command.with_some(Attribute::Type, kind.filter(|_| !is_said)))
    }
}

/// The attributes of verbs that hand on all other words as one `string`; `None` for verbs that do not.
fn own_attributes(verb: Verb) -> Option<&'static [Attribute]> {
    use Attribute::{Auth, Host, Name, Plugin, Port, Quota, RxRate, Xprt};
    match verb {
        Verb::Config => Some(&[Name]),
        Verb::AuthAdd => Some(&[Name, Plugin]),
        Verb::DefaultAuth => Some(&[Plugin]),
        Verb::Listen => Some(&[Xprt, Port, Host, Auth, Quota, RxRate]),
        Verb::Env | Verb::Option => Some(&[]),
        _ => None,
    }
}

/// As a line of an ldmsd v4 configuration file. The `string` attribute carries free options
/// (`schema=meminfo perm=0777`), which a configuration file writes without the word.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.verb)?;
        for (attribute, value) in &self.attributes {
            match attribute {
                Attribute::String if value.is_empty() => {}
                Attribute::String => write!(f, " {value}")?,
                _ => write!(f, " {attribute}={value}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn reads(line: &str, attributes: &[(Attribute, &str)]) {
        let command = Command::from_words(line.split(' ')).unwrap();
        let found: Vec<_> = command.attributes.iter().map(|(key, value)| (*key, value.as_str())).collect();
        assert_eq!(found, attributes, "{line}");
        assert_eq!(Command::from_words(command.to_string().split(' ')), Ok(command), "{line}, printed and read again");
    }

    #[test]
    fn words_are_read_as_ldmsd_reads_a_line() {
        use Attribute::{AutoInterval, Interval, Name, Plugin, Port, Regex, String, Test, Type, Xprt};
        reads(
            "updtr_start name=u interval=1s auto_interval=true",
            &[(Name, "u"), (Interval, "1s"), (AutoInterval, "true")],
        );
        reads("prdcr_start_regex regex=^(a|b=c)$", &[(Regex, "^(a|b=c)$")]);
        reads("greeting test", &[(Test, "")]);
        reads(
            "config name=m producer=n1 instance=n1/m schema=m quiet",
            &[(Name, "m"), (String, "producer=n1 instance=n1/m schema=m quiet")],
        );
        reads("auth_add name=d plugin=ovis conf=/f", &[(Name, "d"), (Plugin, "ovis"), (String, "conf=/f")]);
        reads("env HOME=/root TEST=", &[(String, "HOME=/root TEST=")]);
        reads("listen xprt=sock port=411 conf=/f", &[(Xprt, "sock"), (Port, "411"), (String, "conf=/f")]);
        reads("advertiser_start name=a", &[(Name, "a"), (Type, "advertiser")]);
        reads("advertiser_add name=a type=advertiser", &[(Name, "a"), (Type, "advertiser")]);
    }

    #[test]
    fn words_that_mean_nothing_are_named() {
        let error = |line: &str| Command::from_words(line.split(' ')).unwrap_err().to_string();
        assert_eq!(error("prdcr_ad name=p"), "there is no verb `prdcr_ad`");
        assert_eq!(error("prdcr_add nmae=p"), "prdcr_add: there is no attribute `nmae`");
        assert_eq!(Command::from_words([]), Err(CommandError::Empty));
    }
}
