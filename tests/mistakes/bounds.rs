//! Files that would exhaust the program get an error, and soon: nobody waits, and nothing is killed for want of memory.

use std::time::{Duration, Instant};

use crate::said_of;

/// One error, and in a time that is short even on a busy machine without optimisation.
#[track_caller]
fn assert_is_told_soon(text: &str, message: &str) {
    let begin = Instant::now();
    let printed = said_of(text);
    let elapsed = begin.elapsed();
    assert_eq!(printed.len(), 1, "{}", printed.iter().map(String::as_str).take(5).collect::<Vec<_>>().join("\n"));
    assert!(printed[0].contains(message), "{}", printed[0]);
    assert!(printed[0].len() < 2_000, "{} bytes", printed[0].len());
    assert!(elapsed < Duration::from_secs(20), "{elapsed:?}");
}

const DAEMON: &str = "  - { names: a, hosts: b, endpoints: [ { names: c, ports: 1 } ] }\n";

#[test]
fn alias_bombs() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..40 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        text.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
    }
    assert_is_told_soon(&text, "values once its aliases are resolved");
    // Few values, but much text.
    let big = "x".repeat(1 << 20);
    let aliases = vec!["*big"; 1_000].join(", ");
    assert_is_told_soon(&format!("big: &big {big}\nall: [{aliases}]\n"), "MB of text");
}

#[test]
fn wide_ranges() {
    for range in ["[0-1000000000]", "[0-99999][0-99999]", "[0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9]"] {
        let daemons = DAEMON.replace("names: a", &format!("names: \"a{range}\""));
        assert_is_told_soon(&format!("daemons:\n{daemons}"), "too many names");
    }
    // Each is within bounds, but not all of them together.
    let entry = "  - { daemons: &d \"a[1-1000000]\", peers: [] }\n";
    let entries = std::iter::repeat_n(entry, 50).collect::<String>();
    let printed = said_of(&format!("daemons:\n{DAEMON}aggregators:\n{entries}"));
    assert!(
        printed.iter().any(|told| told.contains("hostlists of the file stand for too much text")),
        "{}",
        printed.len()
    );
    // Every daemon would have a copy of a long text.
    let names = "names: \"a[1-100000]\", environment: { A: LONG }".replace("LONG", &"x".repeat(100_000));
    assert_is_told_soon(&format!("daemons:\n{}", DAEMON.replace("names: a", &names)), "stand for too much text");
}

#[test]
fn deep_nesting() {
    assert_is_told_soon(&format!("daemons: {}", "[".repeat(100_000)), "levels deep");
    assert_is_told_soon(&format!("daemons: {}{}", "[".repeat(10_000), "]".repeat(10_000)), "levels deep");
    assert_is_told_soon(&format!("daemons: {}", "{a: ".repeat(100_000)), "levels deep");
    assert_is_told_soon(&"- ".repeat(100_000), "levels deep");
}

#[test]
fn long_lines() {
    let long = "x".repeat(10 << 20);
    let option = DAEMON.replace("hosts: b", &format!("hosts: b, quota: [ {long} ]"));
    assert_is_told_soon(&format!("daemons:\n{option}"), "`quota` must be a single value");
    assert_is_told_soon(&format!("daemons:\n{DAEMON}{long}: 1\n"), ": error: ");
    assert_is_told_soon(
        &format!("daemons:\n{}", DAEMON.replace("names: a", &format!("names: \"[{long}\""))),
        "never closed",
    );
    assert_is_told_soon(
        &format!("daemons:\n{}", DAEMON.replace("ports: 1", &format!("ports: \"{long}\""))),
        "is not a port",
    );
    assert_is_told_soon(&format!("{}\t\nb", "a: b".repeat(2 << 20)), "");
}

#[test]
fn many_mistakes() {
    let daemon = "  - { nmaes: a, hosts: b, endpoints: [ { names: c, ports: 1 } ] }\n";
    let begin = Instant::now();
    let printed = said_of(&format!("daemons:\n{}", daemon.repeat(20_000)));
    assert_eq!(printed.len(), 1_001);
    assert!(printed[1_000].contains("there are further mistakes"), "{}", printed[1_000]);
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
}
