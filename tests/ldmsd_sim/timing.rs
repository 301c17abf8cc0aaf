//! The simulation loses, doubles and delays samples as the real daemons were measured to.

use std::ops::RangeInclusive;

use maestro::ldmsd::{Attribute, Command, Verb};

use crate::daemon::Imitation;
use crate::virtual_cluster::VirtualCluster;

const SECOND_US: u64 = 1_000_000;
const MS_US: u64 = 1_000;
const BEGIN_US: u64 = 1_795_328_000 * SECOND_US;
const SET: &str = "s1/meminfo";

/// Aggregators `a` and `b` that know the sampler `s1`, and `l2` above both. The sampler samples at this interval, `a`
/// and `b` tick 50 ms later, `l2` 100 ms later.
struct Cluster {
    virtual_cluster: VirtualCluster,
    interval_us: u64,
}

impl Cluster {
    fn new(imitation: Imitation, interval_us: u64, phase_us: u64) -> Cluster {
        let virtual_cluster = VirtualCluster::new(imitation, &["s1", "a", "b", "l2"], BEGIN_US + phase_us);
        let mut cluster = Cluster { virtual_cluster, interval_us };
        cluster.ask("s1", named(Verb::Load, "meminfo"));
        let config = named(Verb::Config, "meminfo");
        cluster.ask("s1", config.with(Attribute::String, format!("producer=s1 instance={SET}")));
        let start = named(Verb::Start, "meminfo").with(Attribute::Interval, interval_us);
        cluster.ask("s1", start.with(Attribute::Offset, 0));
        for (aggregator, producers, offset_us) in
            [("a", &["s1"][..], 50_000), ("b", &["s1"], 50_000), ("l2", &["a", "b"], 100_000)]
        {
            for producer in producers {
                let add = named(Verb::PrdcrAdd, producer).with(Attribute::Type, "active");
                let add = add.with(Attribute::Xprt, "sock").with(Attribute::Host, producer);
                cluster.ask(aggregator, add.with(Attribute::Port, 1).with(Attribute::Reconnect, "2s"));
            }
            cluster.updater(aggregator, "u", interval_us, Some(offset_us));
        }
        cluster.start_producer("a");
        cluster.ask("l2", Command::new(Verb::PrdcrStartRegex).with(Attribute::Regex, ".*"));
        cluster.run_for(4 * interval_us + 6 * SECOND_US);
        cluster
    }

    fn send(&mut self, daemon: &str, command: Command) -> i32 {
        self.virtual_cluster.request(daemon, &command).unwrap().code
    }

    fn ask(&mut self, daemon: &str, command: Command) {
        let text = command.to_string();
        assert_eq!(self.send(daemon, command), 0, "{daemon}: {text}");
    }

    fn run_for(&mut self, us: u64) {
        self.virtual_cluster.run_for(us);
    }

    fn updater(&mut self, daemon: &str, name: &str, interval_us: u64, offset_us: Option<u64>) {
        let add = named(Verb::UpdtrAdd, name).with(Attribute::Interval, interval_us);
        self.ask(daemon, add.with_some(Attribute::Offset, offset_us));
        self.ask(daemon, named(Verb::UpdtrPrdcrAdd, name).with(Attribute::Regex, ".*"));
        self.ask(daemon, named(Verb::UpdtrStart, name));
    }

    fn start_producer(&mut self, daemon: &str) {
        self.ask(daemon, Command::new(Verb::PrdcrStartRegex).with(Attribute::Regex, "^s1$"));
    }

    fn status(&mut self, daemon: &str, producer: &str) -> String {
        let reply = self.virtual_cluster.request(daemon, &named(Verb::PrdcrStatus, producer)).unwrap();
        reply.text.unwrap()
    }

    fn until(&mut self, daemon: &str, producer: &str, wanted: &str) {
        let give_up_us = self.virtual_cluster.now_us + 30 * SECOND_US;
        while !self.status(daemon, producer).contains(wanted) {
            assert!(self.virtual_cluster.now_us < give_up_us, "{}", self.status(daemon, producer));
            self.run_for(MS_US);
        }
    }

    /// Waits for the middle between two ticks.
    fn until_mid_interval(&mut self) {
        let into_us = self.virtual_cluster.now_us % self.interval_us;
        self.run_for((3 * self.interval_us / 2 - into_us) % self.interval_us);
    }

    /// How many samples between the first and the last that these collected were missed, and how many doubled.
    fn gaps(&self, collectors: &[&str]) -> (u64, u64) {
        let times = self.virtual_cluster.times(collectors, SET);
        let (first_us, last_us) = (times.keys().next().unwrap(), times.keys().last().unwrap());
        let expected = (last_us - first_us) / self.interval_us + 1;
        let doubled = times.values().filter(|count| **count > 1).count();
        (expected - times.len() as u64, doubled as u64)
    }
}

fn named(verb: Verb, name: &str) -> Command {
    Command::new(verb).with(Attribute::Name, name)
}

/// Runs a scenario from many phases of the clock; all results have to lie in the range that was measured.
fn within(range: RangeInclusive<u64>, what: &str, mut scenario: impl FnMut(u64) -> u64) {
    for phase_us in (0..SECOND_US).step_by(70_001) {
        let result = scenario(phase_us);
        assert!(range.contains(&result), "{what}: {result} at phase {phase_us}, measured {range:?}");
    }
}

#[test]
fn the_first_sample_comes_after_connecting_lookup_and_a_second() {
    // Up to a second to connect, a tick to look up, a second of rest, a tick to update.
    for (interval_us, range_ms) in [(SECOND_US, 1_000..=4_000), (5 * SECOND_US, 5_000..=13_000)] {
        within(range_ms, "time to the first sample in ms", |phase_us| {
            let mut cluster = Cluster::new(Imitation::Main, interval_us, phase_us);
            cluster.run_for(phase_us);
            let started_us = cluster.virtual_cluster.now_us;
            cluster.start_producer("b");
            cluster.run_for(20 * SECOND_US);
            let first = cluster.virtual_cluster.samples.iter().find(|sample| sample.collector == "b").unwrap();
            (first.collected_us - started_us) / MS_US
        });
    }
}

#[test]
fn producers_connect_within_a_second_each_at_its_own_moment() {
    let mut delays_ms = Vec::new();
    for phase_ms in (0..1_000).step_by(37) {
        let mut cluster = Cluster::new(Imitation::Main, SECOND_US, 300 * MS_US);
        cluster.run_for(phase_ms * MS_US);
        cluster.start_producer("b");
        let started_us = cluster.virtual_cluster.now_us;
        cluster.until("b", "s1", r#""state":"CONNECTED""#);
        delays_ms.push((cluster.virtual_cluster.now_us - started_us) / MS_US);
    }
    assert!(delays_ms.iter().all(|delay_ms| *delay_ms <= 1_010), "{delays_ms:?}");
    let mean_ms = delays_ms.iter().sum::<u64>() / delays_ms.len() as u64;
    assert!((350..650).contains(&mean_ms), "a mean of {mean_ms} ms");
}

#[test]
fn stopping_before_starting_costs_two_or_three_samples() {
    within(2..=3, "missed", |phase_us| {
        let mut cluster = Cluster::new(Imitation::V45, SECOND_US, phase_us);
        cluster.run_for(phase_us);
        cluster.ask("a", named(Verb::PrdcrStop, "s1"));
        cluster.until("a", "s1", "STOPPED");
        cluster.start_producer("b");
        cluster.run_for(10 * SECOND_US);
        cluster.gaps(&["a", "b"]).0
    });
}

#[test]
fn handing_over_and_boosting_the_level_above_loses_nothing() {
    within(0..=0, "missed", |phase_us| {
        let mut cluster = Cluster::new(Imitation::Main, SECOND_US, phase_us);
        cluster.run_for(phase_us);
        cluster.start_producer("b");
        cluster.until("b", "s1", "READY");
        cluster.run_for(2 * SECOND_US);
        cluster.until_mid_interval();
        cluster.ask("a", named(Verb::PrdcrStop, "s1"));
        cluster.updater("l2", "boost", 100 * MS_US, None);
        cluster.run_for(2_500 * MS_US);
        cluster.ask("l2", named(Verb::UpdtrStop, "boost"));
        cluster.run_for(50 * MS_US);
        cluster.ask("l2", named(Verb::UpdtrDel, "boost"));
        cluster.run_for(10 * SECOND_US);
        let (missed, doubled) = cluster.gaps(&["a", "b"]);
        assert!((1..=3).contains(&doubled), "{doubled} doubled");
        missed + cluster.gaps(&["l2"]).0
    });
}

#[test]
fn handing_over_without_the_boost_leaves_a_hole_above() {
    within(1..=3, "missed at level 2", |phase_us| {
        let mut cluster = Cluster::new(Imitation::Main, SECOND_US, phase_us);
        cluster.start_producer("b");
        cluster.until("b", "s1", "READY");
        cluster.run_for(2 * SECOND_US + phase_us);
        cluster.until_mid_interval();
        cluster.ask("a", named(Verb::PrdcrStop, "s1"));
        cluster.run_for(10 * SECOND_US);
        assert_eq!(cluster.gaps(&["a", "b"]).0, 0);
        cluster.gaps(&["l2"]).0
    });
}

#[test]
fn the_loss_of_an_aggregator_costs_what_was_measured() {
    within(1_000..=4_200, "from the kill to the next sample above, in ms", |phase_us| {
        let mut cluster = Cluster::new(Imitation::Main, SECOND_US, phase_us);
        cluster.run_for(phase_us);
        cluster.virtual_cluster.kill("a");
        let killed_us = cluster.virtual_cluster.now_us;
        cluster.start_producer("b");
        cluster.run_for(10 * SECOND_US);
        let missed = cluster.gaps(&["l2"]).0;
        assert!((1..=4).contains(&missed), "{missed} missed");
        let times = cluster.virtual_cluster.times(&["l2"], SET);
        let next_us = times.keys().find(|sampled_us| **sampled_us > killed_us).unwrap();
        (next_us - killed_us) / MS_US
    });
}

#[test]
fn a_producer_that_stood_by_costs_one_sample_at_most() {
    within(0..=1_300, "from the kill to the next sample above, in ms", |phase_us| {
        let mut cluster = Cluster::new(Imitation::Main, SECOND_US, phase_us);
        cluster.ask("b", named(Verb::UpdtrStop, "u"));
        cluster.ask("b", named(Verb::UpdtrDel, "u"));
        cluster.start_producer("b");
        cluster.run_for(5 * SECOND_US + phase_us);
        let standby = cluster.status("b", "s1");
        assert!(standby.contains(r#""state":"CONNECTED""#) && standby.contains("START"), "{standby}");
        cluster.virtual_cluster.kill("a");
        let killed_us = cluster.virtual_cluster.now_us;
        cluster.updater("b", "boost", 105 * MS_US, None);
        cluster.updater("b", "u", SECOND_US, Some(50_000));
        cluster.updater("l2", "boost", 105 * MS_US, None);
        cluster.run_for(10 * SECOND_US);
        let missed = cluster.gaps(&["l2"]).0;
        assert!(missed <= 1, "{missed} missed");
        let times = cluster.virtual_cluster.times(&["l2"], SET);
        let next_us = times.keys().find(|sampled_us| **sampled_us > killed_us).unwrap();
        (next_us - killed_us) / MS_US
    });
}

#[test]
fn an_updater_that_starts_between_a_multiple_and_its_offset_misses_that_tick() {
    for (phase_ms, first_ms) in [(20, 1_030), (60, 990)] {
        let mut cluster = Cluster::new(Imitation::Main, SECOND_US, 0);
        cluster.ask("a", named(Verb::UpdtrStop, "u"));
        cluster.run_for(phase_ms * MS_US);
        cluster.ask("a", named(Verb::UpdtrStart, "u"));
        let started_us = cluster.virtual_cluster.now_us;
        cluster.run_for(3 * SECOND_US);
        let samples = cluster.virtual_cluster.samples.iter().filter(|sample| sample.collector == "a");
        let first = samples.map(|sample| sample.collected_us).find(|collected_us| *collected_us > started_us).unwrap();
        assert_eq!((first - started_us) / MS_US, first_ms);
    }
}

#[test]
fn a_set_of_two_producers_is_kept_from_the_one_that_was_looked_up_first() {
    let mut cluster = Cluster::new(Imitation::Main, SECOND_US, 0);
    cluster.start_producer("b");
    cluster.run_for(10 * SECOND_US);
    assert!(cluster.status("l2", "a").contains("READY"), "{}", cluster.status("l2", "a"));
    assert!(cluster.status("l2", "b").contains("START"), "{}", cluster.status("l2", "b"));
    cluster.virtual_cluster.kill("a");
    cluster.run_for(3 * SECOND_US);
    assert!(cluster.status("l2", "b").contains("READY"), "{}", cluster.status("l2", "b"));
}

#[test]
fn a_start_right_behind_a_stop_is_refused() {
    let mut cluster = Cluster::new(Imitation::V44, SECOND_US, 0);
    cluster.ask("a", named(Verb::PrdcrStop, "s1"));
    assert_eq!(cluster.send("a", named(Verb::PrdcrStart, "s1")), 16);
    cluster.run_for(500);
    assert_eq!(cluster.send("a", named(Verb::PrdcrStart, "s1")), 16, "a stop takes about a millisecond");
    cluster.until("a", "s1", "STOPPED");
    cluster.ask("a", named(Verb::PrdcrStart, "s1"));
}

#[test]
fn a_restarted_sampler_is_found_again_at_the_reconnect_interval() {
    let mut cluster = Cluster::new(Imitation::Main, SECOND_US, 0);
    cluster.virtual_cluster.kill("s1");
    cluster.run_for(1_500 * MS_US);
    assert!(cluster.status("a", "s1").contains(r#""state":"DISCONNECTED","sets": []"#));
    cluster.virtual_cluster.start("s1");
    cluster.run_for(2 * SECOND_US + MS_US);
    assert!(cluster.status("a", "s1").contains(r#""state":"CONNECTED","sets": []"#));
}

#[test]
fn the_development_head_dies_of_sets_pushed_to_it() {
    for (imitation, dies) in [(Imitation::Main, true), (Imitation::V45, false)] {
        let mut cluster = Cluster::new(imitation, SECOND_US, 0);
        let add = named(Verb::UpdtrAdd, "push").with(Attribute::Interval, SECOND_US);
        cluster.ask("a", add.with(Attribute::Push, "true"));
        cluster.ask("a", named(Verb::UpdtrPrdcrAdd, "push").with(Attribute::Regex, ".*"));
        cluster.ask("a", named(Verb::UpdtrStart, "push"));
        cluster.run_for(5 * SECOND_US);
        let ended: Vec<&str> = cluster.virtual_cluster.ended.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(ended == ["a"], dies, "{ended:?}");
    }
}
