//! Hostlists: what expands folds again, and a fault points at a character.

use maestro::notation::hostlist::{MAX_NAMES, expand, fold};

/// Expands the text.
pub fn run(data: &[u8]) {
    let text = super::text_of(data);
    match expand(&text) {
        Ok(names) => {
            assert!(!names.is_empty() && names.len() as u64 <= MAX_NAMES, "{} names", names.len());
            // Folding many names that do not count upwards gives a long text; a few show as much.
            let few = &names[..names.len().min(100)];
            assert_eq!(expand(&fold(few)).as_deref(), Ok(few));
        }
        Err(error) => assert!(text.is_char_boundary(error.offset), "{error:?}"),
    }
}
