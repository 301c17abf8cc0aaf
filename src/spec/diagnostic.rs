//! What is wrong with a file, where, and what to write instead.

use std::cell::RefCell;
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
    /// The offending line.
    pub excerpt: String,
    /// What to write instead.
    pub help: Option<String>,
}

/// The longest part of a line that is shown, in characters.
const EXCERPT_COLUMNS: usize = 160;

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Position { line, column } = self.position;
        write!(f, "{}:{line}:{column}: {}: {}", self.file, self.severity, self.message)?;
        if !self.excerpt.is_empty() {
            // Of a very long line, the part around the place.
            let skipped = if column > EXCERPT_COLUMNS { column - EXCERPT_COLUMNS / 2 } else { 0 };
            let shown: String = self
                .excerpt
                .chars()
                .skip(skipped)
                .take(EXCERPT_COLUMNS)
                .map(|c| if c.is_control() { ' ' } else { c })
                .collect();
            let number = line.to_string();
            let gutter = " ".repeat(number.len());
            let indent = " ".repeat(column.saturating_sub(1 + skipped));
            write!(f, "\n {number} | {}\n {gutter} | {indent}^", shown.trim_end())?;
        }
        if let Some(help) = &self.help {
            write!(f, "\n help: {help}")?;
        }
        Ok(())
    }
}

/// Collects the diagnostics of one file.
///
/// All readers of the file share one; none of them stops at the first error.
pub(super) struct Report<'t> {
    file: Arc<str>,
    lines: Vec<&'t str>,
    diagnostics: RefCell<Vec<Diagnostic>>,
}

impl<'t> Report<'t> {
    pub(super) fn new(file: &str, text: &'t str) -> Report<'t> {
        Report { file: file.into(), lines: text.lines().collect(), diagnostics: RefCell::default() }
    }

    /// Notes an error, with what to write instead.
    pub(super) fn error(&self, position: Position, message: impl Into<String>, help: impl Into<String>) {
        self.add(Severity::Error, position, message.into(), help.into());
    }

    /// Notes a warning, with what to write instead.
    pub(super) fn warning(&self, position: Position, message: impl Into<String>, help: impl Into<String>) {
        self.add(Severity::Warning, position, message.into(), help.into());
    }

    /// The place of byte `offset` within a scalar at `position`, or the beginning of the scalar where it does not
    /// stand there as it reads (an alias, an escape, several lines).
    pub(super) fn within(&self, position: Position, text: &str, offset: usize) -> Position {
        let Some(before) = text.get(..offset) else { return position };
        let line: Vec<char> = self.line(position.line).chars().collect();
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
        let diagnostic = Diagnostic {
            severity,
            file: Arc::clone(&self.file),
            position,
            message,
            excerpt: self.line(position.line).to_owned(),
            help: Some(help).filter(|help| !help.is_empty()),
        };
        // A value that several places share through an alias is read, and found wrong, several times.
        let mut diagnostics = self.diagnostics.borrow_mut();
        if !diagnostics.contains(&diagnostic) {
            diagnostics.push(diagnostic);
        }
    }
}

/// The candidate that `word` was probably meant to be.
pub(crate) fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let limit = (word.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .map(|candidate| (edit_distance(word, candidate, limit), candidate))
        .filter_map(|(distance, candidate)| Some((distance?, candidate)))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// How many letters must be inserted, deleted, replaced or swapped with their neighbour to turn one word into the
/// other, regardless of case; `None` where it is more than `limit`.
fn edit_distance(left: &str, right: &str, limit: usize) -> Option<usize> {
    let left: Vec<char> = left.to_lowercase().chars().collect();
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
