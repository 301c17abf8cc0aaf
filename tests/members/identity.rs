//! Which member a maestro is.

use crate::site::Site;
use crate::support::FreePort;

#[tokio::test]
async fn who_does_not_know_itself_says_what_to_write() {
    let site = Site::without_daemons();
    let etcd = site.start_etcd().await;
    site.load("cluster.yaml");
    let endpoint = etcd.endpoint();
    let (host, port) = endpoint.split_once(':').unwrap();
    let members = format!("members: [ {{ host: {host}, port: {port} }} ]\n");
    let here = "{ host: 127.0.0.1, port: 4411 }";
    for (maestros, member, expected) in [
        (format!("[ {here}, {{ host: 127.0.0.1, port: 4412 }} ]"), None, "say which with --member 127.0.0.1:4411"),
        (format!("[ {here} ]"), Some("127.0.0.1:4412"), "--member 127.0.0.1:4412 is none of the `maestro_members`"),
        (format!("[ {here}, {here} ]"), None, "127.0.0.1:4411 is listed twice"),
        ("[ { host: 192.0.2.1 } ]".to_owned(), None, "is none of the `maestro_members` of etcd.yaml (192.0.2.1:4411)"),
        ("[]".to_owned(), Some("127.0.0.1:4411"), "etcd.yaml lists no `maestro_members`"),
    ] {
        site.write_text("members.yaml", &format!("{members}maestro_members: {maestros}\n"));
        let named = member.map(|member| ["--member", member]);
        let arguments = ["--cluster", "members.yaml"].into_iter().chain(named.into_iter().flatten());
        let ended = site.maestro_that_ends(&arguments.collect::<Vec<_>>()).await;
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        assert!(ended.stderr.contains(expected), "{expected:?} is not in: {}", ended.stderr);
    }
}

#[tokio::test]
async fn a_second_maestro_of_a_name_waits_for_the_end_of_the_first() {
    let site = Site::start().await;
    let etcd = site.start_etcd().await;
    site.load("cluster.yaml");
    let endpoint = etcd.endpoint();
    let (host, port) = endpoint.split_once(':').unwrap();
    let text = format!("members: [ {{ host: {host}, port: {port} }} ]\nmaestro_members: [ {{ host: localhost }} ]\n");
    site.write_text("members.yaml", &text);
    let mut first = site.maestro(&["--cluster", "members.yaml"]);
    first.until_log("localhost:4411 state changed STARTING => LEADER").await;
    site.until_home().await;
    let mut second = site.maestro(&["--cluster", "members.yaml"]);
    second.until_log("another maestro is member localhost:4411 (process ").await;
    assert_eq!(first.signal("TERM").await, Some(0));
    second.until_log("state changed SUSPENDED => LEADER").await;
}

#[tokio::test]
async fn who_has_another_list_is_told_of() {
    let site = Site::without_daemons();
    let etcd = site.start_etcd().await;
    site.load("cluster.yaml");
    let endpoint = etcd.endpoint();
    let (host, port) = endpoint.split_once(':').unwrap();
    let ports = [(); 3].map(|()| FreePort::reserve());
    let list = |ports: &[FreePort]| {
        let members: String =
            ports.iter().map(|port| format!("{{ host: 127.0.0.1, port: {} }}, ", port.number())).collect();
        format!("members: [ {{ host: {host}, port: {port} }} ]\nmaestro_members: [ {members} ]\n")
    };
    site.write_text("three.yaml", &list(&ports));
    site.write_text("two.yaml", &list(&ports[..2]));
    let mut first = site.maestro(&["--cluster", "three.yaml", "--member", &ports[0].endpoint()]);
    let _second = site.maestro(&["--cluster", "two.yaml", "--member", &ports[1].endpoint()]);
    let warning = format!("maestro member {} lists other `maestro_members` than our etcd.yaml", ports[1].endpoint());
    first.until_log(&warning).await;
}

#[tokio::test]
async fn who_was_started_with_other_options_is_told_of() {
    let site = Site::without_daemons();
    let etcd = site.start_etcd().await;
    site.load("cluster.yaml");
    let endpoint = etcd.endpoint();
    let (host, port) = endpoint.split_once(':').unwrap();
    let ports = [(); 2].map(|()| FreePort::reserve());
    let members: String =
        ports.iter().map(|port| format!("{{ host: 127.0.0.1, port: {} }}, ", port.number())).collect();
    let text = format!("members: [ {{ host: {host}, port: {port} }} ]\nmaestro_members: [ {members} ]\n");
    site.write_text("members.yaml", &text);
    let start = |index: usize, options: &[&str]| {
        let arguments = ["--cluster", "members.yaml", "--member", &ports[index].endpoint()];
        site.maestro(&[&arguments, options].concat())
    };
    let mut first = start(0, &[]);
    let _second = start(1, &["--rebalance", "sets", "--standby"]);
    let other = ports[1].endpoint();
    let warning = format!(
        "maestro member {other} was started with `--rebalance sets --band 10 --standby` and we with `--rebalance producers`"
    );
    first.until_log(&warning).await;
}
