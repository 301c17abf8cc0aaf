//! `maestro_ctrl --check`: is the YAML right, without etcd and without a daemon.

use crate::site::Site;

#[test]
fn a_file_that_is_right_is_said_to_be_and_nothing_is_touched() {
    let site = Site::without_daemons();
    let checked = site.maestro_ctrl(&["--check", "--ldms_config", "cluster.yaml"]);
    assert_eq!((checked.code, checked.stderr.as_str()), (Some(0), ""));
    assert_eq!(checked.stdout, "cluster.yaml is right: 12 daemons, 4 of them aggregators in 2 groups\n");
}

#[test]
fn all_mistakes_are_shown_on_standard_error() {
    let site = Site::without_daemons();
    let misspelt = ("container: all, schema: meminfo", "contanier: all, schema: meminfo");
    site.write("cluster.yaml", &[("daemons: *samplers", "daemons: nobody"), misspelt]);
    let checked = site.maestro_ctrl(&["--check", "--ldms_config", "cluster.yaml"]);
    assert_eq!((checked.code, checked.stdout.as_str()), (Some(1), ""));
    for message in ["error: no daemon is called `nobody`", "error: unknown key `contanier`"] {
        assert!(checked.stderr.contains(message), "{}", checked.stderr);
    }
    assert_eq!(checked.stderr.matches("cluster.yaml:").count(), 2, "{}", checked.stderr);
}

#[test]
fn the_examples_for_operators_are_right() {
    let site = Site::without_daemons();
    for example in ["orion.yaml", "advertise.yaml"] {
        let path = format!("{}/config/{example}", env!("CARGO_MANIFEST_DIR"));
        let checked = site.maestro_ctrl(&["--check", "--ldms_config", &path]);
        assert_eq!((checked.code, checked.stderr.as_str()), (Some(0), ""), "{example}");
    }
}
