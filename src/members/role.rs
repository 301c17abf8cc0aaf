//! Whether a member leads, follows or stands still.

use std::collections::BTreeSet;
use std::fmt;

use crate::notation::Name;

/// What a member does. Shown as the words that scripts look for in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It computes the placement, and works on its share of the daemons.
    Leader,
    /// It works on its share of the daemons.
    Follower,
    /// It sends nothing to any daemon.
    Suspended,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Leader => "LEADER",
            Role::Follower => "FOLLOWER",
            Role::Suspended => "SUSPENDED",
        })
    }
}

/// A member that etcd counts as alive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveMember {
    /// Its name, `HOST:PORT`.
    pub name: Name,
    /// Where it stands in the order in which the members came to life: etcd's revision at which it did.
    pub since_revision: i64,
}

/// How many members must be alive so that anybody may send anything.
#[must_use]
pub fn majority(members: usize) -> usize {
    members / 2 + 1
}

/// What member `me` of `members` is while those in `live` are alive. Who is alive without being configured counts for
/// nothing. The member that has been alive for longest leads, so one that returns never replaces the leader.
#[must_use]
pub fn role(members: &[Name], live: &[LiveMember], me: &Name) -> Role {
    let configured: Vec<&LiveMember> = live.iter().filter(|member| members.contains(&member.name)).collect();
    if configured.len() < majority(members.len()) || !configured.iter().any(|member| member.name == *me) {
        return Role::Suspended;
    }
    match configured.iter().min_by_key(|member| member.since_revision) {
        Some(oldest) if oldest.name == *me => Role::Leader,
        _ => Role::Follower,
    }
}

/// Who of the `live` members gets daemons: who reaches some. Where nobody reaches any, it is not for their network.
#[must_use]
pub fn able(live: &BTreeSet<Name>, blind: &BTreeSet<Name>) -> BTreeSet<Name> {
    let able: BTreeSet<Name> = live.difference(blind).cloned().collect();
    if able.is_empty() { live.clone() } else { able }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(count: usize) -> Vec<Name> {
        (1..=count).map(|number| Name::from(format!("node-{number}:4411"))).collect()
    }

    fn live(names: &[Name], order: &[usize]) -> Vec<LiveMember> {
        let member =
            |(at, index): (usize, &usize)| LiveMember { name: names[*index].clone(), since_revision: at as i64 };
        order.iter().enumerate().map(member).collect()
    }

    #[test]
    fn the_longest_alive_leads_a_majority() {
        let members = names(3);
        let roles =
            |order: &[usize]| members.iter().map(|me| role(&members, &live(&members, order), me)).collect::<Vec<_>>();
        assert_eq!(roles(&[1, 2, 0]), [Role::Follower, Role::Leader, Role::Follower]);
        assert_eq!(roles(&[2, 0]), [Role::Follower, Role::Suspended, Role::Leader]);
        assert_eq!(roles(&[2]), [Role::Suspended; 3]);
        assert_eq!(roles(&[]), [Role::Suspended; 3]);
    }

    #[test]
    fn a_stranger_counts_for_nothing() {
        let members = names(3);
        let mut live = live(&members, &[0]);
        live.extend(["node-8:1", "node-9:1"].map(|name| LiveMember { name: name.into(), since_revision: -1 }));
        assert_eq!(role(&members, &live, &members[0]), Role::Suspended);
    }

    #[test]
    fn the_blind_get_no_daemons_unless_all_are() {
        let set = |names: &[&str]| names.iter().map(|name| Name::from(*name)).collect::<BTreeSet<Name>>();
        assert_eq!(able(&set(&["a", "b"]), &set(&["b", "c"])), set(&["a"]));
        assert_eq!(able(&set(&["a", "b"]), &set(&["a", "b"])), set(&["a", "b"]));
    }

    #[test]
    fn half_of_an_even_number_is_no_majority() {
        assert_eq!([1, 2, 3, 4, 5].map(majority), [1, 2, 2, 3, 3]);
    }

    proptest! {
        #[test]
        fn one_leads_as_long_as_a_majority_lives_and_nobody_else_sends(
            count in 1usize..6,
            order in Just((0..6usize).collect::<Vec<_>>()).prop_shuffle(),
            alive in 0usize..7,
        ) {
            let members = names(count);
            let order: Vec<usize> = order.into_iter().filter(|index| *index < count).take(alive).collect();
            let live = live(&members, &order);
            let roles: Vec<Role> = members.iter().map(|me| role(&members, &live, me)).collect();
            let leaders = roles.iter().filter(|role| **role == Role::Leader).count();
            prop_assert_eq!(leaders, usize::from(order.len() * 2 > count));
            let working = roles.iter().filter(|role| **role != Role::Suspended).count();
            prop_assert_eq!(working, if leaders == 0 { 0 } else { order.len() });
        }
    }
}
