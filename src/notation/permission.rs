//! Permissions of LDMS objects: octal (`0777`, `0o640`) or as `ls` shows them (`rw-r-----`).

use std::fmt;

/// Permission bits, printed as ldmsd reads them: octal with a leading zero (it takes `600` as decimal).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Permission(pub u32);

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0{:o}", self.0)
    }
}

/// A text that is no permission.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a permission")]
pub struct PermissionError(String);

impl PermissionError {
    /// What the operator may write instead.
    #[must_use]
    pub fn help(&self) -> &'static str {
        "write octal digits, such as `0640`, or nine letters, such as `rw-r-----`"
    }
}

impl Permission {
    /// Reads octal digits (with or without `0` or `0o` before them) or the nine letters of `ls`, with or without
    /// its file type before them; `+` is another way to write `w` (ldmsd_yaml_parser(8)).
    ///
    /// # Errors
    ///
    /// [`PermissionError`] where the text is neither.
    pub fn parse(text: &str) -> Result<Permission, PermissionError> {
        let trimmed = text.trim();
        parse_octal(trimmed)
            .or_else(|| parse_letters(trimmed))
            .map(Permission)
            .ok_or_else(|| PermissionError(trimmed.into()))
    }
}

fn parse_octal(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    u32::from_str_radix(digits, 8).ok().filter(|bits| *bits <= 0o7777)
}

fn parse_letters(text: &str) -> Option<u32> {
    let letters = text.as_bytes();
    let letters = if letters.len() == 10 { letters.strip_prefix(b"-")? } else { letters };
    if letters.len() != 9 {
        return None;
    }
    letters.iter().zip(b"rwxrwxrwx").try_fold(0, |bits, (letter, expected)| {
        let set = match letter {
            b'-' => 0,
            b'+' if *expected == b'w' => 1,
            letter if letter == expected => 1,
            _ => return None,
        };
        Some(bits << 1 | set)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn assert_reads(text: &str, bits: u32) {
        assert_eq!(Permission::parse(text), Ok(Permission(bits)), "{text}");
    }

    #[test]
    fn digits_are_octal_with_or_without_a_zero() {
        assert_reads("0777", 0o777);
        assert_reads("777", 0o777);
        assert_reads("0o640", 0o640);
        assert_reads("0", 0);
    }

    #[test]
    fn letters_as_ls_shows_them() {
        assert_reads("rw-r--r--", 0o644);
        assert_reads("-rwxr-x---", 0o750);
        assert_reads("r+-r-----", 0o640);
        assert_reads("---------", 0);
    }

    #[test]
    fn refuses_everything_else() {
        for text in ["", "0o", "888", "0x1ff", "-7", "rw-r--r", "drwxr-xr-x", "wr-r--r--", "rw-r--r-+", "77777"] {
            assert!(Permission::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_as_the_same(bits in 0_u32..=0o7777) {
            prop_assert_eq!(Permission::parse(&Permission(bits).to_string()), Ok(Permission(bits)));
        }
    }
}
