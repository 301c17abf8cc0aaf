//! Names of what is not there, or is something else.

use crate::assert_each_is_told_once;

#[test]
fn what_is_not_there_is_told_with_what_is() {
    assert_each_is_told_once(&[
        (
            "- daemons: *aggs\n",
            "- daemons: agg-[1-3]\n",
            "15:14: error: no daemon is called `agg-3`",
            "there are `agg-[1-2]`",
        ),
        ("daemons: *samplers", "daemons: smapler-1", "22:14: error: no daemon is called `smapler-1`", "`sampler-1`"),
        (
            "daemons: *samplers",
            "daemons: sampler-[1-5]",
            "22:14: error: no daemon is called `sampler-5`",
            "`sampler-[1-4]`",
        ),
        ("endpoints: *eps", "endpoints: sampler-[1-4]-epp", "17:20: error: no endpoints are called", "`sampler-1-ep`"),
        (
            "endpoints: *eps",
            "endpoints: cabinet-7",
            "17:20: error: no endpoint is called `cabinet-7`",
            "define it in the section",
        ),
        (
            "reconnect: 1s",
            "reconnect: 1s\n        daemons: sampler-[1-5]",
            "19:18: error: no daemon is called `sampler-5`",
            "there are `sampler-[1-4]`",
        ),
        ("[ meminfo1 ]", "[ meminfo ]", "23:16: error: no plugin is called `meminfo`", "did you mean `meminfo1`?"),
        ("plugin: csv", "plugin: sos", "28:32: error: no plugin is called `sos`", "define it in the section `plugins`"),
        (
            "    peers:\n",
            "    plugins: [ meminfo2 ]\n    peers:\n",
            "16:16: error: no plugin is called `meminfo2`",
            "did you mean `meminfo1`?",
        ),
        (
            "[ meminfo1 ]",
            "[ meminfo1 ]\n    advertise: { to: agg-9-ep, reconnect: 1s }",
            "24:22: error: no endpoint is called `agg-9-ep`",
            "there are `agg-[1-2]-ep`",
        ),
        (
            "    peers:\n",
            "    prdcr_listen: [ { names: 'sampler-[4-5]-ep' } ]\n    peers:\n",
            "16:30: error: no endpoint is called `sampler-5-ep`",
            "there are `sampler-[1-4]-ep`",
        ),
        ("s: { daemons: *aggs", "s: { daemons: 'agg-[1-3]'", "28:17: error: not aggregators: `agg-3`", "`agg-1`"),
    ]);
}

#[test]
fn what_is_something_else_is_told_too() {
    assert_each_is_told_once(&[
        (
            "s: { daemons: *aggs",
            "s: { daemons: *samplers",
            "28:17: error: not aggregators: `sampler-1`",
            "name aggregators",
        ),
        (
            "s: { daemons: *aggs",
            "s: { daemons: agg-1",
            "28:17: error: the store leaves out `agg-2`",
            "write `daemons: \"agg-[1-2]\"`",
        ),
        (
            "endpoints: *eps",
            "endpoints: agg-1-ep",
            "17:20: error: aggregators cannot collect from their own group: `agg-1-ep`",
            "other daemons",
        ),
        (
            "reconnect: 1s",
            "reconnect: 1s\n        daemons: sampler-[1-3]",
            "17:20: error: `daemons` does not name the daemons of `sampler-4-ep`",
            "leave `daemons` out",
        ),
        (
            "- daemons: *aggs\n",
            "- daemons: agg-1\n  - daemons: *aggs\n",
            "16:14: error: `agg-1` already in the group `agg-1` (line 15)",
            "in one group only",
        ),
        (
            "[ meminfo1 ]",
            "[ meminfo1 ]\n    advertise: { names: agg-1, to: agg-2-ep, reconnect: 1s }",
            "24:25: error: `agg-1` is not one of the daemons of this entry",
            "in its own",
        ),
        (
            "reconnect: 1s",
            "reconnect: 1s\n        type: advertised",
            "19:15: error: the group `agg-[1-2]` does not listen",
            "add `prdcr_listen",
        ),
    ]);
}

#[test]
fn plugins_may_run_on_aggregators_too() {
    let samplers = "daemons: *aggs\n    plugins: [ meminfo1 ]\n  - daemons: *samplers";
    assert_eq!(crate::diagnostics("daemons: *samplers", samplers), Vec::<String>::new());
}
