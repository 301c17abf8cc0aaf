//! Names: hostlists, pairing, names that are given twice.

use crate::assert_each_is_told_once;

#[test]
fn a_bad_hostlist_is_told_once_wherever_its_aliases_are() {
    assert_each_is_told_once(&[
        (
            "&aggs agg-[1-2]",
            "&aggs agg-[1-x]",
            "8:25: error: `x` is not a number in `agg-[1-x]`",
            "brackets hold numbers",
        ),
        (
            "&aggs agg-[1-2]",
            "&aggs agg 1",
            "8:21: error: a name must not contain white space",
            "separate names by commas",
        ),
        ("hosts: node-9", "hosts: node-[9", "9:17: error: this bracket is never closed", "write `]`"),
        ("names: agg-[1-2]-ep", "names: agg-1-2]-ep", "11:23: error: this bracket was never opened", "write `[`"),
        ("ports: '[10101-10102]'", "ports: '[10102-10101]'", "12:18: error: the range 10102-10101", "`[10101-10102]`"),
        ("endpoints: *eps", "endpoints: sampler-[1-4-ep", "17:28: error: this bracket is never closed", "write `]`"),
        ("daemons: *samplers", "daemons: 'sampler-[1-4],'", "22:29: error: a name is missing here", "remove the comma"),
        ("s: { daemons: *aggs", "s: { daemons: 'agg-[]'", "28:23: error: a number is missing here", "`[1-8]`"),
        (
            "&aggs agg-[1-2]",
            "&aggs agg-[1-1000000000]",
            "8:18: error: this stands for too many names",
            "check the ranges",
        ),
    ]);
}

#[test]
fn counts_that_do_not_divide_show_both_expansions() {
    assert_each_is_told_once(&[
        (
            "hosts: node-[1-4]",
            "hosts: node-[1-3]",
            "3:12: error: 4 daemons cannot be shared evenly by 3 hosts",
            "`sampler-4`; hosts: `node-1`, `node-2`, `node-3`",
        ),
        (
            "'[10101-10102]'",
            "'[10101-10103]'",
            "12:16: error: 2 endpoints cannot be shared evenly by 3 ports",
            "endpoints: `agg-1-ep`, `agg-2-ep`; ports: `10101`, `10102`, `10103`",
        ),
        (
            "ports: '[10101-10102]'",
            "ports: '[10101-10102]'\n        hosts: x-[1-3]",
            "13:16: error: 2 endpoints cannot be shared evenly by 3 hosts",
            "hosts: `x-1`, `x-2`, `x-3`",
        ),
        (
            "names: agg-[1-2]-ep",
            "names: agg-[1-3]-ep",
            "11:16: error: 3 endpoints cannot be shared evenly by 2 daemons",
            "endpoints: `agg-1-ep`, `agg-2-ep`, `agg-3-ep`; daemons: `agg-1`, `agg-2`",
        ),
        (
            "plugins: [ meminfo1 ]",
            "plugins: [ meminfo1 ]\n    advertise: { names: 'x-[1-3]', to: agg-1-ep, reconnect: 1s }",
            "24:25: error: `names` are neither daemons nor endpoints: `x-1`, `x-2`, `x-3`",
            "4 names of your own",
        ),
    ]);
}

#[test]
fn a_name_is_given_once() {
    assert_each_is_told_once(&[
        (
            "&aggs agg-[1-2]",
            "&aggs agg-1,agg-1",
            "8:12: error: daemon `agg-1` is defined twice, first at line 8",
            "of its own",
        ),
        (
            "names: agg-[1-2]-ep",
            "names: sampler-[1-2]-ep",
            "11:16: error: endpoints `sampler-1-ep`, `sampler-2-ep` are defined twice, first at line 5",
            "of its own",
        ),
        (
            "  csv:",
            "  meminfo1: { name: meminfo, interval: 2s }\n  csv:",
            "26:3: error: key `meminfo1` is repeated, first at line 25",
            "keep one",
        ),
        (
            "  s:",
            "  s: { daemons: *aggs, plugin: csv, schema: x, container: c }\n  s:",
            "29:3: error: key `s` is repeated, first at line 28",
            "keep one",
        ),
        ("[ meminfo1 ]", "[ meminfo1, meminfo1 ]", "23:26: error: plugin `meminfo1` is listed twice", "list it once"),
        (
            "    hosts: node-9\n",
            "    hosts: node-9\n    hosts: node-8\n",
            "10:5: error: key `hosts` is repeated, first at line 9",
            "keep one",
        ),
        (
            "samplers:\n",
            "plugins:\n  x: { name: y, interval: 1s }\nsamplers:\n",
            "26:1: error: the section `plugins` is here twice, first at line 21",
            "in one",
        ),
    ]);
}

#[test]
fn two_daemons_do_not_listen_on_one_port() {
    assert_each_is_told_once(&[(
        "ports: '[10101-10102]'",
        "ports: 10101",
        "11:16: error: `agg-2-ep` listens where `agg-1-ep` does, on port 10101 of `node-9`",
        "give the daemons `agg-1` and `agg-2` ports of their own",
    )]);
}
