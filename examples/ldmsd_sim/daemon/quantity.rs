//! Numbers in requests: intervals, sizes.

/// Reads an interval or offset in microseconds: a number with an optional unit (the wire specification, section 6).
pub(crate) fn interval_us(text: &str) -> Option<i64> {
    let unit_at = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let unit_us: f64 = match unit.to_ascii_lowercase().as_str() {
        "" | "us" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        "m" => 60e6,
        "h" => 3600e6,
        "d" => 86_400e6,
        word if word.starts_with("micro") => 1.0,
        word if word.starts_with("milli") => 1e3,
        _ => return None,
    };
    let value = number.trim().parse::<f64>().ok()? * unit_us;
    // Far beyond any interval, and well inside what the conversion represents.
    (value.abs() < 1e15).then_some(value.round() as i64)
}

/// Reads a number of bytes with an optional suffix as `prdcr_add` does: what is no number is 0 (measured), −1 is unlimited.
pub(crate) fn size_bytes(text: &str) -> i64 {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '-').unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let factor: i64 = match suffix.chars().next().map(|c| c.to_ascii_uppercase()) {
        Some('K') => 1 << 10,
        Some('M') => 1 << 20,
        Some('G') => 1 << 30,
        _ => 1,
    };
    number.parse::<i64>().unwrap_or(0).saturating_mul(factor)
}

/// Prints a number of bytes as `prdcr_status` does: `1MB`, `1GB`, `1500`.
pub(crate) fn size_text(bytes: i64) -> String {
    if bytes > 0 {
        for (shift, unit) in [(30, "GB"), (20, "MB"), (10, "KB")] {
            if bytes % (1 << shift) == 0 {
                return format!("{}{unit}", bytes >> shift);
            }
        }
    }
    bytes.to_string()
}

/// The last multiple of `interval_us` plus `offset_us` that is not after `now_us`; 0 before the first.
pub(crate) fn last_multiple_us(interval_us: u64, offset_us: i64, now_us: u64) -> u64 {
    let (now, offset, interval) = (i128::from(now_us), i128::from(offset_us), i128::from(interval_us.max(1)));
    let multiple = (now - offset).div_euclid(interval) * interval + offset;
    u64::try_from(multiple).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_take_units() {
        assert_eq!(interval_us("1000000"), Some(1_000_000));
        assert_eq!(interval_us("1.5s"), Some(1_500_000));
        assert_eq!(interval_us("-10ms"), Some(-10_000));
        assert_eq!(interval_us("2m"), Some(120_000_000));
        assert_eq!(interval_us("3 milliseconds"), Some(3_000));
        assert_eq!(interval_us("abc"), None);
        assert_eq!(interval_us(""), None);
    }

    #[test]
    fn sizes_print_as_a_daemon_prints_them() {
        for (given, shown) in
            [("1M", "1MB"), ("1G", "1GB"), ("1500", "1500"), ("3M", "3MB"), ("-1", "-1"), ("bad", "0")]
        {
            assert_eq!(size_text(size_bytes(given)), shown, "{given}");
        }
    }

    #[test]
    fn multiples_honour_the_offset() {
        assert_eq!(last_multiple_us(1_000_000, 0, 5_000_000), 5_000_000);
        assert_eq!(last_multiple_us(1_000_000, 100_000, 5_050_000), 4_100_000);
        assert_eq!(last_multiple_us(1_000_000, -100_000, 5_950_000), 5_900_000);
    }
}
