//! A difference between two configurations as lines for an operator.
//!
//! What he changed in one place of the YAML is in etcd a change of thousands of keys. So keys that change alike are one
//! line, `~ producers/agg-[1-4]/node-[1-10000]-10002/reconnect: 1000000 -> 2000000 (10000 keys)`, in which the lists
//! pair up in the order of writing, as in the YAML; and an object that comes or goes as a whole is one line.

use std::collections::BTreeMap;
use std::fmt;

use anstyle::{AnsiColor, Style};

use super::secrets::{one_line, shown};
use crate::notation::{Name, hostlist};
use crate::store::{Difference, Tree};

/// The sections in which objects lie below the group that they belong to: `producers/<group>/<producer>`.
const GROUPED_SECTIONS: [&str; 5] = ["aggregators", "producers", "updaters", "stores", "prdcr_listeners"];

/// The keys whose texts are names that count along with the objects: `daemons/node-1/addr`.
const KEYS_OF_NAMES: [&str; 5] = ["addr", "host", "name", "daemon", "endpoint"];

/// What happens to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Sign {
    Removed,
    Changed,
    Added,
}

impl Sign {
    pub(super) fn style(self) -> Style {
        let colour = match self {
            Sign::Removed => AnsiColor::Red,
            Sign::Changed => AnsiColor::Yellow,
            Sign::Added => AnsiColor::Green,
        };
        colour.on_default()
    }
}

impl fmt::Display for Sign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Sign::Removed => "-",
            Sign::Changed => "~",
            Sign::Added => "+",
        })
    }
}

/// One line, without its colour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) sign: Sign,
    text: String,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.sign, self.text)
    }
}

/// One line a key, in counting order.
pub(super) fn every_key(difference: &Difference<'_>) -> Vec<Line> {
    let mut items = items(difference, |_, _| false);
    items.sort_by_cached_key(Item::rank);
    items.iter().map(|item| describe(std::slice::from_ref(item))).collect()
}

/// One line for each object that is new or gone, and one for all keys that change alike; in counting order.
pub(super) fn folded(difference: &Difference<'_>, old: &Tree, new: &Tree) -> Vec<Line> {
    let mut items = items(difference, |sign, object| {
        let other = if sign == Sign::Added { old } else { new };
        sign != Sign::Changed && !has_below(other, object)
    });
    items.sort_by_cached_key(Item::rank);
    let mut alike: BTreeMap<_, Vec<Item<'_>>> = BTreeMap::new();
    let mut places: BTreeMap<_, usize> = BTreeMap::new();
    for item in items {
        // Of several endpoints of a daemon, the first goes with the first of the others, and so on.
        let place = places.entry((item.shape(), item.steps()[item.object])).or_default();
        alike.entry((item.shape(), *place)).or_default().push(item);
        *place += 1;
    }
    let mut groups: Vec<Vec<Item<'_>>> = alike.into_values().collect();
    groups.sort_by_cached_key(|group| group[0].rank());
    groups.iter().map(|group| describe(group)).collect()
}

/// A key, or all keys of an object.
struct Item<'a> {
    sign: Sign,
    /// The key, or what the keys have in common.
    path: &'a str,
    /// Which step of the path names the object.
    object: usize,
    content: Content<'a>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Content<'a> {
    Text(&'a str),
    Change { old: &'a str, new: &'a str },
    Keys(usize),
}

impl<'a> Content<'a> {
    fn former(self) -> &'a str {
        match self {
            Content::Change { old, .. } => old,
            Content::Text(_) | Content::Keys(_) => "",
        }
    }

    fn latter(self) -> &'a str {
        match self {
            Content::Text(text) | Content::Change { new: text, .. } => text,
            Content::Keys(_) => "",
        }
    }
}

impl<'a> Item<'a> {
    fn steps(&self) -> Vec<&'a str> {
        self.path.split('/').collect()
    }

    fn rank(&self) -> (Name, Sign) {
        (Name::from(self.path), self.sign)
    }

    /// Equal for items that may share a line: whatever counts is left out.
    fn shape(&self) -> (Sign, String, [String; 2]) {
        let steps = self.steps();
        let countless = |(index, step): (usize, &&str)| match index >= self.object && !is_place_in_list(step) {
            true => without_numbers(step),
            false => (*step).to_owned(),
        };
        let path: Vec<String> = steps.iter().enumerate().map(countless).collect();
        let text = |text: &str| match self.has_name() {
            true => without_numbers(text),
            false => text.to_owned(),
        };
        let content = match self.content {
            Content::Text(only) => [text(only), String::new()],
            Content::Change { old, new } => [text(old), text(new)],
            Content::Keys(number) => [number.to_string(), "keys".to_owned()],
        };
        (self.sign, path.join("/"), content)
    }

    fn has_name(&self) -> bool {
        self.path.rsplit('/').next().is_some_and(|last| KEYS_OF_NAMES.contains(&last))
    }
}

/// The keys of a difference; of objects for which `is_whole` (of the sign and the object's path) holds, the objects.
fn items<'a>(difference: &Difference<'a>, is_whole: impl Fn(Sign, &str) -> bool) -> Vec<Item<'a>> {
    let added = difference.added.iter().map(|&(key, text)| (Sign::Added, key, Content::Text(text)));
    let removed = difference.removed.iter().map(|&(key, text)| (Sign::Removed, key, Content::Text(text)));
    let changed = difference
        .changed
        .iter()
        .map(|change| (Sign::Changed, change.key, Content::Change { old: change.old, new: change.new }));
    let mut items: Vec<Item<'a>> = Vec::new();
    // Keys are in order, so those of an object follow each other.
    for (sign, key, content) in added.chain(removed).chain(changed) {
        let (object, path) = object_of(key);
        match items.last_mut() {
            Some(Item { sign: last_sign, path: last_path, content: Content::Keys(keys), .. })
                if *last_sign == sign && *last_path == path =>
            {
                *keys += 1;
            }
            _ if path.len() < key.len() && is_whole(sign, path) => {
                items.push(Item { sign, path, object, content: Content::Keys(1) });
            }
            _ => items.push(Item { sign, path: key, object, content }),
        }
    }
    items
}

/// The path of the object that a key belongs to, and which of its steps is the last.
fn object_of(key: &str) -> (usize, &str) {
    let section = key.split('/').next().unwrap_or_default();
    let wanted = if GROUPED_SECTIONS.contains(&section) { 2 } else { 1 };
    match key.match_indices('/').nth(wanted) {
        Some((end, _)) => (wanted, &key[..end]),
        // No object: a line of its own.
        None => (0, key),
    }
}

fn has_below(tree: &Tree, path: &str) -> bool {
    let below = format!("{path}/");
    tree.range(below.clone()..).next().is_some_and(|(key, _)| key.starts_with(&below))
}

/// Whether a step of a path is the place of an item in a list, as `000002`.
fn is_place_in_list(step: &str) -> bool {
    step.len() == 6 && step.bytes().all(|byte| byte.is_ascii_digit())
}

/// The text with a mark for each number; what is a list of names itself is left as it is.
fn without_numbers(text: &str) -> String {
    if text.contains(['[', ',', ' ']) {
        return text.to_owned();
    }
    let mut shape = String::with_capacity(text.len());
    for character in text.chars() {
        match character.is_ascii_digit() {
            // No text contains it.
            true if shape.ends_with('\0') => {}
            true => shape.push('\0'),
            false => shape.push(character),
        }
    }
    shape
}

/// The line of items of one shape, in counting order.
fn describe<'a>(items: &[Item<'a>]) -> Line {
    let first = &items[0];
    let number = items.len();
    let all: Vec<Vec<&str>> = items.iter().map(Item::steps).collect();
    let path: Vec<String> = (0..all[0].len()).map(|step| fold(all.iter().map(|steps| steps[step]))).collect();
    let path = one_line(&path.join("/"));
    let text = |side: fn(Content<'a>) -> &'a str| match fold(items.iter().map(|item| side(item.content))) {
        empty if empty.is_empty() => "\"\"".to_owned(),
        text => shown(first.path, &text),
    };
    let keys = |number: usize| if number == 1 { "1 key".to_owned() } else { format!("{number} keys") };
    let text = match first.content {
        Content::Keys(each) if number == 1 => format!("{path} ({})", keys(each)),
        Content::Keys(each) => format!("{path} ({number} x {})", keys(each)),
        Content::Text(_) => format!("{path}: {}", text(Content::latter)),
        Content::Change { .. } => format!("{path}: {} -> {}", text(Content::former), text(Content::latter)),
    };
    let is_folded = number > 1 && !matches!(first.content, Content::Keys(_));
    Line { sign: first.sign, text: if is_folded { format!("{text} ({})", keys(number)) } else { text } }
}

/// What is the same in all of them, or else a hostlist.
fn fold<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let texts: Vec<&str> = texts.collect();
    match texts.as_slice() {
        [first, rest @ ..] if rest.iter().all(|text| text == first) => (*first).to_owned(),
        texts => hostlist::fold(texts),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tree(entries: &[(&str, &str)]) -> Tree {
        entries.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect()
    }

    /// Samplers with their producers, as the layout has them.
    fn samplers(numbers: std::ops::RangeInclusive<u32>, interval: &str) -> Tree {
        let mut tree = tree(&[("plugins/meminfo/interval", interval), ("plugins/meminfo/name", "meminfo")]);
        for n in numbers {
            tree.insert(format!("daemons/sampler-{n}/addr"), format!("node-{}", 100 + n));
            for port in [411, 412] {
                tree.insert(format!("daemons/sampler-{n}/endpoints/node-{n}-{port}/port"), port.to_string());
            }
            tree.insert(format!("producers/agg-[1-2]/node-{n}-411/daemon"), format!("sampler-{n}"));
            tree.insert(format!("producers/agg-[1-2]/node-{n}-411/updaters/000000/interval"), interval.to_owned());
            tree.insert(format!("producers/agg-[1-2]/node-{n}-411/updaters/000001/interval"), interval.to_owned());
        }
        tree
    }

    #[track_caller]
    fn assert_folded(old: &Tree, new: &Tree, expected: &[&str]) {
        let lines = folded(&Difference::between(old, new), old, new);
        assert_eq!(lines.iter().map(Line::to_string).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn keys_that_change_alike_are_one_line() {
        assert_folded(
            &samplers(1..=12, "1s"),
            &samplers(1..=12, "2s"),
            &[
                "~ plugins/meminfo/interval: 1s -> 2s",
                "~ producers/agg-[1-2]/node-[1-12]-411/updaters/000000/interval: 1s -> 2s (12 keys)",
                "~ producers/agg-[1-2]/node-[1-12]-411/updaters/000001/interval: 1s -> 2s (12 keys)",
            ],
        );
    }

    #[test]
    fn keys_that_change_otherwise_are_lines_of_their_own() {
        let old = samplers(1..=4, "1s");
        let mut new = samplers(1..=4, "1s");
        for (key, text) in new.iter_mut().filter(|(key, _)| key.ends_with("000000/interval")) {
            *text = if key.contains("node-3") { "5s" } else { "2s" }.to_owned();
        }
        assert_folded(
            &old,
            &new,
            &[
                "~ producers/agg-[1-2]/node-[1-2]-411,node-4-411/updaters/000000/interval: 1s -> 2s (3 keys)",
                "~ producers/agg-[1-2]/node-3-411/updaters/000000/interval: 1s -> 5s",
            ],
        );
    }

    #[test]
    fn several_endpoints_of_a_daemon_are_several_lines() {
        let of_transport = |transport: &str| {
            let key = |n: u32, port: u32| format!("daemons/s-{n}/endpoints/e-{n}-{port}/xprt");
            let keys = (1..=12).flat_map(|n| [411, 412].map(|port| key(n, port)));
            keys.map(|key| (key, transport.to_owned())).collect::<Tree>()
        };
        assert_folded(
            &of_transport("sock"),
            &of_transport("rdma"),
            &[
                "~ daemons/s-[1-12]/endpoints/e-[1-12]-411/xprt: sock -> rdma (12 keys)",
                "~ daemons/s-[1-12]/endpoints/e-[1-12]-412/xprt: sock -> rdma (12 keys)",
            ],
        );
    }

    #[test]
    fn places_in_lists_are_not_folded() {
        let keys = ["producers/g/n-1/updaters/000000/interval", "producers/g/n-2/updaters/000001/interval"];
        assert_folded(
            &tree(&keys.map(|key| (key, "1s"))),
            &tree(&keys.map(|key| (key, "2s"))),
            &keys.map(|key| format!("~ {key}: 1s -> 2s")).each_ref().map(String::as_str),
        );
    }

    #[test]
    fn objects_that_come_or_go_are_one_line() {
        let lines = ["daemons/sampler-[9-12] (4 x 3 keys)", "producers/agg-[1-2]/node-[9-12]-411 (4 x 3 keys)"];
        let [added, removed] = ["+", "-"].map(|sign| lines.map(|line| format!("{sign} {line}")));
        let (few, many) = (samplers(1..=8, "1s"), samplers(1..=12, "1s"));
        assert_folded(&few, &many, &added.each_ref().map(String::as_str));
        assert_folded(&many, &few, &removed.each_ref().map(String::as_str));
        let plugin = tree(&[("plugins/meminfo/name", "meminfo"), ("plugins/vmstat/name", "vmstat")]);
        assert_folded(&tree(&[("plugins/meminfo/name", "meminfo")]), &plugin, &["+ plugins/vmstat (1 key)"]);
    }

    #[test]
    fn names_and_endpoints_count_along_with_their_daemons() {
        let old = samplers(1..=3, "1s");
        let mut new = old.clone();
        for (key, text) in &mut new {
            if key.ends_with("/addr") {
                *text = text.replace("node", "host");
            } else if key.ends_with("/port") {
                *text = format!("1{text}");
            }
        }
        assert_folded(
            &old,
            &new,
            &[
                "~ daemons/sampler-[1-3]/addr: node-[101-103] -> host-[101-103] (3 keys)",
                "~ daemons/sampler-[1-3]/endpoints/node-[1-3]-411/port: 411 -> 1411 (3 keys)",
                "~ daemons/sampler-[1-3]/endpoints/node-[1-3]-412/port: 412 -> 1412 (3 keys)",
            ],
        );
    }

    #[test]
    fn what_is_gone_comes_before_what_took_its_place() {
        let old = tree(&[("plugins/a/x", "1"), ("plugins/a/y", "1"), ("plugins/a/z", "")]);
        let new = tree(&[("plugins/a/w", ""), ("plugins/a/y", "2"), ("plugins/a/z", "1")]);
        let lines = ["+ plugins/a/w: \"\"", "- plugins/a/x: 1", "~ plugins/a/y: 1 -> 2", "~ plugins/a/z: \"\" -> 1"];
        assert_folded(&old, &new, &lines);
        let every: Vec<String> = every_key(&Difference::between(&old, &new)).iter().map(Line::to_string).collect();
        assert_eq!(every, lines);
    }

    #[test]
    fn secrets_are_hidden_in_both_forms() {
        let key = "daemons/sampler-1/endpoints/e/auth/secretword";
        let (old, new) = (tree(&[(key, "hunter2")]), tree(&[(key, "hunter3")]));
        assert_folded(&old, &new, &[&format!("~ {key}: (hidden) -> (hidden)")]);
        let difference = Difference::between(&old, &new);
        assert_eq!(every_key(&difference)[0].to_string(), format!("~ {key}: (hidden) -> (hidden)"));
    }

    /// The number of keys that a line speaks of, by what it says of them at its end.
    fn keys_of(line: &Line) -> usize {
        let Some((_, counts)) = line.text.strip_suffix(')').and_then(|text| text.rsplit_once(" (")) else { return 1 };
        counts.split(' ').filter_map(|word| word.parse::<usize>().ok()).product()
    }

    proptest! {
        #[test]
        fn every_key_is_counted_in_one_line(
            old in proptest::collection::btree_map("(daemons|producers/g)/[ab][1-3]/[xy][12](/[1-3])?", "[12]", 0..24),
            new in proptest::collection::btree_map("(daemons|producers/g)/[ab][1-3]/[xy][12](/[1-3])?", "[12]", 0..24),
        ) {
            let difference = Difference::between(&old, &new);
            let lines = folded(&difference, &old, &new);
            let keys = |sign| lines.iter().filter(|line| line.sign == sign).map(keys_of).sum::<usize>();
            prop_assert_eq!(keys(Sign::Added), difference.added.len());
            prop_assert_eq!(keys(Sign::Changed), difference.changed.len());
            prop_assert_eq!(keys(Sign::Removed), difference.removed.len());
            prop_assert_eq!(every_key(&difference).len(), difference.len());
        }
    }
}
