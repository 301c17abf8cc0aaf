//! Regular expressions for ldmsd, which takes POSIX extended ones and does not anchor them.

/// Names in one alternation: some hundred keep both compiling and matching cheap in the daemon
/// (operations of a live ldmsd, sections 7 and 8).
pub(super) const NAMES_IN_ONE: usize = 250;

/// The text with every character that means something in an expression escaped.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if "\\.[]()*+?{}^$|".contains(character) {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

/// Anchored expressions that together match exactly `names`: `^(a|b|c)$`, some hundred names in each.
pub fn alternations<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let names: Vec<&str> = names.into_iter().collect();
    names.chunks(NAMES_IN_ONE).map(|chunk| alternation(chunk.iter().copied())).collect()
}

/// One anchored expression that matches exactly `names`.
pub(super) fn alternation<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let escaped: Vec<String> = names.into_iter().map(escape).collect();
    match escaped.as_slice() {
        [single] => format!("^{single}$"),
        several => format!("^({})$", several.join("|")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_name_needs_no_group() {
        assert_eq!(alternations(["node-1"]), ["^node-1$"]);
        assert_eq!(alternations(["a", "b.c"]), ["^(a|b\\.c)$"]);
        assert!(alternations([]).is_empty());
    }

    #[test]
    fn long_lists_are_cut() {
        let names: Vec<String> = (0..600).map(|number| format!("p{number}")).collect();
        assert_eq!(alternations(names.iter().map(String::as_str)).len(), 3);
    }

    proptest! {
        #[test]
        fn an_alternation_matches_its_names_and_nothing_else(
            names in proptest::collection::btree_set("[a-c.*+|$^()\\[\\]{}?\\\\]{1,5}", 1..12),
            other in "[a-c.*+|]{1,5}",
        ) {
            let expressions = alternations(names.iter().map(String::as_str));
            let matches = |text: &str| expressions.iter().any(|e| regex::Regex::new(e).unwrap().is_match(text));
            for name in &names {
                prop_assert!(matches(name));
            }
            prop_assert_eq!(matches(&other), names.contains(&other));
        }
    }
}
