//! Each command that the client withholds does harm, and is withheld: the rules against the simulated daemon, which suffers
//! as real ones do.

use maestro::ldmsd::hazards::{Hazard, Known};
use maestro::ldmsd::{Attribute, Command, Response, Verb};

use crate::daemon::{Action, Daemon, Imitation};
use crate::virtual_cluster::VirtualCluster;

const NOW_US: u64 = 1_795_328_000_000_000;

const EVERY_LINE: [Imitation; 3] = [Imitation::Main, Imitation::V45, Imitation::V44];
const SINCE_4_5: [Imitation; 2] = [Imitation::Main, Imitation::V45];

/// A daemon with what a client learns of it.
struct Conversation {
    daemon: Daemon,
    known: Known,
}

impl Conversation {
    fn new(imitation: Imitation) -> Conversation {
        Conversation { daemon: Daemon::new(imitation), known: Known::new(imitation.numbering()) }
    }

    /// Sends a command whether or not it does harm, and learns from the answer.
    fn send(&mut self, line: &str) -> i32 {
        let command = command(line);
        let attributes: Vec<_> = command.attributes.iter().map(|(key, value)| (*key, value.as_str())).collect();
        let reply = self.daemon.request(command.verb, &attributes, NOW_US);
        let mut answer = Response { msg_no: 1, code: reply.code, attributes: Vec::new() };
        answer.attributes.extend(reply.text.map(maestro::ldmsd::codec::WireAttribute::json));
        self.known.learn(&command, &answer);
        reply.code
    }

    fn learn(&mut self) {
        for question in self.known.questions() {
            self.send(&question.to_string());
        }
    }

    fn withholds(&self, line: &str) -> Option<Hazard> {
        self.known.check([&command(line)]).err().map(|at| at.hazard)
    }

    fn has_died(&mut self) -> bool {
        self.daemon.take_actions().iter().any(|action| matches!(action, Action::Exit { .. }))
    }
}

fn command(line: &str) -> Command {
    Command::from_words(line.split(' ')).unwrap()
}

/// After `before`, `deadly` is withheld, and kills the daemon if it is sent all the same.
#[track_caller]
fn kills(imitation: Imitation, before: &[&str], deadly: &str) {
    let mut conversation = Conversation::new(imitation);
    for line in before {
        assert_eq!(conversation.withholds(line), None, "{line}");
        assert_eq!(conversation.send(line), 0, "{line}");
    }
    assert!(conversation.withholds(deadly).is_some(), "{deadly} is sent to {imitation:?}");
    assert!(!conversation.has_died());
    conversation.send(deadly);
    assert!(conversation.has_died(), "{imitation:?} survives {deadly}");
}

#[test]
fn what_kills_daemons_is_withheld() {
    kills(Imitation::V44, &[], "set_stats");
    let sampler = ["load name=meminfo", "config name=meminfo producer=n1 instance=n1/meminfo"];
    for imitation in EVERY_LINE {
        kills(imitation, &sampler, "start name=meminfo interval=0");
    }
    let producer = "prdcr_add name=p type=active xprt=sock host=127.0.0.1 port=1 reconnect=1s";
    let subscriptions = ["prdcr_subscribe regex=.* stream=s", "prdcr_subscribe regex=.* message_tag=t"];
    for imitation in SINCE_4_5 {
        let before = [producer, subscriptions[0], subscriptions[1]];
        kills(imitation, &before, "prdcr_unsubscribe regex=.* stream=s");

        let mut conversation = Conversation::new(imitation);
        conversation.daemon.listen_failed();
        assert_eq!(conversation.withholds("xprt_stats"), Some(Hazard::TransportStatistics));
        conversation.send("xprt_stats");
        assert!(conversation.has_died());
    }
}

#[test]
fn what_does_no_harm_is_sent() {
    let mut old = Conversation::new(Imitation::V44);
    for line in ["set_stats summary=true", "xprt_stats"] {
        assert_eq!(old.withholds(line), None, "{line}");
        old.send(line);
        assert!(!old.has_died(), "{line}");
    }
    let mut conversation = Conversation::new(Imitation::Main);
    for line in ["set_stats", "prdcr_stats", "prdcr_status", "updtr_status", "strgp_status", "plugn_status"] {
        assert_eq!(conversation.withholds(line), None, "{line}");
        conversation.send(line);
        assert!(!conversation.has_died(), "{line}");
    }
}

#[test]
fn a_push_updater_kills_the_development_head_alone_and_is_withheld_from_it_alone() {
    for imitation in EVERY_LINE {
        let mut conversation = Conversation::new(imitation);
        conversation.learn();
        let withheld = conversation.withholds("updtr_add name=u interval=1000000 push=true");
        assert_eq!(withheld.is_some(), imitation == Imitation::Main, "{imitation:?}: {withheld:?}");

        let mut cluster = VirtualCluster::new(imitation, &["s1", "a"], NOW_US);
        let named = |verb, name: &str| Command::new(verb).with(Attribute::Name, name);
        let by_regex = |command: Command| command.with(Attribute::Regex, ".*");
        for (daemon, command) in [
            ("s1", named(Verb::Load, "meminfo")),
            ("s1", command("config name=meminfo producer=s1 instance=s1/meminfo")),
            ("s1", named(Verb::Start, "meminfo").with(Attribute::Interval, 1_000_000)),
            ("a", command("prdcr_add name=s1 type=active xprt=sock host=s1 port=1 reconnect=1s")),
            ("a", by_regex(Command::new(Verb::PrdcrStartRegex))),
            ("a", command("updtr_add name=u interval=1000000 push=true")),
            ("a", by_regex(named(Verb::UpdtrPrdcrAdd, "u"))),
            ("a", named(Verb::UpdtrStart, "u")),
        ] {
            assert_eq!(cluster.request(daemon, &command).map(|reply| reply.code), Some(0), "{command}");
        }
        cluster.run_for(10_000_000);
        let lives = cluster.request("a", &Command::new(Verb::DaemonStatus)).is_some();
        assert_eq!(lives, imitation != Imitation::Main, "{imitation:?}");
    }
}

#[test]
fn a_storage_policy_is_not_lost_by_adding_it_twice() {
    let add = "strgp_add name=p plugin=store_csv container=c schema=meminfo";
    for imitation in EVERY_LINE {
        let mut conversation = Conversation::new(imitation);
        conversation.send("load name=store_csv");
        conversation.send("config name=store_csv path=/tmp");
        assert!(conversation.withholds(add).is_some(), "nobody knows whether there is one");
        conversation.learn();
        assert_eq!(conversation.withholds(add), None);
        assert_eq!(conversation.send(add), 0);
        assert!(conversation.withholds(add).is_some());
        // Sent all the same it is refused, and the policy is gone.
        assert_eq!(conversation.send(add), 17);
        assert_eq!(conversation.send("strgp_status name=p"), 2);
        assert_eq!(conversation.withholds(add), None);
        assert_eq!(conversation.send(add), 0);
        // The statistics keep it for ever.
        assert_eq!(conversation.withholds("store_time_stats name=p"), Some(Hazard::StoreStatistics));
        conversation.send("store_time_stats name=p");
        assert_eq!(conversation.send("strgp_del name=p"), 16);
    }
}
