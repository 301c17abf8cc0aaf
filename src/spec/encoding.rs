//! The bytes of a file as text.

use super::diagnostic::{Diagnostic, Position, Report};

/// The text of a YAML file, which must be UTF-8.
///
/// # Errors
///
/// An error with the place of the first byte that is no text. `file_name` is only for the message.
pub fn decode(file_name: &str, bytes: Vec<u8>) -> Result<String, Box<Diagnostic>> {
    let (valid, message, help) = match bytes.iter().position(|byte| *byte == 0) {
        Some(_) if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") => {
            (0, "this file is UTF-16", "convert it: `iconv -f UTF-16 -t UTF-8`")
        }
        Some(zero) => (zero, "this is no text, but a binary file", "name the YAML file of the cluster"),
        None => match String::from_utf8(bytes) {
            Ok(text) => return Ok(text),
            Err(error) => {
                let valid = error.utf8_error().valid_up_to();
                return Err(report(
                    file_name,
                    error.as_bytes().get(..valid).unwrap_or_default(),
                    ("this byte is no UTF-8 text", "convert the file: `iconv -f ISO-8859-1 -t UTF-8`, for example"),
                ));
            }
        },
    };
    Err(report(file_name, bytes.get(..valid).unwrap_or_default(), (message, help)))
}

/// An error just behind the bytes that are right.
fn report(file_name: &str, before: &[u8], (message, help): (&str, &str)) -> Box<Diagnostic> {
    let before = String::from_utf8_lossy(before);
    let line_begin = before.rfind('\n').map_or(0, |newline| newline + 1);
    let position =
        Position { line: before.matches('\n').count() + 1, column: before[line_begin..].chars().count() + 1 };
    let report = Report::new(file_name, "");
    report.error(position, message, help);
    Box::new(report.into_diagnostics().swap_remove(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_error(bytes: &[u8], expected: &str) {
        let printed = decode("f", bytes.to_vec()).unwrap_err().to_string();
        assert!(printed.starts_with(expected), "{printed}");
    }

    #[test]
    fn says_where_the_text_ends() {
        assert_error(b"daemons:\n  - names: \xe4gg-1\n", "f:2:12: error: this byte is no UTF-8 text");
        assert_error(b"\x7fELF\x02\x01\x01\0\0", "f:1:8: error: this is no text, but a binary file");
        assert_error(b"\xff\xfed\0a\0", "f:1:1: error: this file is UTF-16");
        assert_eq!(decode("f", "ä\n".into()).unwrap(), "ä\n");
    }
}
