//! Which member has which daemon.

use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::{Cluster, Relations};
use crate::notation::Name;
use crate::placement::place_producers;

/// The daemons that member `me` connects to and configures while those in `live` are alive.
///
/// The aggregators, and apart from them all other daemons, are cut into blocks in counting order, one for each of
/// `members` in the order given. The block of a member that is not alive is spread evenly over the others, and
/// is its own again when it returns.
#[must_use]
pub fn share(
    cluster: &Cluster,
    relations: &Relations,
    members: &[Name],
    live: &BTreeSet<Name>,
    me: &Name,
) -> BTreeSet<Name> {
    let managed = cluster.daemons.iter().filter(|(_, daemon)| daemon.control_endpoint().is_some());
    let (aggregators, others): (Vec<Name>, Vec<Name>) =
        managed.map(|(name, _)| name.clone()).partition(|name| relations.group_of(name).is_some());
    let mut mine = BTreeSet::new();
    for daemons in [aggregators, others] {
        // Of nobody's history: all members must come to the same result, also those who have just started.
        let placement = place_producers(&daemons, members, live, &BTreeMap::new());
        mine.extend(placement.into_iter().filter(|(_, member)| member == me).map(|(daemon, _)| daemon));
    }
    mine
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Samplers `s-1` …, and aggregators `a-1` … over them.
    fn cluster(samplers: usize, aggregators: usize) -> Cluster {
        let daemons = |name: &str, count: usize, port: u16| {
            format!(
                "  - names: \"{name}-[1-{count}]\"\n    hosts: \"host-{name}-[1-{count}]\"\n    endpoints:\n      \
                 - {{ names: \"{name}-[1-{count}]-ep\", ports: \"[{port}]\", xprt: sock, maestro_comm: True }}\n"
            )
        };
        let yaml = format!(
            "daemons:\n{}{}aggregators:\n  - daemons: \"a-[1-{aggregators}]\"\n    peers:\n      - daemons: \
             \"s-[1-{samplers}]\"\n        endpoints: \"s-[1-{samplers}]-ep\"\n        reconnect: 1s\n        type: \
             active\n        updaters: [ {{ mode: pull, interval: 1s }} ]\n",
            daemons("s", samplers, 10001),
            daemons("a", aggregators, 10101)
        );
        let (cluster, diagnostics) = crate::spec::read_cluster("test.yaml", &yaml);
        cluster.unwrap_or_else(|| panic!("{}", crate::spec::report(&diagnostics)))
    }

    fn shares(cluster: &Cluster, members: &[Name], live: &BTreeSet<Name>) -> Vec<BTreeSet<Name>> {
        let relations = Relations::of(cluster);
        members.iter().map(|me| share(cluster, &relations, members, live, me)).collect()
    }

    fn shown(shares: &[BTreeSet<Name>]) -> Vec<String> {
        shares.iter().map(|share| share.iter().map(Name::as_str).collect::<Vec<_>>().join(" ")).collect()
    }

    fn members(count: usize) -> Vec<Name> {
        (1..=count).map(|number| Name::from(format!("node-{number}:4411"))).collect()
    }

    #[test]
    fn each_member_has_a_block_of_aggregators_and_one_of_samplers() {
        let (cluster, members) = (cluster(8, 4), members(3));
        let all: BTreeSet<Name> = members.iter().cloned().collect();
        let home = ["a-1 a-2 s-1 s-2 s-3", "a-3 s-4 s-5 s-6", "a-4 s-7 s-8"];
        assert_eq!(shown(&shares(&cluster, &members, &all)), home);

        let without_second = BTreeSet::from([members[0].clone(), members[2].clone()]);
        let spread = ["a-1 a-2 s-1 s-2 s-3 s-4", "", "a-3 a-4 s-5 s-6 s-7 s-8"];
        assert_eq!(shown(&shares(&cluster, &members, &without_second)), spread);
        assert_eq!(shown(&shares(&cluster, &members, &all)), home);
    }

    #[test]
    fn without_any_member_nobody_has_anything() {
        let (cluster, members) = (cluster(4, 2), members(3));
        assert_eq!(shown(&shares(&cluster, &members, &BTreeSet::new())), ["", "", ""]);
    }

    proptest! {
        #[test]
        fn each_daemon_has_exactly_one_live_member_and_a_loss_moves_only_the_lost_ones(
            samplers in 1usize..30,
            aggregators in 1usize..8,
            count in 1usize..6,
            alive in proptest::collection::vec(any::<bool>(), 5),
            lost in 0usize..5,
        ) {
            let (cluster, members) = (cluster(samplers, aggregators), members(count));
            let live: BTreeSet<Name> = members.iter().zip(alive).filter(|(_, alive)| *alive).map(|(m, _)| m.clone()).collect();
            prop_assume!(!live.is_empty());
            let now = shares(&cluster, &members, &live);
            let mut had = BTreeSet::new();
            for (member, share) in members.iter().zip(&now) {
                prop_assert!(share.is_empty() || live.contains(member));
                for daemon in share {
                    prop_assert!(had.insert(daemon.clone()), "{} twice", daemon);
                }
            }
            prop_assert_eq!(had.len(), samplers + aggregators);
            let sizes: Vec<usize> = members.iter().zip(&now).filter(|(m, _)| live.contains(*m)).map(|(_, s)| s.len()).collect();
            let (least, most) = (sizes.iter().min().unwrap(), sizes.iter().max().unwrap());
            prop_assert!(most - least <= 2, "shares of {:?}", sizes);

            // The first loss moves nothing among those who stay.
            if live.len() == count && count > 1 {
                let mut rest = live;
                rest.remove(&members[lost % count]);
                for ((member, before), after) in members.iter().zip(&now).zip(shares(&cluster, &members, &rest)) {
                    prop_assert!(!rest.contains(member) || after.is_superset(before));
                }
            }
        }
    }
}
