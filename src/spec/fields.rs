//! The keys of one mapping, asked for by name, and values read as what they should be.
//!
//! Whatever is not as it should be goes to the report and reads as `None`, so that a reader goes on and finds the
//! other errors of the file too.

use std::cell::RefCell;

use super::diagnostic::{Position, Report, nearest};
use super::yaml::{Entry, Node, Value};
use crate::notation::{Interval, Permission, hostlist, regex};

/// The keys of a mapping.
pub(super) struct Fields<'d> {
    /// Where the mapping begins.
    pub(super) position: Position,
    /// What the mapping is, as messages call it: `an updater`.
    what: &'static str,
    entries: Vec<&'d Entry>,
    asked: RefCell<Vec<&'static str>>,
    /// Keys that have been reported as misspelt.
    slips: RefCell<Vec<&'d str>>,
    report: &'d Report<'d>,
}

#[cfg(test)]
thread_local! {
    /// The keys that readers have asked for, with the mappings that they asked: the table of keys has to have each.
    pub(super) static ASKED: RefCell<std::collections::BTreeSet<(&'static str, &'static str)>> = RefCell::default();
}

/// What a name takes in memory besides its text, roughly.
const NAME_BYTES: usize = 48;

/// Names that an operator wrote as a hostlist.
pub(super) struct Names {
    /// The hostlist as written.
    pub(super) written: String,
    /// What it stands for, in its order.
    pub(super) list: Vec<String>,
    /// Where it stands.
    pub(super) position: Position,
}

impl<'d> Fields<'d> {
    /// The keys of `node`, which should be a mapping.
    pub(super) fn of(node: &'d Node, what: &'static str, report: &'d Report<'d>) -> Option<Fields<'d>> {
        let Value::Map(map) = node.value() else {
            report.error(node.position, format!("{what} must be a mapping"), "write lines of the form `key: value`");
            return None;
        };
        let mut entries: Vec<&Entry> = Vec::with_capacity(map.len());
        let mut sorted: Vec<&Entry> = map.iter().collect();
        // Stable: of equal keys the first stays first.
        sorted.sort_by(|a, b| a.key.cmp(&b.key));
        for group in sorted.chunk_by(|a, b| a.key == b.key) {
            for again in &group[1..] {
                report.error(
                    again.key_position,
                    format!("key `{}` is repeated, first at line {}", again.key, group[0].key_position.line),
                    "keep one of them",
                );
            }
            entries.push(group[0]);
        }
        Some(Fields {
            position: node.position,
            what,
            entries,
            asked: RefCell::default(),
            slips: RefCell::default(),
            report,
        })
    }

    /// The value of a key, `None` where it is missing or empty.
    pub(super) fn get(&self, key: &'static str) -> Option<&'d Node> {
        self.asked.borrow_mut().push(key);
        #[cfg(test)]
        ASKED.with_borrow_mut(|asked| asked.insert((self.what, key)));
        let index = self.entries.binary_search_by(|entry| (*entry.key).cmp(key)).ok()?;
        Some(&self.entries[index].value).filter(|node| node.value() != &Value::Absent)
    }

    /// The value of a key, or of a key that is so near that it must be meant: then the slip is reported, and what the
    /// key says is not missed by the rest of the file.
    pub(super) fn get_or_slip(&self, key: &'static str) -> Option<&'d Node> {
        let value = self.get(key);
        if value.is_some() || self.has(key) {
            return value;
        }
        let joined = |entry: &&&Entry| entry.key.strip_prefix(key).is_some_and(|rest| rest.starts_with(' '));
        if let Some(entry) = self.entries.iter().find(joined).filter(|entry| entry.value.value() == &Value::Absent) {
            let message = format!("a colon is missing behind `{key}`");
            self.report.error(entry.key_position, message, format!("write `{key}: …`"));
            self.slips.borrow_mut().push(&entry.key);
            return None;
        }
        let slip = self.entries.iter().find(|entry| nearest(&entry.key, [key]).is_some())?;
        self.report_slip(slip, key);
        self.slips.borrow_mut().push(&slip.key);
        Some(&slip.value).filter(|node| node.value() != &Value::Absent)
    }

    /// Where the value of a key stands, or the mapping where there is none.
    pub(super) fn position_of(&self, key: &'static str) -> Position {
        self.get(key).map_or(self.position, |node| node.position)
    }

    /// The value of a key that must be there.
    pub(super) fn require(&self, key: &'static str) -> Option<&'d Node> {
        let value = self.get_or_slip(key);
        let slipped = |slip: &&str| slip.starts_with(key) || nearest(slip, [key]).is_some();
        if value.is_none() && !self.slips.borrow().iter().any(slipped) {
            self.report.error(self.position, format!("{} needs `{key}`", self.what), format!("add `{key}: …`"));
        }
        value
    }

    /// The value of a key, or of the name that it had formerly.
    pub(super) fn text_or_former(&self, key: &'static str, former: &'static str) -> Option<&'d str> {
        self.text(key).or(self.text(former))
    }

    pub(super) fn text(&self, key: &'static str) -> Option<&'d str> {
        text_of(self.get(key)?, key, self.report)
    }

    pub(super) fn owned_text(&self, key: &'static str) -> Option<String> {
        self.text(key).map(str::to_owned)
    }

    pub(super) fn interval(&self, key: &'static str) -> Option<Interval> {
        interval_of(self.get(key)?, key, self.report)
    }

    pub(super) fn permission(&self, key: &'static str) -> Option<Permission> {
        let node = self.get(key)?;
        let permission = Permission::parse(text_of(node, key, self.report)?);
        permission.map_err(|error| self.report.error(node.position, format!("`{key}`: {error}"), error.help())).ok()
    }

    pub(super) fn boolean(&self, key: &'static str) -> Option<bool> {
        let node = self.get(key)?;
        match text_of(node, key, self.report)?.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Some(true),
            "false" | "no" | "off" | "0" => Some(false),
            other => {
                self.report.error(node.position, format!("`{key}` is true or false, not `{other}`"), "write `true`");
                None
            }
        }
    }

    pub(super) fn port(&self, key: &'static str) -> Option<u16> {
        let node = self.get(key)?;
        let port = parse_port(text_of(node, key, self.report)?);
        if port.is_none() {
            self.report.error(node.position, format!("`{key}` is not a port"), "write a number from 1 to 65535");
        }
        port
    }

    /// A regular expression.
    pub(super) fn regex(&self, key: &'static str) -> Option<String> {
        regex_of(self.get(key)?, key, self.report)
    }

    /// A hostlist, or a sequence of them.
    pub(super) fn names(&self, key: &'static str) -> Option<Names> {
        names_of(self.get(key)?, key, self.report)
    }

    pub(super) fn required_names(&self, key: &'static str) -> Option<Names> {
        names_of(self.require(key)?, key, self.report)
    }

    /// The items of a value that is a sequence or one item alone; none where the key is missing.
    pub(super) fn items(&self, key: &'static str) -> &'d [Node] {
        self.get(key).and_then(|node| list_of(node, key, self.report)).unwrap_or_default()
    }

    /// The keys that were not asked for.
    pub(super) fn others(&self) -> impl Iterator<Item = &'d Entry> {
        let known = |key: &str| self.asked.borrow().contains(&key) || self.slips.borrow().contains(&key);
        self.entries.iter().copied().filter(move |entry| !known(&entry.key))
    }

    /// Reports a key that was not asked for: an error where it is probably a slip of the pen.
    pub(super) fn refuse_others(&self) {
        for entry in self.others() {
            if !self.refuse_slip(entry, usize::MAX) {
                let known = self.asked.borrow().join(", ");
                let message = format!("unknown key `{}` of {} is ignored", entry.key, self.what);
                self.report.warning(entry.key_position, message, format!("the keys of {} are {known}", self.what));
            }
        }
    }

    /// Reports `entry` as an error where its key differs from a known one in at most `limit` letters.
    pub(super) fn refuse_slip(&self, entry: &Entry, limit: usize) -> bool {
        let asked = self.asked.borrow();
        let near = nearest(&entry.key, asked.iter().copied())
            .filter(|near| entry.key.len().abs_diff(near.len()) <= limit && !self.has(near));
        if let Some(near) = near {
            self.report_slip(entry, near);
        }
        near.is_some()
    }

    fn report_slip(&self, entry: &Entry, near: &str) {
        let message = format!("unknown key `{}` of {}", entry.key, self.what);
        self.report.error(entry.key_position, message, format!("did you mean `{near}`?"));
    }

    fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|entry| &*entry.key == key)
    }
}

/// The items of a sequence, or the one item that stands in its place.
pub(super) fn items_of(node: &Node) -> &[Node] {
    match node.value() {
        Value::List(items) => items,
        Value::Absent => &[],
        Value::Text(_) | Value::Map(_) => std::slice::from_ref(node),
    }
}

/// The items of a value as [`items_of`], unless they stand in a mapping of names, which is reported.
pub(super) fn list_of<'n>(node: &'n Node, key: &str, report: &Report<'_>) -> Option<&'n [Node]> {
    if let Value::Map(entries) = node.value() {
        let is_mapping = |entry: &Entry| matches!(entry.value.value(), Value::Map(_));
        if let Some(first) = entries.first().filter(|_| entries.iter().all(is_mapping)) {
            let help = format!(
                "write each entry as an item of the list, with `- ` before its first key, not below `{}:`",
                first.key
            );
            report.error(first.key_position, format!("`{key}` must be a list"), help);
            return None;
        }
    }
    Some(items_of(node))
}

pub(super) fn text_of<'n>(node: &'n Node, what: &str, report: &Report<'_>) -> Option<&'n str> {
    match node.value() {
        Value::Text(text) => Some(text),
        Value::Absent => {
            report.error(node.position, format!("`{what}` is empty"), "write a value, or remove the key");
            None
        }
        Value::List(_) | Value::Map(_) => {
            report.error(node.position, format!("`{what}` must be a single value"), "write one word or a quoted text");
            None
        }
    }
}

pub(super) fn interval_of(node: &Node, what: &str, report: &Report<'_>) -> Option<Interval> {
    let interval = Interval::parse(text_of(node, what, report)?);
    interval.map_err(|error| report.error(node.position, format!("`{what}`: {error}"), error.help())).ok()
}

/// A regular expression in which nothing is found that no daemon takes.
pub(super) fn regex_of(node: &Node, what: &str, report: &Report<'_>) -> Option<String> {
    let text = text_of(node, what, report)?;
    match regex::check(text) {
        Ok(()) => Some(text.to_owned()),
        Err(error) => {
            let position = report.within(node.origin(), text, error.offset);
            report.error(position, format!("{error} in the regular expression `{text}`"), error.fault.help());
            None
        }
    }
}

pub(super) fn names_of(node: &Node, what: &str, report: &Report<'_>) -> Option<Names> {
    let mut names = Names { written: String::new(), list: Vec::new(), position: node.position };
    let mut sound = true;
    for item in items_of(node) {
        let Some(text) = text_of(item, what, report) else {
            sound = false;
            continue;
        };
        if report.is_exhausted() {
            return None;
        }
        match hostlist::expand(text) {
            Ok(list) => {
                sound &= report.afford(list.iter().map(|name| name.len() + NAME_BYTES).sum(), item.position);
                names.list.extend(list);
            }
            Err(error) => {
                // Where it is written: an alias of it is no further mistake.
                let position = report.within(item.origin(), text, error.offset);
                report.error(position, format!("{error} in `{text}`"), error.fault.help());
                sound = false;
            }
        }
        if !names.written.is_empty() {
            names.written.push(',');
        }
        names.written.push_str(text.trim());
    }
    if sound && names.list.is_empty() {
        report.error(node.position, format!("`{what}` names nothing"), "write a hostlist, such as `node-[1-8]`");
    }
    Some(names).filter(|names| sound && !names.list.is_empty())
}

pub(super) fn parse_port(text: &str) -> Option<u16> {
    text.trim().parse().ok().filter(|port| *port > 0)
}

/// A few of many names, for a message.
pub(super) fn abbreviated<S: AsRef<str>>(names: &[S]) -> String {
    let quoted = |name: &S| format!("`{}`", name.as_ref());
    match names {
        [first, second, _, .., last] if names.len() > 4 => {
            format!("{}, {}, …, {} ({} in all)", quoted(first), quoted(second), quoted(last), names.len())
        }
        _ => names.iter().map(quoted).collect::<Vec<_>>().join(", "),
    }
}

/// `did you mean …?` where a candidate is near, else the help given.
pub(super) fn suggestion<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>, otherwise: &str) -> String {
    nearest(word, candidates).map_or_else(|| otherwise.to_owned(), |near| format!("did you mean `{near}`?"))
}
