//! What is wrong with a file, where, and what to write instead.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file can be used, but probably does not mean what it says.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        })
    }
}

/// A place in a file; both count from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

/// A message about a place in a file.
///
/// It prints as `FILE:LINE:COLUMN: error: message`, the line with a caret below the place, and the help.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The name of the file as the operator gave it.
    pub file: Arc<str>,
    /// Where.
    pub position: Position,
    /// What is wrong.
    pub message: String,
    /// The offending line, of a very long one the part around the place.
    pub excerpt: String,
    /// The column at which the excerpt begins.
    pub excerpt_column: usize,
    /// What to write instead.
    pub help: Option<String>,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Position { line, column } = self.position;
        write!(f, "{}:{line}:{column}: {}: {}", self.file, self.severity, self.message)?;
        if !self.excerpt.is_empty() {
            let number = line.to_string();
            let gutter = " ".repeat(number.len());
            let indent = " ".repeat(column.saturating_sub(self.excerpt_column));
            write!(f, "\n {number} | {}\n {gutter} | {indent}^", self.excerpt)?;
        }
        if let Some(help) = &self.help {
            write!(f, "\n help: {help}")?;
        }
        Ok(())
    }
}

/// The longest part of a line that is shown, in characters.
const EXCERPT_COLUMNS: usize = 160;

/// Of a line with more bytes nothing is shown: nobody wrote it by hand, and looking for the place takes time.
const MAX_LINE_BYTES: usize = 64 << 10;

/// A message or help with more characters is cut in the middle.
const MAX_MESSAGE_CHARS: usize = 600;

/// The most diagnostics of one file; whoever has more has a program to mend.
const MAX_DIAGNOSTICS: usize = 1_000;

/// The most text that one file may stand for once its hostlists are expanded, in bytes: some ten times as much as a
/// cluster of 30 000 daemons has.
const MAX_EXPANDED_BYTES: usize = 512 << 20;

/// Collects the diagnostics of one file.
///
/// All readers of the file share one; none of them stops at the first error.
pub(super) struct Report<'t> {
    file: Arc<str>,
    lines: Vec<&'t str>,
    diagnostics: RefCell<Vec<Diagnostic>>,
    said: RefCell<HashSet<(Position, String)>>,
    expanded_bytes: Cell<usize>,
    /// What may be shown of a line where the file may hold a secret.
    harmless: Option<fn(&str) -> &str>,
}

impl<'t> Report<'t> {
    pub(super) fn new(file: &str, text: &'t str) -> Report<'t> {
        Report {
            file: file.into(),
            lines: text.lines().collect(),
            diagnostics: RefCell::default(),
            said: RefCell::default(),
            expanded_bytes: Cell::new(0),
            harmless: None,
        }
    }

    /// The report of a file that may hold secrets; `harmless` gives the beginning of a line that may be shown.
    pub(super) fn secretive(file: &str, text: &'t str, harmless: fn(&str) -> &str) -> Report<'t> {
        Report { harmless: Some(harmless), ..Report::new(file, text) }
    }

    /// Whether the file may hold secrets.
    pub(super) fn is_secretive(&self) -> bool {
        self.harmless.is_some()
    }

    /// Whether so much more text may be made of the file; reported where it may not.
    pub(super) fn afford(&self, bytes: usize, position: Position) -> bool {
        let expanded = self.expanded_bytes.get().saturating_add(bytes);
        let affordable = expanded <= MAX_EXPANDED_BYTES;
        if affordable {
            self.expanded_bytes.set(expanded);
        } else if self.expanded_bytes.replace(usize::MAX) != usize::MAX {
            // Said once, for whatever comes after is no better.
            self.error(position, "with this the hostlists of the file stand for too much text", "check their ranges");
        }
        affordable
    }

    /// Whether the file stands for more text than it may.
    pub(super) fn is_exhausted(&self) -> bool {
        self.expanded_bytes.get() == usize::MAX
    }

    /// Notes an error, with what to write instead.
    pub(super) fn error(&self, position: Position, message: impl Into<String>, help: impl Into<String>) {
        self.add(Severity::Error, position, message.into(), help.into());
    }

    /// Notes an error unless its place has one already: for a mistake that shows once for each name of a hostlist.
    pub(super) fn error_once_for(&self, position: Position, message: impl Into<String>, help: impl Into<String>) {
        if !self.diagnostics.borrow().iter().any(|diagnostic| diagnostic.position == position) {
            self.error(position, message, help);
        }
    }

    /// Notes a warning, with what to write instead.
    pub(super) fn warning(&self, position: Position, message: impl Into<String>, help: impl Into<String>) {
        self.add(Severity::Warning, position, message.into(), help.into());
    }

    /// The place of byte `offset` within a scalar at `position`, or the beginning of the scalar where it does not
    /// stand there as it reads (an alias, an escape, several lines).
    pub(super) fn within(&self, position: Position, text: &str, offset: usize) -> Position {
        let Some(before) = text.get(..offset) else { return position };
        let line = self.line(position.line);
        if line.len() > MAX_LINE_BYTES {
            return position;
        }
        let line: Vec<char> = line.chars().collect();
        let mut start = position.column - 1;
        if line.get(start) == Some(&'&') {
            let anchor = line[start..].iter().take_while(|c| !c.is_whitespace()).count();
            let space = line[start + anchor..].iter().take_while(|c| c.is_whitespace()).count();
            start += anchor + space;
        }
        start += usize::from(matches!(line.get(start), Some('"' | '\'')));
        let stands_as_it_reads =
            line.get(start..).is_some_and(|rest| text.chars().eq(rest.iter().copied().take(text.chars().count())));
        if stands_as_it_reads { Position { column: start + 1 + before.chars().count(), ..position } } else { position }
    }

    pub(super) fn has_errors(&self) -> bool {
        self.diagnostics.borrow().iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    /// Everything that was noted, in the order of the file.
    pub(super) fn into_diagnostics(self) -> Vec<Diagnostic> {
        let mut diagnostics = self.diagnostics.into_inner();
        diagnostics.sort_by_key(|diagnostic| diagnostic.position);
        diagnostics
    }

    fn line(&self, line: usize) -> &'t str {
        self.lines.get(line.wrapping_sub(1)).copied().unwrap_or("")
    }

    fn add(&self, severity: Severity, position: Position, message: String, help: String) {
        let mut diagnostics = self.diagnostics.borrow_mut();
        if diagnostics.len() > MAX_DIAGNOSTICS {
            return;
        }
        let (mut message, mut help) = (shortened(message), shortened(help));
        if diagnostics.len() == MAX_DIAGNOSTICS {
            message = format!("there are further mistakes than these {MAX_DIAGNOSTICS}");
            help = "mend these first".into();
        }
        // A value that several places share through an alias is read, and found wrong, several times.
        if !self.said.borrow_mut().insert((position, message.clone())) {
            return;
        }
        let (excerpt, excerpt_column) = self.excerpt(position);
        diagnostics.push(Diagnostic {
            severity,
            file: Arc::clone(&self.file),
            position,
            message,
            excerpt,
            excerpt_column,
            help: Some(help).filter(|help| !help.is_empty()),
        });
    }

    /// The part of a line around a place, and the column at which it begins.
    fn excerpt(&self, position: Position) -> (String, usize) {
        let mut line = self.line(position.line);
        if let Some(harmless) = self.harmless {
            line = harmless(line);
        }
        if line.len() > MAX_LINE_BYTES {
            return (String::new(), 1);
        }
        let column = position.column;
        let skipped = if column > EXCERPT_COLUMNS { column - EXCERPT_COLUMNS / 2 } else { 0 };
        let shown = line.chars().skip(skipped).take(EXCERPT_COLUMNS);
        let shown: String = shown.map(|c| if c.is_control() { ' ' } else { c }).collect();
        (shown.trim_end().to_owned(), skipped + 1)
    }
}

/// The text without its middle where it is very long.
fn shortened(text: String) -> String {
    let length = text.chars().count();
    if length <= MAX_MESSAGE_CHARS {
        return text;
    }
    let half = MAX_MESSAGE_CHARS / 2;
    text.chars().take(half).chain(['…']).chain(text.chars().skip(length - half)).collect()
}

/// The candidate that `word` was probably meant to be.
pub(crate) fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let word: Vec<char> = word.to_lowercase().chars().collect();
    let limit = (word.len() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .filter_map(|candidate| Some((edit_distance(&word, candidate, limit)?, candidate)))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// How many letters must be inserted, deleted, replaced or swapped with their neighbour to turn one word, in lower case,
/// into the other, regardless of case; `None` where it is more than `limit`.
fn edit_distance(left: &[char], right: &str, limit: usize) -> Option<usize> {
    // Beginnings and ends of words of very different lengths need not be looked at.
    if right.len() + limit < left.len() {
        return None;
    }
    let right: Vec<char> = right.to_lowercase().chars().collect();
    if left.len().abs_diff(right.len()) > limit {
        return None;
    }
    // Three rows of the table of distances between beginnings of the words.
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=right.len()).collect();
    for (i, &a) in left.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, &b) in right.iter().enumerate() {
            let mut distance = (last[j] + usize::from(a != b)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a == right[j - 1] && left[i - 1] == b {
                distance = distance.min(before_last[j - 1] + 1);
            }
            row.push(distance);
        }
        if row.iter().min() > Some(&limit) {
            return None;
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last.last().copied().filter(|distance| *distance <= limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_the_line_with_a_caret_and_the_help() {
        let report = Report::new("ldms.yaml", "daemons:\n  - nmaes: a\n");
        report.error(Position { line: 2, column: 5 }, "unknown key `nmaes`", "did you mean `names`?");
        let diagnostics = report.into_diagnostics();
        assert_eq!(
            diagnostics[0].to_string(),
            "ldms.yaml:2:5: error: unknown key `nmaes`\n 2 |   - nmaes: a\n   |     ^\n help: did you mean `names`?"
        );
    }

    #[test]
    fn a_very_long_line_is_cut_around_the_place() {
        let text = format!("{}x{}", "a".repeat(1000), "b".repeat(1000));
        let report = Report::new("f", &text);
        report.warning(Position { line: 1, column: 1001 }, "m", "");
        let printed = report.into_diagnostics()[0].to_string();
        let lines: Vec<&str> = printed.lines().collect();
        assert_eq!(lines[1].find('x'), lines[2].find('^'));
        assert!(lines[1].len() < 200, "{printed}");
    }

    #[test]
    fn a_line_that_nobody_wrote_is_not_shown_and_a_message_is_short() {
        let text = "x".repeat(10 << 20);
        let report = Report::new("f", &text);
        report.error(Position { line: 1, column: 5_000_000 }, format!("`{text}`"), "");
        assert!(report.into_diagnostics()[0].to_string().len() < 1_000);
    }

    #[test]
    fn nobody_is_shown_ten_thousand_mistakes() {
        let report = Report::new("f", "");
        for line in 1..=10_000 {
            report.error(Position { line, column: 1 }, "m", "");
        }
        let diagnostics = report.into_diagnostics();
        assert_eq!(diagnostics.len(), 1_001);
        assert!(diagnostics[1_000].message.contains("further mistakes"));
    }

    #[test]
    fn points_into_a_scalar_that_stands_as_it_reads() {
        let report = Report::new("f", "a: \"node-[1\"\nb: *alias\nc: &c node-[1\n");
        let quoted = Position { line: 1, column: 4 };
        assert_eq!(report.within(quoted, "node-[1", 5), Position { line: 1, column: 10 });
        let anchored = Position { line: 3, column: 4 };
        assert_eq!(report.within(anchored, "node-[1", 5), Position { line: 3, column: 12 });
        let alias = Position { line: 2, column: 4 };
        assert_eq!(report.within(alias, "node-[1", 5), alias);
    }

    #[test]
    fn suggests_what_is_near() {
        let keys = ["reconnect", "endpoints", "type", "quota"];
        assert_eq!(nearest("reconect", keys), Some("reconnect"));
        assert_eq!(nearest("Endpionts", keys), Some("endpoints"));
        assert_eq!(nearest("quoat", keys), Some("quota"));
        assert_eq!(nearest("interval", keys), None);
        assert_eq!(nearest("sampler-11", ["sampler-1", "sampler-2"]), Some("sampler-1"));
    }
}
