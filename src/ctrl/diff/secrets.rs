//! What of a configuration must not be shown: it may hold passwords.

/// What stands in the place of a secret.
const HIDDEN: &str = "(hidden)";

/// What an authentication domain says of itself that is no secret; `conf` is the path of a file.
const PUBLIC_OF_AUTH: [&str; 3] = ["name", "plugin", "conf"];

/// What names of secrets contain.
const SECRET_WORDS: [&str; 6] = ["password", "passwd", "secret", "token", "credential", "private_key"];

/// The text of a key as it may be shown: on one line, without secrets.
pub(super) fn shown(key: &str, text: &str) -> String {
    if is_secret(key) { HIDDEN.to_owned() } else { one_line(&without_secret_values(text)) }
}

/// Control characters would break the line, or do worse to a terminal.
pub(super) fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line
}

fn is_secret(key: &str) -> bool {
    let steps: Vec<&str> = key.split('/').collect();
    // A section and an object come before it: `daemons/auth/addr` is the address of a daemon with an odd name.
    let is_option_of_auth = match steps[..] {
        [_, _, .., "auth", option] | [_, _, .., "auth", "conf", option] => !PUBLIC_OF_AUTH.contains(&option),
        _ => false,
    };
    is_option_of_auth || steps.last().is_some_and(|step| names_secret(step))
}

/// A configuration line, in which `password=hunter2` loses what is behind the sign.
fn without_secret_values(line: &str) -> String {
    let mut shown = String::with_capacity(line.len());
    // The quote that a secret value with white space ends with.
    let mut until = None;
    for word in line.split_inclusive(char::is_whitespace) {
        let (bare, space) = word.split_at(word.trim_end().len());
        if let Some(quote) = until {
            until = Some(quote).filter(|quote| !bare.ends_with(*quote));
            continue;
        }
        match bare.split_once('=') {
            Some((name, value)) if names_secret(name) && !value.is_empty() => {
                shown.extend([name, "=", HIDDEN, space]);
                let quote = value.chars().next().filter(|first| ['"', '\''].contains(first));
                until = quote.filter(|quote| value.len() == 1 || !value.ends_with(*quote));
            }
            _ => shown.push_str(word),
        }
    }
    shown
}

fn names_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_WORDS.iter().any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_hidden(key: &str, text: &str, expected: &str) {
        assert_eq!(shown(key, text), expected, "{key}");
    }

    #[test]
    fn options_of_authentication_are_hidden_but_for_paths_and_names() {
        assert_hidden("daemons/a/endpoints/e/auth/name", "munge", "munge");
        assert_hidden("daemons/a/endpoints/e/auth/plugin", "ovis", "ovis");
        assert_hidden("daemons/a/endpoints/e/auth/conf", "/etc/ldms/secret", "/etc/ldms/secret");
        assert_hidden("daemons/a/endpoints/e/auth/conf/conf", "/etc/ldms/secret", "/etc/ldms/secret");
        assert_hidden("daemons/a/endpoints/e/auth/secretword", "hunter2", HIDDEN);
        assert_hidden("daemons/a/endpoints/e/auth/conf/uid", "0", HIDDEN);
        assert_hidden("samplers/s/advertise/to/000000/auth/uid", "0", HIDDEN);
        assert_hidden("advertisers/s/auth/uid", "0", HIDDEN);
        assert_hidden("daemons/auth/addr", "node-1", "node-1");
    }

    #[test]
    fn what_is_called_a_secret_is_hidden_anywhere() {
        assert_hidden("daemons/a/environment/DB_PASSWORD", "hunter2", HIDDEN);
        assert_hidden("plugins/influx/config/000000/Password", "hunter2", HIDDEN);
        assert_hidden("plugins/influx/config/000000", "host=h password=hunter2 db=d", "host=h password=(hidden) db=d");
        assert_hidden("plugins/influx/config/000000", "a=b\tpassword='hunter 2' c=d", "a=b\\tpassword=(hidden) c=d");
        assert_hidden("plugins/influx/config/000000", "token=\"a b", "token=(hidden) ");
        assert_hidden("plugins/influx/config/000000", "path=/a/b=c perm=0777", "path=/a/b=c perm=0777");
    }

    #[test]
    fn a_text_stays_on_its_line() {
        assert_hidden("plugins/p/config/000000", "a\nb\u{1b}[31m", "a\\nb\\u{1b}[31m");
        assert_hidden("plugins/mém/name", "mém  info", "mém  info");
    }
}
