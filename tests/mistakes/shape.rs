//! Sections and entries that do not have the shape they should: keys, lists, mappings.

use crate::{assert_each_is_told_once, said_of};

#[test]
fn a_misspelt_key_is_told_and_what_it_says_is_not_missed() {
    assert_each_is_told_once(&[
        ("daemons:\n  -", "daemon:\n  -", "1:1: error: unknown key `daemon`", "did you mean `daemons`?"),
        ("aggregators:", "agregators:", "14:1: error: unknown key `agregators`", "did you mean `aggregators`?"),
        ("samplers:\n", "sampler:\n", "21:1: error: unknown key `sampler`", "did you mean `samplers`?"),
        ("plugins:\n", "plugin:\n", "24:1: error: unknown key `plugin`", "did you mean `plugins`?"),
        ("stores:", "sotres:", "27:1: error: unknown key `sotres`", "did you mean `stores`?"),
        (
            "names: &samplers",
            "name: &samplers",
            "2:5: error: unknown key `name` of a daemon entry",
            "did you mean `names`?",
        ),
        ("    endpoints:\n", "    endpionts:\n", "4:5: error: unknown key `endpionts`", "did you mean `endpoints`?"),
        ("endpoints: *eps", "endpoint: *eps", "17:9: error: unknown key `endpoint`", "did you mean `endpoints`?"),
        ("- interval: 1s", "- intervall: 1s", "20:13: error: unknown key `intervall`", "did you mean `interval`?"),
        ("interval: 1s }", "inteval: 1s }", "25:30: error: unknown key `inteval`", "did you mean `interval`?"),
        (
            "hosts: node-9",
            "hosts: node-9\n    streem_enable: true",
            "10:5: error: unknown key `streem_enable`",
            "`stream_enable`",
        ),
    ]);
}

#[test]
fn an_unknown_key_is_a_warning() {
    assert_each_is_told_once(&[
        ("stores:", "storage:", "27:1: warning: unknown key `storage`", "stores"),
        ("reconnect: 1s", "reconnect: 1s\n        colour: red", "19:9: warning: unknown key `colour`", "rx_rate"),
    ]);
}

#[test]
fn what_must_be_there_is_asked_for() {
    assert_each_is_told_once(&[
        ("    hosts: node-9\n", "", "8:5: error: a daemon entry needs `hosts`", "add `hosts: …`"),
        ("        ports: 10002\n", "", "5:9: error: an endpoint entry needs `ports`", "add `ports: …`"),
        ("        reconnect: 1s\n", "", "17:9: error: a peers entry needs `reconnect`", "add `reconnect: …`"),
        (
            "- endpoints: *eps\n        reconnect",
            "- reconnect",
            "17:9: error: a peers entry needs `endpoints`",
            "add `endpoints",
        ),
        ("- interval: 1s", "- mode: pull", "20:13: error: an updater needs `interval`", "add `interval: …`"),
        ("plugin: csv, ", "", "28:6: error: a store needs `plugin`", "add `plugin: …`"),
        ("daemons: *aggs, plugin", "plugin", "28:6: error: a store needs `daemons`", "add `daemons: …`"),
        ("schema: meminfo, ", "", "28:6: error: store `s` does not say what to store", "add `schema: …`"),
        (
            "- daemons: *samplers\n    plugins",
            "- plugins",
            "22:5: error: a samplers entry needs `daemons`",
            "add `daemons",
        ),
        (
            "maestro_comm: true",
            "maestro_comm: true\n        auth: { conf: /etc/secret }",
            "8:15: error: an authentication domain needs `plugin`",
            "add `plugin: munge`",
        ),
        (
            "[ meminfo1 ]",
            "[ meminfo1 ]\n    advertise: { reconnect: 1s }",
            "24:16: error: an advertise entry needs somebody to advertise to",
            "add `to: …`",
        ),
        (
            "    peers:\n",
            "    prdcr_listen: [ { name: l, type: active, reconnect: 1s, advertiser_port: 1 } ]\n    peers:\n",
            "16:21: error: a prdcr_listen entry of `type: active` needs `advertiser_xprt`",
            "add `advertiser_xprt: …`",
        ),
        (
            "    peers:\n",
            "    subscribe: [ { regex: x } ]\n    peers:\n",
            "16:18: error: a subscription needs something to subscribe to",
            "add one of `stream`",
        ),
        ("[ meminfo1 ]", "[ { interval: 1s } ]", "23:16: error: a plugin needs `name`", "add `name: meminfo`"),
    ]);
}

#[test]
fn a_mapping_in_the_place_of_a_list_is_told() {
    assert_each_is_told_once(&[
        (
            "  - daemons: *samplers\n    plugins: [ meminfo1 ]",
            "  samplers-[1-4]: { plugins: [ meminfo1 ] }",
            "22:3: error: `samplers` must be a list",
            "with `- ` before its first key",
        ),
        (
            "[ meminfo1 ]",
            "{ meminfo1: { interval: 1s } }",
            "23:16: error: `plugins` must be a list",
            "not below `meminfo1:`",
        ),
        ("- interval: 1s", "u1: { interval: 1s }", "20:11: error: `updaters` must be a list", "not below `u1:`"),
    ]);
    let printed = said_of(
        "daemons:\n  a:\n    hosts: b\n    endpoints: [ { names: a, ports: 1 } ]\naggregators: [ { daemons: a } ]\n",
    );
    assert_eq!(printed.len(), 1, "{printed:?}");
    assert!(printed[0].starts_with("ldms.yaml:2:3: error: `daemons` must be a list"), "{}", printed[0]);
}

#[test]
fn names_before_the_entries_of_a_list_are_told() {
    assert_each_is_told_once(&[
        (
            "[ meminfo1 ]",
            "\n      - vmstat: { interval: 1s }",
            "24:9: error: a plugin in a list needs `name`",
            "write `name: vmstat`",
        ),
        (
            "plugins:\n  meminfo1: {",
            "plugins:\n  x: y\n  meminfo1: {",
            "25:6: error: a plugin must be a mapping",
            "`key: value`",
        ),
        (
            "  - names: &aggs",
            "  - agg-9\n  - names: &aggs",
            "8:5: error: a daemon entry must be a mapping",
            "`key: value`",
        ),
    ]);
}

#[test]
fn a_list_or_mapping_in_the_place_of_a_value_is_told() {
    assert_each_is_told_once(&[
        ("name: meminfo,", "name: [ meminfo ],", "25:21: error: `name` must be a single value", "write one word"),
        ("container: c", "container: { path: c }", "28:65: error: `container` must be a single value", "one word"),
        ("[ path=/data ]", "[ { path: { a: b } } ]", "26:45: error: `path` must be a single value", "one word"),
    ]);
}

#[test]
fn one_thing_excludes_another() {
    assert_each_is_told_once(&[
        (
            "schema: meminfo",
            "schema: meminfo, regex: mem.*, decomposition: /d",
            "28:61: error: store `s` has both `schema` and `regex`",
            "keep one",
        ),
        (
            "schema: meminfo",
            "regex: mem.*",
            "28:44: error: store `s` has a `regex`, but no decomposition",
            "`decomposition: …`",
        ),
        (
            "    peers:\n",
            "    subscribe: [ { stream: a, message_tag: b } ]\n    peers:\n",
            "16:18: error: a subscription is to one thing only",
            "an entry for each",
        ),
        (
            "    peers:\n",
            "    peers:\n      - { endpoints: *eps, reconnect: 2s }\n",
            "18:20: error: producers of this group already, with other attributes: `sampler-1-ep`",
            "in one peers entry",
        ),
    ]);
}
