//! Hostlists: `sampler-[1-8]`, `node-[01-10]-[10001-10002]`, `a[1-3,5],b`.
//!
//! A hostlist names many things in one word. Brackets hold numbers and ranges of numbers; where a word has several,
//! the last varies fastest. Commas, inside brackets or outside, list alternatives. The order is the order of
//! writing, never sorted, and nothing is dropped: `a,a` is two names.

use std::fmt::Write as _;

/// The most names that one hostlist may stand for.
pub const MAX_NAMES: u64 = 1_000_000;

/// The most bytes that the names of one hostlist may take together.
const MAX_BYTES: u64 = 64 << 20;

/// What is wrong with a hostlist, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{fault}")]
pub struct HostlistError {
    /// The byte at which the fault begins.
    pub offset: usize,
    /// The fault; it prints as a message.
    pub fault: HostlistFault,
}

/// The kinds of faults of a hostlist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostlistFault {
    /// No name at all, or nothing between two commas.
    #[error("a name is missing here")]
    EmptyName,
    /// White space within a name.
    #[error("a name must not contain white space")]
    Space,
    /// `[` without `]`.
    #[error("this bracket is never closed")]
    Unclosed,
    /// `]` without `[`.
    #[error("this bracket was never opened")]
    Unopened,
    /// `[` within brackets.
    #[error("brackets cannot be nested")]
    Nested,
    /// `[]`, `[1,,2]` or `[1-]`.
    #[error("a number is missing here")]
    EmptyRange,
    /// Something other than a number within brackets.
    #[error("`{0}` is not a number")]
    NotANumber(String),
    /// `[8-1]`.
    #[error("the range {first}-{last} counts downwards")]
    Reversed {
        /// The first number as written.
        first: String,
        /// The last number as written.
        last: String,
    },
    /// More than [`MAX_NAMES`] names, or too much text.
    #[error("this stands for too many names (at most {MAX_NAMES})")]
    TooMany,
}

impl HostlistFault {
    /// What the operator may write instead.
    #[must_use]
    pub fn help(&self) -> String {
        match self {
            HostlistFault::EmptyName => "write a name, such as `node-[1-8]`, or remove the comma".into(),
            HostlistFault::Space => "separate names by commas: `a,b`".into(),
            HostlistFault::Unclosed => "write `]` after the last number: `node-[1-8]`".into(),
            HostlistFault::Unopened => "write `[` before the first number: `node-[1-8]`".into(),
            HostlistFault::Nested => "list the numbers in one pair of brackets: `node-[1-4,7]`".into(),
            HostlistFault::EmptyRange => "write a number or a range: `[1-8]`".into(),
            HostlistFault::NotANumber(_) => {
                "brackets hold numbers and ranges, such as `[1-4,7]`; list other names outside: `a,b`".into()
            }
            HostlistFault::Reversed { first, last } => format!("write `[{last}-{first}]`"),
            HostlistFault::TooMany => "check the ranges, or split the list".into(),
        }
    }
}

/// The names that a hostlist stands for, in the order of writing.
///
/// White space around names and numbers is ignored. A range that begins with a zero keeps its width: `[08-10]` is
/// `08`, `09`, `10`.
///
/// # Errors
///
/// [`HostlistError`] with the byte offset of the first fault. The number of names is checked before any is made.
pub fn expand(text: &str) -> Result<Vec<String>, HostlistError> {
    let words = split_words(text)?
        .into_iter()
        .map(|(offset, word)| parse_word(offset, word))
        .collect::<Result<Vec<Word<'_>>, _>>()?;
    check_size(&words)?;
    let mut names = Vec::new();
    for word in &words {
        word.expand_into(&mut names);
    }
    Ok(names)
}

/// The shortest usual way to write names as a hostlist: runs of consecutive numbers become ranges.
///
/// For names without commas, brackets and white space, [`expand`] gives the same names in the same order.
#[must_use]
pub fn fold<S: AsRef<str>>(names: &[S]) -> String {
    let mut text = String::new();
    let mut rest = names;
    while let Some(first) = rest.first() {
        let first = first.as_ref();
        let run = longest_run(rest);
        if !text.is_empty() {
            text.push(',');
        }
        match run.number {
            Some((start, end)) => {
                let last = format_number(parse_digits(&first[start..end]) + run.length as u128 - 1, end - start);
                // Writing to a String cannot fail.
                let _ = write!(text, "{}[{}-{last}]{}", &first[..start], &first[start..end], &first[end..]);
            }
            None => text.push_str(first),
        }
        rest = &rest[run.length..];
    }
    text
}

/// A word of a hostlist: text and brackets in turn.
struct Word<'t> {
    offset: usize,
    parts: Vec<Part<'t>>,
}

enum Part<'t> {
    Text(&'t str),
    Numbers(Vec<Range>),
}

/// Consecutive numbers, printed at least `width` digits wide.
struct Range {
    first: u64,
    last: u64,
    width: usize,
}

impl Range {
    fn count(&self) -> u64 {
        // The difference of two u64 with first <= last; only 0-u64::MAX would overflow by one.
        (self.last - self.first).saturating_add(1)
    }
}

impl Word<'_> {
    fn count(&self) -> u64 {
        self.parts.iter().fold(1, |count: u64, part| match part {
            Part::Text(_) => count,
            Part::Numbers(ranges) => {
                count.saturating_mul(ranges.iter().fold(0, |sum: u64, range| sum.saturating_add(range.count())))
            }
        })
    }

    /// The length of the longest name.
    fn name_bytes(&self) -> u64 {
        let bytes = self.parts.iter().map(|part| match part {
            Part::Text(text) => text.len(),
            Part::Numbers(ranges) => ranges.iter().map(|range| range.width.max(20)).max().unwrap_or(0),
        });
        bytes.sum::<usize>() as u64
    }

    /// Counts like an odometer, the last bracket fastest; each name is written once, in time linear in its length.
    fn expand_into(&self, names: &mut Vec<String>) {
        let wheels: Vec<Vec<String>> = self
            .parts
            .iter()
            .map(|part| match part {
                Part::Text(text) => vec![(*text).to_owned()],
                Part::Numbers(ranges) => ranges
                    .iter()
                    .flat_map(|range| (range.first..=range.last).map(|n| format_number(n.into(), range.width)))
                    .collect(),
            })
            .collect();
        let mut at = vec![0; wheels.len()];
        for _ in 0..self.count() {
            names.push(wheels.iter().zip(&at).map(|(wheel, &position)| wheel[position].as_str()).collect());
            for (position, wheel) in at.iter_mut().zip(&wheels).rev() {
                *position += 1;
                if *position < wheel.len() {
                    break;
                }
                *position = 0;
            }
        }
    }
}

/// Splits at the commas outside brackets.
fn split_words(text: &str) -> Result<Vec<(usize, &str)>, HostlistError> {
    let mut words = Vec::new();
    let mut start = 0;
    let mut opened = None;
    for (offset, character) in text.char_indices() {
        match (character, opened) {
            ('[', Some(_)) => return Err(fault(offset, HostlistFault::Nested)),
            ('[', None) => opened = Some(offset),
            (']', None) => return Err(fault(offset, HostlistFault::Unopened)),
            (']', Some(_)) => opened = None,
            (',', None) => {
                words.push((start, &text[start..offset]));
                start = offset + 1;
            }
            _ => {}
        }
    }
    if let Some(offset) = opened {
        return Err(fault(offset, HostlistFault::Unclosed));
    }
    words.push((start, &text[start..]));
    Ok(words)
}

fn parse_word(offset: usize, word: &str) -> Result<Word<'_>, HostlistError> {
    let (offset, word) = trim(offset, word);
    if word.is_empty() {
        return Err(fault(offset, HostlistFault::EmptyName));
    }
    let mut parts = Vec::new();
    let mut rest = word;
    while !rest.is_empty() {
        let here = offset + word.len() - rest.len();
        let end = if let Some(inside) = rest.strip_prefix('[') {
            // split_words has seen the brackets in pairs, so the end is always found.
            let length = inside.find(']').unwrap_or(inside.len());
            parts.push(Part::Numbers(parse_ranges(here + 1, &inside[..length])?));
            (length + 2).min(rest.len())
        } else {
            let end = rest.find('[').unwrap_or(rest.len());
            if let Some(space) = rest[..end].find(char::is_whitespace) {
                return Err(fault(here + space, HostlistFault::Space));
            }
            parts.push(Part::Text(&rest[..end]));
            end
        };
        rest = &rest[end..];
    }
    Ok(Word { offset, parts })
}

/// The inside of a bracket.
fn parse_ranges(offset: usize, text: &str) -> Result<Vec<Range>, HostlistError> {
    let mut ranges = Vec::new();
    let mut start = 0;
    for piece in text.split(',') {
        let (here, range) = trim(offset + start, piece);
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let numbers = (parse_number(here, first)?, parse_number(here + range.len() - last.len(), last)?);
        if numbers.0 > numbers.1 {
            let reversed = HostlistFault::Reversed { first: first.trim().into(), last: last.trim().into() };
            return Err(fault(here, reversed));
        }
        ranges.push(Range { first: numbers.0, last: numbers.1, width: first.trim().len() });
        start += piece.len() + 1;
    }
    Ok(ranges)
}

fn parse_number(offset: usize, text: &str) -> Result<u64, HostlistError> {
    let (offset, digits) = trim(offset, text);
    if digits.is_empty() {
        return Err(fault(offset, HostlistFault::EmptyRange));
    }
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(fault(offset, HostlistFault::NotANumber(digits.into())));
    }
    digits.parse().map_err(|_| fault(offset, HostlistFault::TooMany))
}

fn check_size(words: &[Word<'_>]) -> Result<(), HostlistError> {
    let (mut names, mut bytes) = (0_u64, 0_u64);
    for word in words {
        names = names.saturating_add(word.count());
        bytes = bytes.saturating_add(word.count().saturating_mul(word.name_bytes()));
        if names > MAX_NAMES || bytes > MAX_BYTES {
            return Err(fault(word.offset, HostlistFault::TooMany));
        }
    }
    Ok(())
}

/// The text without surrounding white space, and where it begins.
fn trim(offset: usize, text: &str) -> (usize, &str) {
    let trimmed = text.trim_start();
    (offset + text.len() - trimmed.len(), trimmed.trim_end())
}

fn fault(offset: usize, fault: HostlistFault) -> HostlistError {
    HostlistError { offset, fault }
}

/// How many of the first names count upwards in one of their numbers, and where in the first name that number is.
struct Run {
    length: usize,
    number: Option<(usize, usize)>,
}

fn longest_run<S: AsRef<str>>(names: &[S]) -> Run {
    let single = Run { length: 1, number: None };
    let [first, second, ..] = names else { return single };
    let (first, second) = (first.as_ref(), second.as_ref());
    let Some((start, end)) =
        digit_runs(first).into_iter().find(|&(start, end)| counts_to(first, start, end, 1) == second)
    else {
        return single;
    };
    let length = (2..names.len())
        .find(|&step| counts_to(first, start, end, step as u128) != names[step].as_ref())
        .unwrap_or(names.len());
    Run { length, number: Some((start, end)) }
}

/// `name` with the number at `start..end` counted up by `step`.
fn counts_to(name: &str, start: usize, end: usize, step: u128) -> String {
    let number = format_number(parse_digits(&name[start..end]) + step, end - start);
    format!("{}{number}{}", &name[..start], &name[end..])
}

/// Where a name has numbers that fit a range.
fn digit_runs(name: &str) -> Vec<(usize, usize)> {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for (offset, _) in name.bytes().enumerate().filter(|(_, byte)| byte.is_ascii_digit()) {
        match runs.last_mut() {
            Some((_, end)) if *end == offset => *end += 1,
            _ => runs.push((offset, offset + 1)),
        }
    }
    // A number of 19 digits can be counted on without leaving u64.
    runs.retain(|(start, end)| end - start < 19);
    runs
}

fn parse_digits(digits: &str) -> u128 {
    digits.bytes().fold(0, |number, digit| number * 10 + u128::from(digit - b'0'))
}

fn format_number(number: u128, width: usize) -> String {
    format!("{number:0width$}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn assert_expands(text: &str, names: &[&str]) {
        assert_eq!(expand(text).unwrap(), names, "{text}");
    }

    #[track_caller]
    fn assert_fault(text: &str, offset: usize, expected: HostlistFault) {
        assert_eq!(expand(text), Err(fault(offset, expected)), "{text}");
    }

    #[test]
    fn expands_in_the_order_of_writing() {
        assert_expands("l2-agg", &["l2-agg"]);
        assert_expands("n-[9-11]", &["n-9", "n-10", "n-11"]);
        assert_expands("n[3,1-2]x", &["n3x", "n1x", "n2x"]);
        assert_expands("a[1-3,5],b", &["a1", "a2", "a3", "a5", "b"]);
        assert_expands("[10002]", &["10002"]);
        assert_expands(" a , b[ 1 - 2 , 4 ] ", &["a", "b1", "b2", "b4"]);
        assert_expands("a,a", &["a", "a"]);
    }

    #[test]
    fn the_last_bracket_varies_fastest() {
        assert_expands(
            "node-[1-3]-[10001-10002]",
            &["node-1-10001", "node-1-10002", "node-2-10001", "node-2-10002", "node-3-10001", "node-3-10002"],
        );
        assert_expands("[1-2][1-2]", &["11", "12", "21", "22"]);
    }

    #[test]
    fn leading_zeros_keep_the_width() {
        assert_expands("n[08-11]", &["n08", "n09", "n10", "n11"]);
        assert_expands("n[099-101]", &["n099", "n100", "n101"]);
        assert_expands("n[08-9]", &["n08", "n09"]);
        assert_expands("n[8-08]", &["n8"]);
    }

    #[test]
    fn says_where_and_what_is_wrong() {
        assert_fault("", 0, HostlistFault::EmptyName);
        assert_fault("a,,b", 2, HostlistFault::EmptyName);
        assert_fault("a,", 2, HostlistFault::EmptyName);
        assert_fault("node 1", 4, HostlistFault::Space);
        assert_fault("node-[1-8", 5, HostlistFault::Unclosed);
        assert_fault("node-1-8]", 8, HostlistFault::Unopened);
        assert_fault("a[1-[2]]", 4, HostlistFault::Nested);
        assert_fault("a[]", 2, HostlistFault::EmptyRange);
        assert_fault("a[1,,2]", 4, HostlistFault::EmptyRange);
        assert_fault("a[1-]", 4, HostlistFault::EmptyRange);
        assert_fault("a[1,x]", 4, HostlistFault::NotANumber("x".into()));
        assert_fault("a[1-2-3]", 4, HostlistFault::NotANumber("2-3".into()));
        assert_fault("ä[8-1]", 3, HostlistFault::Reversed { first: "8".into(), last: "1".into() });
        assert_eq!(expand("a[8-1]").unwrap_err().fault.help(), "write `[1-8]`");
    }

    #[test]
    fn the_size_is_bounded_before_anything_is_made() {
        assert_eq!(expand("n[1-1000000]").unwrap().len(), 1_000_000);
        for text in [
            "n[1-1000001]",
            "n[0-999999],m",
            "n[0-18446744073709551615]",
            "n[1-99999999999999999999]",
            "[0-9999][0-9999][0-9999][0-9999][0-9999][0-9999]",
        ] {
            assert_eq!(expand(text).unwrap_err().fault, HostlistFault::TooMany, "{text}");
        }
        let long_name = format!("{}[1-100000]", "x".repeat(10_000));
        assert_eq!(expand(&long_name).unwrap_err().fault, HostlistFault::TooMany);
        // Linear, not quadratic, in the number of brackets.
        assert_eq!(expand(&"[1]".repeat(100_000)).unwrap(), ["1".repeat(100_000)]);
    }

    #[test]
    fn folds_runs_of_numbers() {
        assert_eq!(fold(&["node-11", "node-12", "node-13"]), "node-[11-13]");
        assert_eq!(fold(&["node-1-10002", "node-2-10002"]), "node-[1-2]-10002");
        assert_eq!(fold(&["n09", "n10", "x", "n3"]), "n[09-10],x,n3");
        assert_eq!(fold(&["n9", "n10", "n12"]), "n[9-10],n12");
        assert_eq!(fold(&["n1", "n02"]), "n1,n02");
        assert_eq!(fold::<&str>(&[]), "");
    }

    /// One word as the naive model sees it: text and lists of numbers.
    fn word() -> impl Strategy<Value = Vec<(String, Vec<String>)>> {
        let bracket = prop::collection::vec((0_u32..30, 0_u32..4, 1_usize..4), 1..3).prop_map(|ranges| {
            let pieces = ranges.iter().map(|(first, more, width)| format!("{first:0width$}-{}", first + more));
            let numbers = ranges
                .iter()
                .flat_map(|(first, more, width)| {
                    let width = format!("{first:0width$}").len();
                    (*first..=first + more).map(move |n| format!("{n:0width$}"))
                })
                .collect();
            (format!("[{}]", pieces.collect::<Vec<_>>().join(",")), numbers)
        });
        let text = "[a-z][a-z0-9-]{0,4}".prop_map(|text| (text.clone(), vec![text]));
        prop::collection::vec(prop_oneof![bracket, text], 1..4)
    }

    proptest! {
        #[test]
        fn agrees_with_the_naive_model(words in prop::collection::vec(word(), 1..4)) {
            let text: Vec<String> = words.iter().map(|word| word.iter().map(|part| part.0.as_str()).collect()).collect();
            let expected: Vec<String> = words
                .iter()
                .flat_map(|word| {
                    word.iter().fold(vec![String::new()], |names, (_, choices)| {
                        names.iter().flat_map(|name| choices.iter().map(move |c| format!("{name}{c}"))).collect()
                    })
                })
                .collect();
            prop_assert_eq!(expand(&text.join(",")).unwrap(), expected);
        }

        #[test]
        fn never_panics(text in "[a\\[\\],0-9 ä-]{0,24}") {
            if let Err(error) = expand(&text) {
                prop_assert!(text.is_char_boundary(error.offset), "{error:?}");
            }
        }

        #[test]
        fn what_is_folded_expands_again(names in prop::collection::vec("[ab]{0,1}-?[0-9]{1,3}", 1..12)) {
            prop_assert_eq!(expand(&fold(&names)).unwrap(), names);
        }
    }
}
