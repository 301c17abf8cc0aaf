//! etcd.yaml: who may talk to etcd, and what is said where one may not.

use crate::site::{Finished, Site};
use crate::support::FreePort;
use crate::support::etcd::{Etcd, tls_file};

/// An etcd.yaml for members, with further lines.
fn etcd_yaml(members: &[&str], more: &str) -> String {
    let member = |endpoint: &&str| {
        let (host, port) = endpoint.split_once(':').unwrap();
        format!("members: [ {{ host: {host}, port: {port} }} ]\n")
    };
    members.iter().map(member).collect::<String>() + more
}

fn load(site: &Site, etcd_yaml: &str) -> Finished {
    site.write_text("etcd.yaml", etcd_yaml);
    site.maestro_ctrl(&["--cluster", "etcd.yaml", "--ldms_config", "cluster.yaml", "--prefix", "orion"])
}

#[track_caller]
fn assert_refused(site: &Site, etcd_yaml: &str, expected: &str) {
    let refused = load(site, etcd_yaml);
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(1), ""), "{}", refused.stderr);
    assert!(refused.stderr.contains(expected), "{:?} is not in: {}", expected, refused.stderr);
}

#[tokio::test]
async fn the_first_member_that_answers_will_do() {
    let site = Site::without_daemons();
    let etcd = Etcd::start().await;
    let dead = FreePort::reserve();
    let loaded = load(&site, &etcd_yaml(&[&dead.endpoint(), &etcd.endpoint()], ""));
    assert_eq!(loaded.code, Some(0), "{}", loaded.stderr);
    let other = FreePort::reserve();
    let expected = format!(
        "etcd at {}, {}, no-such-host.invalid:2379 does not answer: {}: connection refused; {}: connection refused; \
         no-such-host.invalid:2379: ",
        dead.endpoint(),
        other.endpoint(),
        dead.endpoint(),
        other.endpoint(),
    );
    let members = [&*dead.endpoint(), &*other.endpoint(), "no-such-host.invalid:2379"];
    assert_refused(&site, &etcd_yaml(&members, ""), &expected);
}

#[tokio::test]
async fn a_user_needs_its_password() {
    let site = Site::without_daemons();
    let etcd = Etcd::start_with_authentication().await;
    let endpoint = etcd.endpoint();
    let with = |user: &str| etcd_yaml(&[&endpoint], user);
    let loaded = load(&site, &with("user: maestro\npassword: opensesame\n"));
    assert_eq!(loaded.code, Some(0), "{}", loaded.stderr);
    let refuses = format!("etcd at {endpoint} refuses access: ");
    let wrong = "user: maestro\npassword: hunter2\n";
    assert_refused(&site, &with(wrong), &format!("{refuses}authentication failed, invalid user ID or password\n"));
    assert_refused(&site, &with(""), &format!("{refuses}user name is empty\n"));
    assert_refused(&site, &with("user: maestro\n"), "`user` and `password` belong together");
    assert!(!load(&site, &with(wrong)).stderr.contains("hunter2"), "the password is shown");
}

#[tokio::test]
async fn tls_needs_the_right_files() {
    let site = Site::without_daemons();
    let etcd = Etcd::start_with_tls().await;
    let endpoint = etcd.endpoint();
    let files = |files: &[(&str, &str)]| {
        let line = |(key, name): &(&str, &str)| format!("{key}: {}\n", tls_file(name).display());
        etcd_yaml(&[&endpoint], &files.iter().map(line).collect::<String>())
    };
    let ours = [("ca", "ca.pem"), ("cert", "client.pem"), ("key", "client.key")];
    let loaded = load(&site, &files(&ours));
    assert_eq!(loaded.code, Some(0), "{}", loaded.stderr);

    let silent = format!("etcd at {endpoint} does not answer: ");
    for (wrong, complaint) in [
        (&[][..], "say `ca` in etcd.yaml"),
        (&[("ca", "other-ca.pem")], "no authority in the file `ca` vouches for it"),
        (&[("ca", "ca.pem")], "if it wants a certificate of yours, say `cert` and `key`"),
    ] {
        assert_refused(&site, &files(wrong), &silent);
        assert_refused(&site, &files(wrong), complaint);
    }
    assert_refused(&site, &files(&ours[..2]), "`cert` and `key` belong together");
    assert_refused(&site, &files(&ours[1..]), "which needs `ca`");
    let not_a_certificate = [("ca", "ca.pem"), ("cert", "client.key"), ("key", "client.key")];
    assert_refused(&site, &files(&not_a_certificate), "client.key: it holds no certificate");
    let not_a_key = [("ca", "ca.pem"), ("cert", "client.pem"), ("key", "client.pem")];
    assert_refused(&site, &files(&not_a_key), "client.pem: it holds no private key");
    let mixed_up = [("ca", "ca.pem"), ("cert", "client.pem"), ("key", "server.key")];
    assert_refused(&site, &files(&mixed_up), "client.pem: keys may not be consistent: KeyMismatch");

    let plain = Etcd::start().await;
    let expected = format!("etcd at {} does not answer: ", plain.endpoint());
    let ca = format!("ca: {}\n", tls_file("ca.pem").display());
    assert_refused(&site, &etcd_yaml(&[&plain.endpoint()], &ca), &expected);
    assert_refused(&site, &etcd_yaml(&[&plain.endpoint()], &ca), "if it does not talk TLS, say no `ca`");
}
