//! The attributes of a request as a daemon sees them, and its reply.

use std::collections::BTreeMap;

use maestro::ldmsd::{Attribute, Numbering};
use regex::{Regex, RegexBuilder};

/// Errnos that an ldmsd answers with.
pub(crate) mod errno {
    pub(crate) const ENOENT: i32 = 2;
    pub(crate) const EBUSY: i32 = 16;
    pub(crate) const EEXIST: i32 = 17;
    pub(crate) const EINVAL: i32 = 22;
    pub(crate) const ENOSYS: i32 = 38;
    pub(crate) const EOPNOTSUPP: i32 = 95;
}

/// The answer to one request: a result code, and perhaps a text or a JSON text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    /// 0, an errno, or a negative number (the wire specification, section 5.1).
    pub(crate) code: i32,
    /// The text, as the daemon formats it: JSON strings are *not* escaped (section 7).
    pub(crate) text: Option<String>,
    /// Whether the text travels as a JSON attribute rather than as a string.
    pub(crate) json: bool,
}

impl Reply {
    pub(crate) fn ok() -> Reply {
        Reply { code: 0, text: None, json: false }
    }

    pub(crate) fn text(text: impl Into<String>) -> Reply {
        Reply { code: 0, text: Some(text.into()), json: false }
    }

    pub(crate) fn json(text: impl Into<String>) -> Reply {
        Reply { code: 0, text: Some(text.into()), json: true }
    }

    pub(crate) fn error(code: i32, text: impl Into<String>) -> Reply {
        Reply { code, text: Some(text.into()), json: false }
    }

    /// A status reply: a list whose elements are separated by a comma and a newline (section 7).
    pub(crate) fn list(elements: impl IntoIterator<Item = String>) -> Reply {
        let elements: Vec<String> = elements.into_iter().collect();
        Reply::json(format!("[{}]", elements.join(",\n")))
    }

    pub(crate) fn unknown_command() -> Reply {
        Reply::error(errno::ENOSYS, "The request is not implemented")
    }
}

/// A handler's result: either way a reply, so that `?` returns the refusal.
pub(crate) type Outcome = Result<Reply, Reply>;

/// The attributes of a request, variables expanded.
///
/// Words that share a number are the same attribute here as they are on the wire; of a repeated attribute the first counts
/// and an empty one counts as absent (section 5.2).
#[derive(Debug, Default)]
pub(crate) struct Attributes(Vec<(u32, String)>);

impl Attributes {
    /// Reads the attributes of a request, expanding `${NAME}` from the daemon's environment.
    pub(crate) fn new(attributes: &[(Attribute, &str)], environment: &BTreeMap<String, String>) -> Attributes {
        let number = |attribute: Attribute| attribute.id(Numbering::V45).unwrap_or(u32::MAX);
        Attributes(attributes.iter().map(|(key, value)| (number(*key), expand(value, environment))).collect())
    }

    /// The value of an attribute.
    pub(crate) fn get(&self, attribute: Attribute) -> Option<&str> {
        let number = attribute.id(Numbering::V45)?;
        let (_, value) = self.0.iter().find(|(key, _)| *key == number)?;
        (!value.is_empty()).then_some(value.as_str())
    }

    /// Whether an attribute was sent, be it as a keyword without a value.
    pub(crate) fn has(&self, attribute: Attribute) -> bool {
        self.0.iter().any(|(key, _)| attribute.id(Numbering::V45) == Some(*key))
    }

    /// The value of a required attribute, refused with `refusal` where it is missing.
    pub(crate) fn require(&self, attribute: Attribute, refusal: impl Into<String>) -> Result<&str, Reply> {
        self.get(attribute).ok_or_else(|| Reply::error(errno::EINVAL, refusal))
    }
}

/// Replaces each `${NAME}`; names that are not set expand to nothing (section 5.2).
fn expand(text: &str, environment: &BTreeMap<String, String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let Some((name, tail)) = after.split_once('}') else { break };
        out.push_str(before);
        out.push_str(environment.get(name).map_or("", String::as_str));
        rest = tail;
    }
    out.push_str(rest);
    out
}

/// A regular expression of a request: POSIX extended and not anchored on the daemon; the engine here agrees on what
/// clusters use. `None` where it is invalid.
pub(crate) fn regular_expression(text: &str) -> Option<Regex> {
    RegexBuilder::new(text).size_limit(64 << 20).build().ok()
}
