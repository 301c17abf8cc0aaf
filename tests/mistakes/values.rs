//! Values that cannot be: times, ports, permissions, words, regular expressions.

use crate::assert_each_is_told_once;

#[test]
fn times() {
    assert_each_is_told_once(&[
        (
            "- interval: 1s",
            "- interval: 1 sec",
            "20:23: error: `interval`: `sec` is not a unit of time",
            "such as `1.5s`",
        ),
        ("- interval: 1s", "- interval: '1,5s'", "20:23: error: `interval`: `,5s` is not a unit", "such as `1.5s`"),
        ("- interval: 1s", "- interval: soon", "20:23: error: `interval`: `soon` is not an interval", "such as `1.5s`"),
        ("- interval: 1s", "- interval: 1.5", "20:23: error: `interval`: `1.5` is finer than a microsecond", "`1.5s`"),
        ("- interval: 1s", "- interval: -1s", "20:23: error: an `interval` of -1000000 us is too short", "`1s`"),
        ("- interval: 1s", "- interval: 0", "20:23: error: an `interval` of 0 us is too short", "`1s`"),
        ("interval: 1s }", "interval: 0ms }", "25:40: error: an `interval` of 0 us is too short", "`1s`"),
        ("interval: 1s }", "interval: 1w }", "25:40: error: `interval`: `w` is not a unit of time", "such as `1.5s`"),
        ("reconnect: 1s", "reconnect: 1x", "18:20: error: `reconnect`: `x` is not a unit of time", "such as `1.5s`"),
        ("container: c", "container: c, flush: never", "28:75: error: `flush`: `never` is not an interval", "`1.5s`"),
        (
            "- interval: 1s",
            "- interval: 1s\n            offset: 600ms",
            "21:21: error: an `offset` of 600000 us is more than half of the `interval` of 1000000 us",
            "half of the interval",
        ),
        (
            "interval: 1s }",
            "interval: 1s, offset: -2s }",
            "25:52: error: an `offset` of -2000000 us",
            "half of the interval",
        ),
    ]);
}

#[test]
fn ports_and_transports() {
    assert_each_is_told_once(&[
        ("ports: 10002", "ports: 70000", "6:16: error: `70000` is not a port", "1 to 65535"),
        ("ports: 10002", "ports: 0", "6:16: error: `0` is not a port", "1 to 65535"),
        ("ports: 10002", "ports: http", "6:16: error: `http` is not a port", "1 to 65535"),
        ("ports: 10002", "ports: 10002\n        xprt: socks", "7:15: error: LDMS has no transport `socks`", "`sock`"),
        (
            "ports: 10002",
            "ports: 10002\n        xprt: rdma",
            "7:15: error: maestro speaks to daemons over `sock` only, not over `rdma`",
            "`maestro_comm: false`",
        ),
        (
            "[ meminfo1 ]",
            "[ meminfo1 ]\n    advertise: { hosts: node-9, port: ten, reconnect: 1s }",
            "24:39: error: `port` is not a port",
            "1 to 65535",
        ),
    ]);
}

#[test]
fn permissions() {
    for (wrong, message) in
        [("rwx", "`rwx` is"), ("rw-rw-rwz", "`rw-rw-rwz` is"), ("0888", "`0888` is"), ("0x1ff", "`0x1ff` is")]
    {
        let new: &'static str = format!("reconnect: 1s\n        perm: {wrong}").leak();
        let message: &'static str = format!("19:15: error: `perm`: {message} not a permission").leak();
        assert_each_is_told_once(&[("reconnect: 1s", new, message, "nine letters, such as `rw-r-----`")]);
    }
}

#[test]
fn words() {
    assert_each_is_told_once(&[
        ("maestro_comm: true", "maestro_comm: maybe", "7:23: error: `maestro_comm` is true or false", "write `true`"),
        (
            "reconnect: 1s",
            "reconnect: 1s\n        cache_ip: always",
            "19:19: error: `cache_ip` is true or false",
            "`true`",
        ),
        (
            "reconnect: 1s",
            "reconnect: 1s\n        type: actve",
            "19:15: error: `actve` is no type of producer",
            "`active`",
        ),
        ("- interval: 1s", "- interval: 1s\n            mode: poll", "21:19: error: `poll` is no mode", "`pull`"),
        (
            "- interval: 1s",
            "- interval: 1s\n            mode: static",
            "21:19: error: `static` is no mode",
            "`onchange`",
        ),
        (
            "- interval: 1s",
            "- interval: 1s\n            sets: [ { regex: a, field: schemas } ]",
            "21:40: error: sets have no field `schemas` to match",
            "`schema`",
        ),
        (
            "    peers:\n",
            "    prdcr_listen: [ { name: l, type: bridge } ]\n    peers:\n",
            "16:38: error: `bridge` is no type of advertised producer",
            "`active` or `passive`",
        ),
        (
            "maestro_comm: true",
            "maestro_comm: true\n        auth: { name: x, plugin: ovsi }",
            "8:34: error: LDMS comes with no authentication plugin `ovsi`",
            "did you mean `ovis`?",
        ),
        (
            "maestro_comm: true",
            "maestro_comm: true\n        auth: { name: x, plugin: kerberos }",
            "8:34: warning: LDMS comes with no authentication plugin `kerberos`",
            "`munge`",
        ),
        (
            "hosts: node-9",
            "hosts: node-9\n    environment: [ A=1, B ]",
            "10:25: error: `B` is no variable",
            "`- NAME=value`",
        ),
    ]);
}

#[test]
fn regular_expressions() {
    assert_each_is_told_once(&[
        (
            "- interval: 1s",
            "- interval: 1s\n            producers: 'node-(1|2'",
            "21:30: error: this parenthesis is never closed in the regular expression `node-(1|2`",
            "write `)`",
        ),
        (
            "- interval: 1s",
            "- interval: 1s\n            sets: [ { regex: 'mem[a-z', field: inst } ]",
            "21:34: error: this bracket is never closed",
            "write `]`",
        ),
        (
            "    peers:\n",
            "    subscribe: [ { stream: s, regex: '*' } ]\n    peers:\n",
            "16:39: error: there is nothing to repeat before this `*`",
            "write `.*`",
        ),
        (
            "    peers:\n",
            "    prdcr_listen: [ { name: l, regex: 'node-\\' } ]\n    peers:\n",
            "16:45: error: a backslash at the end",
            "remove it",
        ),
        (
            "schema: meminfo",
            "regex: '(a', decomposition: /d",
            "28:45: error: this parenthesis is never closed",
            "write `)`",
        ),
    ]);
}
