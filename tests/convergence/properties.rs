//! The properties, for each kind of daemon on each line of development.

use proptest::prelude::*;

use crate::daemon::Imitation;
use crate::maestro_model::Maestro;
use crate::past::{Past, Site, known_past, past};
use crate::shown::{Fault, faults, given_otherwise, misconfigured, of_others};
use crate::site::{AGGREGATOR, SAMPLER};

/// Between two looks: a stop takes a millisecond, an update under way a little longer.
const PAUSE_US: u64 = 150_000;
/// What a daemon may need: stop and make updaters anew, delete what they held, add it anew, refresh the updaters.
/// A producer that the daemon will never delete is known as such after as many refusals, and then its updaters are made
/// anew once more.
const PASSES: usize = 10;
/// A move, with its temporary updaters, comes to an end: until then they hold their producers, and what leaves goes on.
const PASSES_OF_A_MOVE: usize = 2;
/// Long enough for every sampler to have sampled.
const SETTLING_US: u64 = 5_000_000;

/// Some hundred pasts unless `PROPTEST_CASES` says otherwise. A file of failures would be written among the sources.
fn proptest_config() -> ProptestConfig {
    let default = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    let is_told = std::env::var_os("PROPTEST_CASES").is_some();
    if is_told { default } else { ProptestConfig { cases: 100, ..default } }
}

fn converges(past: &Past, daemon: &str, imitation: Imitation) -> Result<(), TestCaseError> {
    made_right(past, daemon, imitation).map(drop)
}

/// Of a daemon that only maestro has configured, even what it does not show is right.
fn converges_in_all(past: &Past, daemon: &str, imitation: Imitation) -> Result<(), TestCaseError> {
    let (mut site, maestro) = made_right(past, daemon, imitation)?;
    let mut faults = misconfigured(&maestro.config(), &site);
    faults.extend(given_otherwise(&maestro.config(), &mut site));
    prop_assert!(faults.is_empty(), "{faults:#?}\n{}", site.story.join("\n"));
    Ok(())
}

fn made_right(past: &Past, daemon: &str, imitation: Imitation) -> Result<(Site, Maestro), TestCaseError> {
    let (mut site, mut maestro) = past.live(daemon, imitation);
    let before = of_others(&mut site);
    for pass in 0..PASSES {
        if pass == PASSES_OF_A_MOVE {
            maestro.end_moves();
        }
        maestro.pass(&mut site, usize::MAX);
        site.network.run_for(PAUSE_US);
    }
    site.network.run_for(SETTLING_US);

    let unexplained = unexplained(&maestro, &mut site);
    prop_assert!(unexplained.is_empty(), "{unexplained:#?}\n{}", site.story.join("\n"));
    for _ in 0..2 {
        let sent = maestro.pass(&mut site, usize::MAX);
        let needless: Vec<_> = sent.iter().filter(|change| !maestro.refused.contains_key(&change.subject)).collect();
        prop_assert!(needless.is_empty(), "it is right, and is sent {needless:#?}\n{}", site.story.join("\n"));
        site.network.run_for(SETTLING_US);
    }
    prop_assert_eq!(of_others(&mut site), before, "what others made");
    prop_assert!(site.network.ended.is_empty(), "{:?}", site.network.ended);
    Ok((site, maestro))
}

/// What is not right, and has not been refused either.
fn unexplained(maestro: &Maestro, site: &mut Site) -> Vec<Fault> {
    let mut faults = faults(&maestro.config(), site);
    let refused: Vec<String> = maestro.refused.keys().map(ToString::to_string).collect();
    faults.retain(|(name, _)| !refused.iter().any(|subject| subject.split([' ', ':']).any(|word| word == name)));
    faults
}

fn line() -> impl Strategy<Value = Imitation> {
    proptest::sample::select(vec![Imitation::Main, Imitation::V45, Imitation::V44])
}

proptest! {
    #![proptest_config(proptest_config())]

    #[test]
    fn an_aggregator_of_the_development_head_converges(past in past()) {
        converges(&past, AGGREGATOR, Imitation::Main)?;
    }

    #[test]
    fn an_aggregator_of_4_5_converges(past in past()) {
        converges(&past, AGGREGATOR, Imitation::V45)?;
    }

    #[test]
    fn an_aggregator_of_4_4_converges(past in past()) {
        converges(&past, AGGREGATOR, Imitation::V44)?;
    }

    #[test]
    fn a_sampler_of_the_development_head_converges(past in past()) {
        converges(&past, SAMPLER, Imitation::Main)?;
    }

    #[test]
    fn a_sampler_of_4_5_converges(past in past()) {
        converges(&past, SAMPLER, Imitation::V45)?;
    }

    #[test]
    fn a_sampler_of_4_4_converges(past in past()) {
        converges(&past, SAMPLER, Imitation::V44)?;
    }

    #[test]
    fn an_aggregator_that_only_maestro_has_configured_is_right_in_all(past in known_past(), imitation in line()) {
        converges_in_all(&past, AGGREGATOR, imitation)?;
    }

    #[test]
    fn a_sampler_that_only_maestro_has_configured_is_right_in_all(past in known_past(), imitation in line()) {
        converges_in_all(&past, SAMPLER, imitation)?;
    }
}
