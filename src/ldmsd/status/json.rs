//! JSON as ldmsd writes it: with plain text formatting, so that nothing within a string is escaped (the wire
//! specification, section 7) and a list may begin with a comma (3.5).

use std::borrow::Cow;

use serde::de::DeserializeOwned;

use crate::ldmsd::codec::Response;

/// Why a status reply is not understood.
#[derive(Debug, thiserror::Error)]
#[error("a status reply is not understood ({source}): {excerpt}")]
pub struct StatusError {
    source: serde_json::Error,
    /// The place of the error with a few characters around it.
    excerpt: String,
}

impl Response {
    /// The result as JSON, in ldmsd's way of writing it.
    ///
    /// # Errors
    /// The text is no JSON or has another shape.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, StatusError> {
        parse(&self.text())
    }

    /// The result of `cfg_cntr`: how many commands have changed the daemon since it started.
    #[must_use]
    pub fn config_counter(&self) -> Option<u64> {
        self.text().trim().parse().ok().filter(|_| self.is_ok())
    }
}

/// Reads a JSON text in ldmsd's way of writing it.
///
/// A backslash stands for itself, since that is how ldmsd writes a regular expression (`\b` is no backspace).
/// A text that makes no sense in this way is read as proper JSON; then with quotes escaped that cannot end
/// their string, control characters escaped, and commas dropped that follow an opening bracket.
///
/// # Errors
/// The text is no JSON in any of these readings, or has another shape than `T`.
pub fn parse<T: DeserializeOwned>(text: &str) -> Result<T, StatusError> {
    let text = text.trim_matches(|character: char| character == '\0' || character.is_whitespace());
    let literal = if text.contains('\\') { Cow::Owned(text.replace('\\', r"\\")) } else { Cow::Borrowed(text) };
    let error = match serde_json::from_str(&literal) {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    serde_json::from_str(text)
        .or_else(|_| serde_json::from_str(&repaired(&literal)))
        .map_err(|_| StatusError { excerpt: excerpt(&literal, &error), source: error })
}

/// The text with what a string contains escaped, and without commas after an opening bracket.
fn repaired(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 64);
    let mut in_string = false;
    let mut list_begins = false;
    for (index, character) in text.char_indices() {
        let rest = &text[index + character.len_utf8()..];
        if in_string {
            match character {
                '"' if ends_string(rest) => {
                    in_string = false;
                    out.push('"');
                }
                '"' => out.push_str("\\\""),
                control if control.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(control))),
                other => out.push(other),
            }
            continue;
        }
        if character.is_whitespace() {
            out.push(character);
            continue;
        }
        if !(character == ',' && list_begins) {
            out.push(character);
        }
        in_string = character == '"';
        list_begins = character == '[';
    }
    out
}

/// Whether a quote that is followed by `rest` can be the end of its string: what comes next must be possible
/// after a string.
fn ends_string(rest: &str) -> bool {
    let mut next = rest.chars().filter(|character| !character.is_whitespace());
    match next.next() {
        None | Some('}' | ']') => true,
        Some(',' | ':') => {
            next.next().is_some_and(|first| matches!(first, '"' | '{' | '[' | '-' | '0'..='9' | 't' | 'f' | 'n'))
        }
        Some(_) => false,
    }
}

/// About 60 characters around the place of an error.
fn excerpt(text: &str, error: &serde_json::Error) -> String {
    const AROUND: usize = 30;
    let line = text.lines().nth(error.line().saturating_sub(1)).unwrap_or_default();
    let skip = error.column().saturating_sub(AROUND);
    line.chars().skip(skip).take(2 * AROUND).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn value(text: &str) -> Value {
        parse(text).unwrap()
    }

    #[test]
    fn backslashes_of_a_regular_expression_stand_for_themselves() {
        assert_eq!(value(r#"[{"regex":"node\d+\.example"}]"#), json!([{"regex": r"node\d+\.example"}]));
        assert_eq!(value(r#"[{"regex":"\bnode\t"}]"#), json!([{"regex": r"\bnode\t"}]));
        assert_eq!(value(r#"{"name":"ends with \"}"#), json!({"name": r"ends with \"}));
    }

    #[test]
    fn quotes_within_a_name_are_kept() {
        assert_eq!(value(r#"[{"name":"s"q","schema":"m"}]"#), json!([{"name": "s\"q", "schema": "m"}]));
        assert_eq!(
            value(r#"[{"regex":"^a\b\d"x","selector":"inst"}]"#),
            json!([{"regex": r#"^a\b\d"x"#, "selector": "inst"}])
        );
        assert_eq!(value(r#"["a",b","c"]"#), json!(["a\",b", "c"]));
    }

    #[test]
    fn properly_escaped_text_is_read_too() {
        assert_eq!(value(r#"{"a":"say \"so\""}"#), json!({"a": "say \"so\""}));
    }

    #[test]
    fn a_comma_after_an_opening_bracket_is_dropped() {
        assert_eq!(value(r#"{ "directory" : [,{"name":"a[,b"}, {}]}"#), json!({"directory": [{"name": "a[,b"}, {}]}));
        assert_eq!(value("[ ,\n 1]"), json!([1]));
    }

    #[test]
    fn control_characters_and_trailing_nuls_do_no_harm() {
        assert_eq!(value("{\"a\":\"x\ty\nz\"}\0\0"), json!({"a": "x\ty\nz"}));
    }

    #[test]
    fn an_error_shows_where() {
        let text = format!("[{}{{\"name\" \"p\"}}]", "1, ".repeat(50));
        let error = parse::<Value>(&text).unwrap_err().to_string();
        assert!(error.contains("\"name\" \"p\""), "{error}");
        assert!(error.len() < 200, "{error}");
        assert!(parse::<Value>("").is_err());
    }

    proptest! {
        #[test]
        fn random_text_does_no_harm(text in "[\\[\\]{},:\"\\\\ a1é\\n]{0,40}") {
            let _ = parse::<Value>(&text);
        }

        /// What ldmsd's plain formatting makes of any name without a quote is read back.
        #[test]
        fn unescaped_names_survive(name in "[^\"\\x00]{0,20}", other in "[^\"\\x00]{0,20}") {
            let text = format!("[{{\"name\":\"{name}\",\n\"regex\":\"{other}\"}}]");
            prop_assert_eq!(value(&text), json!([{"name": name, "regex": other}]));
        }
    }
}
