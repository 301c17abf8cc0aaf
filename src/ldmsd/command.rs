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
