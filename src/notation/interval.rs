//! Intervals and offsets: `1.0s`, `0ms`, `1.5S`, `20s`, a bare number of microseconds, or `${VAR}`.

use std::fmt;
use std::sync::Arc;

/// An interval or offset as an operator wrote it, with its value where it has one.
///
/// ldmsd itself understands the notation and expands `${VAR}` from its own environment, so a value
/// with a variable passes through as text and has no number of microseconds here.
///
/// Two intervals are equal when their values are: `1.0s` and `1000000` are the same interval.
#[derive(Debug, Clone)]
pub struct Interval {
    text: Arc<str>,
    us: Option<i64>,
}

impl Interval {
    /// An interval of so many microseconds.
    #[must_use]
    pub fn from_us(us: i64) -> Interval {
        Interval { text: us.to_string().into(), us: Some(us) }
    }

    /// The value in microseconds; `None` for a text with `${VAR}`, which only the daemon can expand.
    #[must_use]
    pub fn us(&self) -> Option<i64> {
        self.us
    }

    /// The text as it was written.
    #[must_use]
    pub fn as_written(&self) -> &str {
        &self.text
    }
}

/// As it is sent to ldmsd: the number of microseconds, or the text with its variable.
impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.us {
            Some(us) => write!(f, "{us}"),
            None => f.write_str(&self.text),
        }
    }
}

impl PartialEq for Interval {
    fn eq(&self, other: &Interval) -> bool {
        match (self.us, other.us) {
            (Some(a), Some(b)) => a == b,
            (None, None) => self.text == other.text,
            _ => false,
        }
    }
}

impl Eq for Interval {}
