//! `interval` and `offset`, of plugins and of updaters.

use super::diagnostic::Report;
use super::fields::Fields;
use crate::notation::Interval;

/// Reads both. An interval must be longer than nothing, and an offset no longer than half of it: every ldmsd refuses
/// others.
pub(super) fn read(fields: &Fields<'_>, report: &Report<'_>) -> (Option<Interval>, Option<Interval>) {
    let (interval, offset) = (fields.interval("interval"), fields.interval("offset"));
    let interval_us = interval.as_ref().and_then(Interval::us);
    let offset_us = offset.as_ref().and_then(Interval::us);
    match (interval_us, offset_us) {
        (Some(us), _) if us <= 0 => {
            let message = format!("an `interval` of {us} us is too short");
            report.error(fields.position_of("interval"), message, "write a time such as `1s`");
        }
        (Some(interval_us), Some(offset_us)) if offset_us.unsigned_abs() > interval_us.unsigned_abs() / 2 => {
            let message =
                format!("an `offset` of {offset_us} us is more than half of the `interval` of {interval_us} us");
            report.error(fields.position_of("offset"), message, "ldmsd takes offsets of up to half of the interval");
        }
        _ => {}
    }
    (interval, offset)
}
