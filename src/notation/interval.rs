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
    /// Reads an interval or offset: a decimal number, then a unit (`us`, `ms`, `s`, `m`, `h`, `d` in either case, or a
    /// word that begins with `micro` or `milli`). Without a unit it counts microseconds. An offset may be negative.
    ///
    /// # Errors
    ///
    /// [`IntervalError`] where the text is none of these; `${VAR}` anywhere makes it a text for the daemon to read.
    pub fn parse(text: &str) -> Result<Interval, IntervalError> {
        let text = text.trim();
        if text.contains("${") {
            return Ok(Interval { text: text.into(), us: None });
        }
        Ok(Interval { text: text.into(), us: Some(parse_us(text)?) })
    }

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

/// What is wrong with an interval.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IntervalError {
    /// Not a number with a unit.
    #[error("`{0}` is not an interval")]
    NotAnInterval(String),
    /// A number with something else than a unit behind it.
    #[error("`{0}` is not a unit of time")]
    UnknownUnit(String),
    /// A fraction of a microsecond.
    #[error("`{0}` is finer than a microsecond")]
    TooFine(String),
    /// Beyond 64 bits of microseconds, some 290 000 years.
    #[error("`{0}` is too long")]
    TooLong(String),
}

impl IntervalError {
    /// What the operator may write instead.
    #[must_use]
    pub fn help(&self) -> &'static str {
        "write a number with a unit (us, ms, s, m, h, d), such as `1.5s` or `100ms`; a bare number counts microseconds"
    }
}

fn parse_us(text: &str) -> Result<i64, IntervalError> {
    let not_an_interval = || IntervalError::NotAnInterval(text.into());
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, unit) = unsigned.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return Err(not_an_interval());
    }
    let unit_us = unit_us(unit.trim()).ok_or_else(|| IntervalError::UnknownUnit(unit.trim().into()))?;

    // In whole numbers, so that 0.1s is exactly 100 000 us.
    let too_long = || IntervalError::TooLong(text.into());
    let fraction = fraction.trim_end_matches('0');
    let digits: i128 = format!("0{whole}{fraction}").parse().map_err(|_| too_long())?;
    let scale = u32::try_from(fraction.len()).ok().and_then(|exponent| 10_i128.checked_pow(exponent));
    let scaled = digits.checked_mul(unit_us.into()).ok_or_else(too_long)?;
    let scale = scale.ok_or_else(|| IntervalError::TooFine(text.into()))?;
    if scaled % scale != 0 {
        return Err(IntervalError::TooFine(text.into()));
    }
    let us = i64::try_from(scaled / scale).map_err(|_| too_long())?;
    Ok(if negative { -us } else { us })
}

/// The microseconds of a unit.
fn unit_us(unit: &str) -> Option<i64> {
    let unit = unit.to_ascii_lowercase();
    match unit.as_str() {
        "" | "us" => Some(1),
        "ms" => Some(1_000),
        "s" => Some(1_000_000),
        "m" => Some(60_000_000),
        "h" => Some(3_600_000_000),
        "d" => Some(86_400_000_000),
        word if word.starts_with("micro") => Some(1),
        word if word.starts_with("milli") => Some(1_000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn assert_us(text: &str, us: i64) {
        assert_eq!(Interval::parse(text).unwrap().us(), Some(us), "{text}");
    }

    #[test]
    fn reads_every_unit() {
        assert_us("1.0s", 1_000_000);
        assert_us("0ms", 0);
        assert_us("1.5S", 1_500_000);
        assert_us("20s", 20_000_000);
        assert_us("250us", 250);
        assert_us("1m", 60_000_000);
        assert_us("2H", 7_200_000_000);
        assert_us("1d", 86_400_000_000);
        assert_us("3 microseconds", 3);
        assert_us("3 MilliSeconds", 3_000);
        assert_us(".1s", 100_000);
        assert_us("-100ms", -100_000);
    }

    #[test]
    fn a_bare_number_counts_microseconds() {
        assert_us("1000000", 1_000_000);
        assert_us("2.0", 2);
    }

    #[test]
    fn a_variable_is_left_to_the_daemon() {
        let interval = Interval::parse("${SAMPLE_INTERVAL}s").unwrap();
        assert_eq!(interval.us(), None);
        assert_eq!(interval.to_string(), "${SAMPLE_INTERVAL}s");
    }

    #[test]
    fn equal_times_are_equal_however_written() {
        assert_eq!(Interval::parse("1.0s"), Interval::parse("1000000"));
        assert_ne!(Interval::parse("1.0s"), Interval::parse("1ms"));
        assert_eq!(Interval::parse("1.0s").unwrap().as_written(), "1.0s");
        assert_eq!(Interval::parse("1.0s").unwrap().to_string(), "1000000");
    }

    #[test]
    fn refuses_what_is_no_interval() {
        for text in ["", "s", "-", "1.2.3s", ".", "soon"] {
            assert_eq!(Interval::parse(text), Err(IntervalError::NotAnInterval(text.into())), "{text}");
        }
        assert_eq!(Interval::parse("5 parsecs"), Err(IntervalError::UnknownUnit("parsecs".into())));
        assert_eq!(Interval::parse("1.5"), Err(IntervalError::TooFine("1.5".into())));
        assert_eq!(Interval::parse("106751992d"), Err(IntervalError::TooLong("106751992d".into())));
    }

    proptest! {
        #[test]
        fn never_panics(text in "[-+0-9.a-z$ \\{\\}]{0,60}") {
            let _ = Interval::parse(&text);
        }

        #[test]
        fn what_is_sent_reads_as_the_same(us in any::<i64>().prop_filter("has an opposite", |us| *us != i64::MIN)) {
            let interval = Interval::from_us(us);
            prop_assert_eq!(Interval::parse(&interval.to_string()).unwrap(), interval);
        }
    }
}
