//! Intervals and permissions: what is taken is sent as text that means the same.

use maestro::notation::{Interval, Permission};

/// Reads the text as an interval and as a permission.
pub fn run(data: &[u8]) {
    let text = super::text_of(data);
    if let Ok(interval) = Interval::parse(&text) {
        assert_eq!(Interval::parse(&interval.to_string()).as_ref(), Ok(&interval));
        assert_eq!(Interval::parse(interval.as_written()).as_ref(), Ok(&interval));
    }
    if let Ok(permission) = Permission::parse(&text) {
        assert_eq!(Permission::parse(&permission.to_string()), Ok(permission));
    }
}
