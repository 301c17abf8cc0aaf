//! A command as a line of an ldmsd v4 configuration file, and what such a line cannot hold.
//!
//! On the wire an attribute carries any text; in a file blanks separate the attributes and nothing can be escaped.
//! An ldmsd ends when it cannot read a line of the file that it is started with, so a value that would not arrive as
//! it is must never be written. Seen on 4.4, 4.5 and the development head 4.5.1 alike, but for the quotes: the
//! development head takes them away, the other lines do not.

use super::attribute::Attribute;
use super::command::Command;
use super::verb::Verb;

/// Of a line whose length is a multiple of this many bytes ldmsd drops the last byte.
const UNLUCKY_LENGTH_BYTES: usize = 8192;

/// Why a command cannot stand in a configuration file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// Blanks separate attributes.
    #[error("`{0}` has a blank in it")]
    Blank(String),
    /// Lines end at a newline; what ldmsd makes of the others is not defined.
    #[error("{0:?} has a control character in it")]
    ControlCharacter(String),
    /// Some versions take quotes away, others do not.
    #[error("`{0}` begins with a quote, which not every version of ldmsd takes as a part of the value")]
    Quote(String),
    /// A word that begins with `#` makes the rest of the line a comment.
    #[error("`{0}` begins with a `#`, which makes a comment of the rest of the line")]
    Comment(String),
    /// A backslash at the end joins the next line to this one.
    #[error("`{0}` ends the line with a backslash, which joins the next line to it")]
    Backslash(String),
    /// Of a plugin's options ldmsd takes every one that begins so for the name of the instance.
    #[error("`{0}`: ldmsd does not tell options that begin with `name` from the name of the plugin instance")]
    LikeName(String),
}

impl Command {
    /// Appends the command to a configuration file, with the newline. After an error what was appended is of no use.
    ///
    /// # Errors
    /// A value would not arrive as it is.
    pub fn append_line(&self, file: &mut String) -> Result<(), LineError> {
        let begin = file.len();
        file.push_str(self.verb.word());
        let words = file.len();
        for (attribute, value) in &self.attributes {
            match attribute {
                Attribute::String => self.append_options(value, file)?,
                _ => append_attribute(*attribute, value, file)?,
            }
        }
        let line = &file[begin..];
        if line.ends_with('\\') {
            let last = line.rsplit(' ').next().unwrap_or_default();
            return Err(LineError::Backslash(last.to_owned()));
        }
        if line.len().is_multiple_of(UNLUCKY_LENGTH_BYTES) {
            file.insert(words, ' ');
        }
        file.push('\n');
        Ok(())
    }

    /// Free options. Newlines and tabs separate them as blanks do, here and on the wire.
    fn append_options(&self, options: &str, file: &mut String) -> Result<(), LineError> {
        for word in options.split([' ', '\t', '\n']).filter(|word| !word.is_empty()) {
            check_value(word.split_once('=').map_or("", |(_, value)| value), word)?;
            if word.starts_with('#') {
                return Err(LineError::Comment(word.to_owned()));
            }
            if self.verb == Verb::Config && word.starts_with("name") {
                return Err(LineError::LikeName(word.to_owned()));
            }
            file.push(' ');
            file.push_str(word);
        }
        Ok(())
    }
}

fn append_attribute(attribute: Attribute, value: &str, file: &mut String) -> Result<(), LineError> {
    let begin = file.len() + 1;
    file.push(' ');
    file.push_str(attribute.word());
    file.push('=');
    file.push_str(value);
    let word = &file[begin..];
    if value.contains(' ') {
        return Err(LineError::Blank(word.to_owned()));
    }
    check_value(value, word)
}

fn check_value(value: &str, word: &str) -> Result<(), LineError> {
    if word.contains(char::is_control) {
        return Err(LineError::ControlCharacter(word.to_owned()));
    }
    if value.starts_with('"') {
        return Err(LineError::Quote(word.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line(command: &Command) -> Result<String, LineError> {
        let mut file = String::new();
        command.append_line(&mut file).map(|()| file)
    }

    fn config(options: &str) -> Command {
        Command::new(Verb::Config).with(Attribute::Name, "m").with(Attribute::String, options)
    }

    #[test]
    fn options_may_be_separated_by_any_white_space() {
        assert_eq!(line(&config("schema=m  perm=0777\n\tproducer=${HOSTNAME}\n")).unwrap(), {
            "config name=m schema=m perm=0777 producer=${HOSTNAME}\n"
        });
    }

    #[test]
    fn what_a_file_cannot_hold_is_refused() {
        let regex = |value: &str| line(&Command::new(Verb::UpdtrMatchAdd).with(Attribute::Regex, value));
        assert_eq!(regex("a b"), Err(LineError::Blank("regex=a b".into())));
        assert_eq!(regex("a\tb"), Err(LineError::ControlCharacter("regex=a\tb".into())));
        assert_eq!(regex("\"a\""), Err(LineError::Quote("regex=\"a\"".into())));
        assert_eq!(regex("a\\"), Err(LineError::Backslash("regex=a\\".into())));
        assert_eq!(regex("#a\"\\.").unwrap(), "updtr_match_add regex=#a\"\\.\n");
        assert_eq!(line(&config("path=\"/a\"")), Err(LineError::Quote("path=\"/a\"".into())));
        assert_eq!(line(&config("path=/a # there")), Err(LineError::Comment("#".into())));
        assert_eq!(line(&config("namespace=a")), Err(LineError::LikeName("namespace=a".into())));
        assert_eq!(line(&config("path=a\rb")), Err(LineError::ControlCharacter("path=a\rb".into())));
    }

    #[test]
    fn no_line_has_the_length_at_which_ldmsd_drops_a_byte() {
        for length in UNLUCKY_LENGTH_BYTES - 2..UNLUCKY_LENGTH_BYTES + 2 {
            let name = "x".repeat(length - "strgp_start name=".len());
            let line = line(&Command::new(Verb::StrgpStart).with(Attribute::Name, &name)).unwrap();
            let words: Vec<&str> = line.split_whitespace().collect();
            assert_eq!(words, ["strgp_start", &format!("name={name}")]);
            assert_ne!(line.trim_end_matches('\n').len(), UNLUCKY_LENGTH_BYTES);
        }
    }

    proptest! {
        #[test]
        fn what_is_accepted_reads_back(value in "[a-b=#\"\\\\ \t\n$é]{0,6}") {
            let command = Command::new(Verb::PrdcrAdd).with(Attribute::Name, "p").with(Attribute::Host, &value);
            if let Ok(line) = line(&command) {
                // As ldmsd reads it: to the newline, a comment after white space, words between blanks and tabs.
                prop_assert_eq!(line.find('\n'), Some(line.len() - 1));
                prop_assert!(!line.contains(" #") && !line.ends_with("\\\n"));
                let words: Vec<&str> = line.trim_end().split([' ', '\t']).collect();
                prop_assert_eq!(words, ["prdcr_add".to_owned(), "name=p".into(), format!("host={value}")]);
                prop_assert!(!value.starts_with('"'));
            }
        }
    }
}
