//! Wrong usage ends at once with code 2 and says what is wrong.

use crate::site::Site;

#[tokio::test]
async fn wrong_usage_is_refused() {
    let site = Site::without_daemons();
    for (arguments, text) in [
        (&["--no-such-option"][..], "--no-such-option"),
        (&["--ldms_config", "cluster.yaml", "--prefix", "cluster"], "--prefix"),
        (&["--timeout", "soon"], "--timeout"),
        (&["--probe-interval", "5"], "--probe-interval"),
        (&["cluster.yaml"], "cluster.yaml"),
    ] {
        let run = site.maestro_that_ends(arguments).await;
        assert_eq!(run.code, Some(2), "{arguments:?}");
        assert!(run.stderr.starts_with("error: ") && run.stderr.contains(text), "{}", run.stderr);
    }
    let nothing = site.maestro_ctrl(&[]);
    assert_eq!((nothing.code, nothing.stdout.as_str()), (Some(2), ""));
    assert!(nothing.stderr.contains("--ldms_config"), "{}", nothing.stderr);
}

#[tokio::test]
async fn options_may_be_spelt_with_dashes_or_underscores() {
    let site = Site::start().await;
    let arguments =
        ["--ldms-config", "cluster.yaml", "--log_level", "DEBUG", "--probe_deadline=1s", "--timeout", "2.5"];
    let mut maestro = site.maestro(&arguments);
    maestro.until_balanced("agg-1 3, agg-2 3, agg-3 2").await;
    assert!(!maestro.sent().is_empty(), "{}", maestro.log());
}
