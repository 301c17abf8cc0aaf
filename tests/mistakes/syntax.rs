//! What is no YAML.

use crate::{CLUSTER, assert_each_is_told_once, said_of};

#[test]
fn wrong_indentation_is_told_with_the_right_one() {
    assert_each_is_told_once(&[
        (
            "    hosts: node-9\n",
            "   hosts: node-9\n",
            "9:4: error: this key is indented by 3, which fits nothing above",
            "indent it by 4, as line 8",
        ),
        (
            "        ports: 10002\n",
            "       ports: 10002\n",
            "6:8: error: this key is indented by 7, which fits nothing above",
            "indent it by 8, as line 5",
        ),
        (
            "        reconnect: 1s\n",
            "      reconnect: 1s\n",
            "18:7: error: a key stands where items begin",
            "indent it by 8",
        ),
        (
            "- names: &samplers",
            "  names: &samplers",
            "8:3: error: this item is indented by 2, which fits nothing above",
            "write `- ` before the entry at line 2, too",
        ),
        ("meminfo1: {", "- meminfo1: {", "26:3: error: a key stands where items begin", "write `- ` before it"),
    ]);
}

#[test]
fn tabs_are_pointed_at() {
    assert_each_is_told_once(&[
        ("    hosts: node-9\n", "\thosts: node-9\n", "9:1: error: a tab stands here", "write spaces"),
        ("    hosts: node-9\n", "    hosts:\tnode-9\n", "9:11: error: a tab stands here", "write spaces"),
        ("        ports: 10002\n", "    \tports: 10002\n", "6:5: error: a tab stands here", "write spaces"),
    ]);
}

#[test]
fn a_missing_colon_is_told_where_it_is_missing() {
    assert_each_is_told_once(&[
        ("    hosts: node-9\n", "    hosts node-9\n", "9:5: error: a colon is missing behind `hosts`", "`hosts: …`"),
        ("hosts: node-9", "hosts:node-9", "9:5: error: a space is missing behind the colon of `hosts:`", "`hosts: …`"),
        (
            "        maestro_comm: true\n  - names: &aggs",
            "        maestro_comm true\n  - names: &aggs",
            "7:9: error: a colon is missing behind `maestro_comm`",
            "`maestro_comm: …`",
        ),
        ("plugin: csv,", "plugin csv,", "28:24: error: a colon is missing behind `plugin`", "`plugin: …`"),
    ]);
}

#[test]
fn an_unknown_anchor_is_told_with_its_name() {
    assert_each_is_told_once(&[
        ("endpoints: *eps", "endpoints: *epz", "17:20: error: no value further up has the anchor `&epz`", "`*eps`"),
        (
            "- daemons: *aggs\n",
            "- daemons: *agg\n",
            "15:14: error: no value further up has the anchor `&agg`",
            "`*aggs`",
        ),
        (
            "endpoints: *eps",
            "endpoints: *everything",
            "17:20: error: no value further up has the anchor `&everything`",
            "write `&everything` before the value",
        ),
        (
            "- daemons: *aggs\n",
            "- daemons: *aggs\n    <<: *eps\n",
            "16:9: error: only mappings can be merged",
            "`<<: *defaults`",
        ),
    ]);
}

#[test]
fn brackets_and_quotation_marks_need_their_ends() {
    assert_each_is_told_once(&[
        ("[ path=/data ] }", "[ path=/data ]", "26:8: error: this `{` is never closed", "write `}`"),
        ("[ meminfo1 ]", "[ meminfo1", "23:14: error: this `[` is never closed", "write `]`"),
        ("'[10101-10102]'", "'[10101-10102]", "12:16: error: ", "close the quotation mark"),
        ("hosts: node-9", "hosts: [node-[1-2]]", "9:18: error: ", "quote hostlists"),
        ("hosts: node-9", "hosts: %node", "9:12: error: ", "quote texts"),
        ("hosts: node-9", "hosts: @node", "9:12: error: ", "quote texts"),
    ]);
}

#[test]
fn a_second_document_is_no_part_of_the_file() {
    let printed = said_of(&format!("{CLUSTER}---\n{CLUSTER}"));
    assert_eq!(printed.len(), 1);
    assert!(printed[0].starts_with("ldms.yaml:29:1: error: a second document begins here"), "{}", printed[0]);
}

#[test]
fn files_of_other_systems_are_read() {
    assert_eq!(said_of(&CLUSTER.replace('\n', "\r\n")), Vec::<String>::new());
    assert_eq!(said_of(&format!("\u{feff}{CLUSTER}")), Vec::<String>::new());
    assert_eq!(said_of(&format!("%YAML 1.2\n---\n{CLUSTER}...\n")), Vec::<String>::new());
}
