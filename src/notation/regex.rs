//! What is wrong with a regular expression before any daemon has seen it.
//!
//! ldmsd compiles them with `regcomp`, as POSIX extended expressions. Only what every such compiler refuses is found here:
//! an expression without a fault may still be refused, but none with a fault is ever taken.

/// What is wrong with a regular expression, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{fault}")]
pub struct RegexError {
    /// The byte at which the fault begins.
    pub offset: usize,
    /// The fault; it prints as a message.
    pub fault: RegexFault,
}

/// The kinds of faults of a regular expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RegexFault {
    /// `(` without `)`.
    #[error("this parenthesis is never closed")]
    UnclosedGroup,
    /// `[` without `]`.
    #[error("this bracket is never closed")]
    UnclosedBracket,
    /// `*`, `+` or `?` behind nothing.
    #[error("there is nothing to repeat before this `{0}`")]
    NothingToRepeat(char),
    /// A backslash at the end.
    #[error("a backslash at the end stands for nothing")]
    TrailingBackslash,
}

impl RegexFault {
    /// What the operator may write instead.
    #[must_use]
    pub fn help(self) -> &'static str {
        match self {
            RegexFault::UnclosedGroup => "write `)` at the end of the group, or `\\(` for the character itself",
            RegexFault::UnclosedBracket => "write `]` after the last character, or `\\[` for the character itself",
            RegexFault::NothingToRepeat(_) => "this is no pattern of file names: write `.*` for any text",
            RegexFault::TrailingBackslash => "remove it, or write `\\\\` for the character itself",
        }
    }
}

/// Looks for what no compiler of POSIX extended expressions takes.
///
/// A text with `${VAR}` is left alone, since the daemon puts in what it knows.
///
/// # Errors
///
/// [`RegexError`] with the byte offset of the first fault.
pub fn check(text: &str) -> Result<(), RegexError> {
    if text.contains("${") {
        return Ok(());
    }
    let error = |offset, fault| Err(RegexError { offset, fault });
    let bytes = text.as_bytes();
    let mut groups: Vec<usize> = Vec::new();
    // Whether there is nothing yet that could be repeated.
    let mut at_start = true;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let begin = at;
        at += 1;
        match byte {
            b'\\' if at == bytes.len() => return error(begin, RegexFault::TrailingBackslash),
            b'\\' => at += 1,
            b'[' => match bracket_end(bytes, at) {
                Some(end) => at = end,
                None => return error(begin, RegexFault::UnclosedBracket),
            },
            b'(' => groups.push(begin),
            b')' => drop(groups.pop()),
            b'*' | b'+' | b'?' if at_start => return error(begin, RegexFault::NothingToRepeat(char::from(byte))),
            _ => {}
        }
        at_start = matches!(byte, b'(' | b'|') || (at_start && byte == b'^');
    }
    match groups.first() {
        Some(&begin) => error(begin, RegexFault::UnclosedGroup),
        None => Ok(()),
    }
}

/// The byte behind the `]` that closes the bracket whose inside begins at `at`.
fn bracket_end(bytes: &[u8], at: usize) -> Option<usize> {
    let mut at = at + usize::from(bytes.get(at) == Some(&b'^'));
    // Right at the beginning a `]` stands for itself.
    at += usize::from(bytes.get(at) == Some(&b']'));
    loop {
        match (bytes.get(at)?, bytes.get(at + 1)) {
            (b']', _) => return Some(at + 1),
            // `[:alpha:]`, `[=a=]`, `[.hyphen.]`
            (b'[', Some(kind @ (b':' | b'=' | b'.'))) => {
                let inside = bytes.get(at + 2..)?;
                at += 2 + inside.windows(2).position(|pair| pair == [*kind, b']'])? + 2;
            }
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn assert_fault(text: &str, offset: usize, fault: RegexFault) {
        assert_eq!(check(text), Err(RegexError { offset, fault }), "{text}");
    }

    #[test]
    fn takes_what_regcomp_takes() {
        for text in [
            "",
            ".*",
            "a)",
            "[]a]",
            "[^]a]",
            "[[:alpha:]]",
            "a**",
            "a|",
            "|a",
            "()",
            "(a|b)+",
            "[a\\]",
            "\\(",
            "a+*?",
            "[(*]",
            "[[a]",
            "node-[0-9]+",
            "^node-(1|2)$",
            "a\\\\",
            "(${X",
            ")*",
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn says_where_and_what_is_wrong() {
        assert_fault("*.rdma", 0, RegexFault::NothingToRepeat('*'));
        assert_fault("a|+", 2, RegexFault::NothingToRepeat('+'));
        assert_fault("(?:a)", 1, RegexFault::NothingToRepeat('?'));
        assert_fault("^*a", 1, RegexFault::NothingToRepeat('*'));
        assert_fault("ä(b", 2, RegexFault::UnclosedGroup);
        assert_fault("a(b(c)", 1, RegexFault::UnclosedGroup);
        assert_fault("node-[1-4", 5, RegexFault::UnclosedBracket);
        assert_fault("[]", 0, RegexFault::UnclosedBracket);
        assert_fault("[[:alpha:]", 0, RegexFault::UnclosedBracket);
        assert_fault("a\\", 1, RegexFault::TrailingBackslash);
    }

    proptest! {
        /// The `regex` crate has another dialect, but within these characters it takes no more than `regcomp` does.
        #[test]
        fn finds_no_fault_in_what_another_compiler_takes(text in "[ab*+|()\\[\\]-]{0,12}") {
            // It alone knows brackets within brackets.
            let other = text.matches('[').count() < 2 && regex::Regex::new(&text).is_ok();
            prop_assert!(!other || check(&text).is_ok(), "{text}");
        }

        #[test]
        fn never_panics(text in "\\PC{0,24}") {
            if let Err(error) = check(&text) {
                prop_assert!(text.is_char_boundary(error.offset));
            }
        }
    }
}
