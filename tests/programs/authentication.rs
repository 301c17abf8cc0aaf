//! Daemons that ask for a secret, or for a credential.

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use crate::site::Site;
use crate::support::munged::Munged;

const SAMPLERS: &str = r#"
  - names: &samplers "sampler-[1-8]"
    hosts: "NETWORK.[1-8]"
    endpoints:
      - names: &sampler-endpoints "sampler-[1-8]-ep"
        ports: 10001
        xprt: sock
        maestro_comm: true
"#;

/// The same samplers, with a secret that the fifth does not share.
const SAMPLERS_WITH_SECRETS: &str = r#"
  - names: sampler-5
    hosts: NETWORK.5
    endpoints:
      - names: sampler-5-ep
        ports: 10001
        xprt: sock
        maestro_comm: true
        auth: { name: fifth, plugin: ovis, conf: fifth.conf }
  - names: "sampler-[1-4],sampler-[6-8]"
    hosts: "NETWORK.[1-4],NETWORK.[6-8]"
    endpoints:
      - names: "sampler-[1-4]-ep,sampler-[6-8]-ep"
        ports: 10001
        xprt: sock
        maestro_comm: true
        auth: { name: samplers, plugin: ovis, conf: samplers.conf }
"#;

fn write_secret(site: &Site, file: &str, word: &str) {
    site.write_text(file, &format!("secretword={word}\n"));
    std::fs::set_permissions(site.path(file), Permissions::from_mode(0o600)).unwrap();
}

#[tokio::test]
async fn a_wrong_secret_concerns_its_daemon_only_and_may_be_put_right() {
    let mut site = Site::without_daemons();
    site.write(
        "cluster.yaml",
        &[
            (SAMPLERS, SAMPLERS_WITH_SECRETS),
            ("*samplers", "\"sampler-[1-8]\""),
            ("*sampler-endpoints", "\"sampler-[1-8]-ep\""),
            // The daemons run elsewhere than this test.
            ("conf: ", &format!("conf: {}/", site.path("").display())),
        ],
    );
    write_secret(&site, "samplers.conf", "correct-horse-battery");
    write_secret(&site, "fifth.conf", "staple-staple-staple");
    site.simulate("cluster.yaml", "main").await;

    // From now on everybody but the sampler itself reads another secret.
    write_secret(&site, "fifth.conf", "mistaken-mistaken");
    let mut maestro = site.maestro(&["--ldms_config", "cluster.yaml"]);
    maestro.until_balanced("agg-1 3, agg-2 3, agg-3 2").await;
    site.until_placed([&[1, 2, 3], &[4, 6], &[7, 8]]).await;
    let warning = "WARN sampler-5 cannot be reached: authentication domain fifth: \
                   the daemon did not prove that it knows the secret; trying again\n";
    maestro.until_log(warning).await;
    assert_eq!(maestro.log().matches("WARN").count(), 1, "it is told once: {}", maestro.log());

    write_secret(&site, "fifth.conf", "staple-staple-staple");
    site.until("sampler-5 samples", |reports| reports["sampler-5"].own_sets == 2).await;
}

#[tokio::test]
async fn a_cluster_that_authenticates_by_munge_is_balanced() {
    let Some(munged) = Munged::start().await else { return };
    let mut site = Site::without_daemons();
    if std::fs::metadata(site.path("")).unwrap().uid() != 0 {
        eprintln!("skipped: munged vouches for whoever runs the test, and daemons obey root");
        return;
    }
    let auth =
        format!("xprt: sock\n        auth: {{ name: site, plugin: munge, socket: {} }}", munged.socket().display());
    site.write("cluster.yaml", &[("xprt: sock", &auth)]);
    site.simulate("cluster.yaml", "4.5").await;
    let mut maestro = site.maestro(&["--ldms_config", "cluster.yaml"]);
    maestro.until_balanced("agg-1 3, agg-2 3, agg-3 2").await;
    site.until_home().await;
    assert!(!maestro.log().contains("WARN"), "{}", maestro.log());
}
