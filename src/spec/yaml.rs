//! A YAML document as a tree in which every key and value knows its place.
//!
//! Scalars stay text as written (`0777`, `1.10`, `on`): what a value means is for its reader to say, who knows
//! whether it is a permission or a name. Anchors, aliases and merge keys are resolved. A document is bounded in
//! depth and in size after its aliases are resolved, so that no file can exhaust the program.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::rc::Rc;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use super::diagnostic::{Position, Report};
use super::syntax::{Fault, MAX_DEPTH, explain, too_deep};

/// The most values that a document may have once its aliases are resolved.
const MAX_NODES: u32 = 3_000_000;

/// The most entries that merge keys may copy: they are not shared, as aliases are.
const MAX_MERGED: usize = 1_000_000;

/// The most text that a document may have once its aliases are resolved, in bytes.
const MAX_BYTES: u32 = 256 << 20;

/// A value and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    /// Where it stands, its anchor included; for a value that an alias stands for, the place of the alias.
    pub(super) position: Position,
    /// Shared by all aliases of one anchor.
    value: Rc<Sized>,
}

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// Nothing, `~` or `null`.
    Absent,
    /// A scalar, unquoted and otherwise as written.
    Text(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping in the order of writing. A repeated key is there as often as it was written.
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Shared by all equal keys.
    pub(super) key: Rc<str>,
    pub(super) key_position: Position,
    pub(super) value: Node,
}

/// A value with its size, that of everything below it included.
#[derive(Debug, PartialEq, Eq)]
struct Sized {
    value: Value,
    /// Where it is written.
    origin: Position,
    nodes: u32,
    bytes: u32,
    depth: u32,
}

impl Node {
    pub(super) fn value(&self) -> &Value {
        &self.value.value
    }

    /// Where it is written, its anchor included, also for a value that an alias stands for.
    pub(super) fn origin(&self) -> Position {
        self.value.origin
    }

    /// How much text the value holds, in bytes, with what aliases stand for.
    pub(super) fn bytes(&self) -> usize {
        self.value.bytes as usize
    }

    pub(super) fn new(position: Position, value: Value) -> Node {
        let own = Sized { nodes: 1, bytes: 0, depth: 1, origin: position, value: Value::Absent };
        let saturated = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
        let with = |sum: Sized, child: &Node, key_bytes: usize| Sized {
            nodes: sum.nodes.saturating_add(child.value.nodes),
            bytes: sum.bytes.saturating_add(child.value.bytes).saturating_add(saturated(key_bytes)),
            depth: sum.depth.max(child.value.depth + 1),
            ..sum
        };
        let sum = match &value {
            Value::Absent => own,
            Value::Text(text) => Sized { bytes: saturated(text.len()), ..own },
            Value::List(items) => items.iter().fold(own, |sum, item| with(sum, item, 0)),
            Value::Map(entries) => entries.iter().fold(own, |sum, entry| with(sum, &entry.value, entry.key.len())),
        };
        Node { position, value: Rc::new(Sized { value, ..sum }) }
    }
}

/// Reads the one document of `text`. What is wrong with it goes to the report; the tree is `None` then.
pub(super) fn parse(text: &str, report: &Report<'_>) -> Option<Node> {
    match Builder::default().build(text, report.is_secretive()) {
        Ok(root) => Some(root),
        Err(fault) => {
            report.error(fault.position, fault.message, fault.help);
            None
        }
    }
}

/// Builds the tree from the parser's events, with a stack of its own instead of recursion.
#[derive(Default)]
struct Builder {
    open: Vec<Collection>,
    anchors: BTreeMap<usize, Node>,
    /// Every key of the document once.
    keys: HashSet<Rc<str>>,
    /// How many entries merge keys have looked at so far.
    merged: usize,
    root: Option<Node>,
}

/// A collection whose end has not been seen.
struct Collection {
    position: Position,
    anchor: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map { entries: Vec<Entry>, merges: Vec<Node>, key: Option<Key> },
}

/// A key that waits for its value.
struct Key {
    text: Rc<str>,
    position: Position,
    merges: bool,
}

impl Builder {
    fn build(mut self, text: &str, secretive: bool) -> Result<Node, Fault> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut parser = Parser::new_from_str(text);
        let mut end = Position { line: 1, column: 1 };
        while let Some(next) = parser.next_event() {
            let (event, span) = next.map_err(|error| explain(&error, text, secretive))?;
            end = place(span);
            self.take(event, end)?;
        }
        Ok(self.root.unwrap_or_else(|| Node::new(end, Value::Absent)))
    }

    fn take(&mut self, event: Event<'_>, position: Position) -> Result<(), Fault> {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) if self.root.is_some() => Err(Fault::new(
                position,
                "a second document begins here",
                "write one document to a file, without a second `---`",
            )),
            Event::DocumentStart(_) => Ok(()),
            Event::Alias(anchor) => {
                let value = self.anchors.get(&anchor).map(|node| Rc::clone(&node.value)).ok_or_else(|| {
                    Fault::new(position, "this alias stands within its own anchor", "write the value out")
                })?;
                self.place_value(Node { position, value }, false)
            }
            Event::Scalar(text, style, anchor, _) => {
                let plain = style == ScalarStyle::Plain;
                let value = match text.as_ref() {
                    "" | "~" | "null" | "Null" | "NULL" if plain => Value::Absent,
                    text => Value::Text(text.to_owned()),
                };
                self.close(Node::new(position, value), anchor, plain && text == "<<")
            }
            Event::SequenceStart(anchor, _) => self.open(position, anchor, Content::List(Vec::new())),
            Event::MappingStart(anchor, _) => {
                let content = Content::Map { entries: Vec::new(), merges: Vec::new(), key: None };
                self.open(position, anchor, content)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                // The parser sends an end only after its start.
                let Some(collection) = self.open.pop() else { return Ok(()) };
                let value = match collection.content {
                    Content::List(mut items) => {
                        items.shrink_to_fit();
                        Value::List(items)
                    }
                    Content::Map { entries, merges, .. } => {
                        let mut entries = self.merge(entries, &merges)?;
                        entries.shrink_to_fit();
                        Value::Map(entries)
                    }
                };
                self.close(Node::new(collection.position, value), collection.anchor, false)
            }
        }
    }

    fn open(&mut self, position: Position, anchor: usize, content: Content) -> Result<(), Fault> {
        if self.open.len() >= MAX_DEPTH {
            return Err(too_deep(position));
        }
        self.open.push(Collection { position, anchor, content });
        Ok(())
    }

    /// Takes a finished value; anchor 0 is no anchor.
    fn close(&mut self, node: Node, anchor: usize, is_merge_key: bool) -> Result<(), Fault> {
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        self.place_value(node, is_merge_key)
    }

    fn place_value(&mut self, node: Node, is_merge_key: bool) -> Result<(), Fault> {
        let open = self.open.len();
        if node.value.depth as usize + open > MAX_DEPTH {
            return Err(too_deep(node.position));
        }
        if node.value.nodes > MAX_NODES || node.value.bytes > MAX_BYTES {
            return Err(too_large(node.position));
        }
        let Some(collection) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut collection.content {
            Content::List(items) => items.push(node),
            Content::Map { entries, merges, key } => match key.take() {
                None => {
                    let text = match node.value() {
                        Value::Text(text) => text.as_str(),
                        Value::Absent => "",
                        Value::List(_) | Value::Map(_) => {
                            return Err(Fault::new(node.position, "a key must be a word", "write `key: value`"));
                        }
                    };
                    let known = self.keys.get(text).cloned();
                    let text = known.unwrap_or_else(|| Rc::from(text));
                    self.keys.insert(Rc::clone(&text));
                    *key = Some(Key { text, position: node.position, merges: is_merge_key });
                }
                Some(key) if key.merges => merges.push(node),
                Some(key) => entries.push(Entry { key: key.text, key_position: key.position, value: node }),
            },
        }
        Ok(())
    }

    /// The entries with those of the merged mappings that they do not name themselves.
    fn merge(&mut self, mut entries: Vec<Entry>, merges: &[Node]) -> Result<Vec<Entry>, Fault> {
        if merges.is_empty() {
            return Ok(entries);
        }
        let mut named: BTreeSet<Rc<str>> = entries.iter().map(|entry| Rc::clone(&entry.key)).collect();
        for node in merges {
            let sources = match node.value() {
                Value::List(items) => items.as_slice(),
                _ => std::slice::from_ref(node),
            };
            for source in sources {
                let Value::Map(merged) = source.value() else {
                    return Err(Fault::new(
                        source.position,
                        "only mappings can be merged with `<<`",
                        "write an alias of a mapping: `<<: *defaults`",
                    ));
                };
                self.merged += merged.len();
                if self.merged > MAX_MERGED {
                    let message = format!("merge keys copy more than {MAX_MERGED} entries");
                    return Err(Fault::new(source.position, message, "merge smaller mappings, or write less"));
                }
                let fresh: Vec<Entry> = merged.iter().filter(|entry| !named.contains(&entry.key)).cloned().collect();
                named.extend(fresh.iter().map(|entry| Rc::clone(&entry.key)));
                entries.extend(fresh);
            }
        }
        Ok(entries)
    }
}

fn too_large(position: Position) -> Fault {
    let message = format!(
        "this has more than {MAX_NODES} values once its aliases are resolved, or {} MB of text",
        MAX_BYTES >> 20
    );
    Fault::new(position, message, "write less, or several clusters")
}

fn place(span: Span) -> Position {
    Position { line: span.start.line(), column: span.start.col() + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Node {
        let report = Report::new("f", text);
        let node = parse(text, &report);
        node.unwrap_or_else(|| panic!("{}", report.into_diagnostics()[0]))
    }

    fn first_error(text: &str) -> String {
        let report = Report::new("f", text);
        assert_eq!(parse(text, &report), None, "{text}");
        report.into_diagnostics()[0].to_string()
    }

    /// The tree without places, as text that is easy to compare: `{a:[1,2],b:~}`.
    fn show(node: &Node) -> String {
        match node.value() {
            Value::Absent => "~".into(),
            Value::Text(text) => text.clone(),
            Value::List(items) => format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(",")),
            Value::Map(entries) => {
                let entries = entries.iter().map(|entry| format!("{}:{}", entry.key, show(&entry.value)));
                format!("{{{}}}", entries.collect::<Vec<_>>().join(","))
            }
        }
    }

    fn find<'n>(node: &'n Node, key: &str) -> &'n Entry {
        let Value::Map(entries) = node.value() else { panic!("no mapping") };
        entries.iter().find(|entry| &*entry.key == key).expect("the key is there")
    }

    #[test]
    fn scalars_stay_as_written() {
        let text = "[0777, 0o777, 1.10, on, 08, True, '0x1f', \"~\"]";
        assert_eq!(show(&read(text)), "[0777,0o777,1.10,on,08,True,0x1f,~]");
        let Value::List(items) = read("[~, null, '', \"null\"]").value().clone() else { panic!() };
        let values: Vec<&Value> = items.iter().map(Node::value).collect();
        let (empty, null) = (Value::Text(String::new()), Value::Text("null".into()));
        assert_eq!(values, [&Value::Absent, &Value::Absent, &empty, &null]);
    }

    #[test]
    fn an_empty_value_or_document_is_absent() {
        assert_eq!(read("").value(), &Value::Absent);
        assert_eq!(read("# nothing\n").value(), &Value::Absent);
        assert_eq!(show(&read("a:\nb: ~\n")), "{a:~,b:~}");
    }

    #[test]
    fn every_key_and_value_knows_its_place() {
        let root = read("daemons:\n  - names : &s \"sampler-[1-8]\"\n    more: *s\n");
        let Value::List(items) = find(&root, "daemons").value.value() else { panic!() };
        let names = find(&items[0], "names");
        assert_eq!(names.key_position, Position { line: 2, column: 5 });
        assert_eq!(names.value.position, Position { line: 2, column: 13 });
        let more = find(&items[0], "more");
        assert_eq!(more.value.position, Position { line: 3, column: 11 });
        assert_eq!(show(&more.value), "sampler-[1-8]");
    }

    #[test]
    fn merge_keys_fill_in_what_is_not_named() {
        let base = "a: &a {x: 1, y: 2}\nb: &b {x: 3, z: 4}\n";
        assert_eq!(show(&find(&read(&format!("{base}c: {{y: 5, <<: *a}}")), "c").value), "{y:5,x:1}");
        assert_eq!(show(&find(&read(&format!("{base}c: {{<<: [*a, *b]}}")), "c").value), "{x:1,y:2,z:4}");
        assert_eq!(show(&read("'<<': 1")), "{<<:1}");
        assert!(first_error("a: &a 1\nb: {<<: *a}").contains("f:2:9: error: only mappings can be merged"));
    }

    #[test]
    fn repeated_keys_are_all_kept() {
        assert_eq!(show(&read("a: 1\nb: 2\na: 3")), "{a:1,b:2,a:3}");
    }

    #[test]
    fn says_where_it_is_no_yaml() {
        assert!(first_error("a: [1\nb: 2\n").starts_with("f:1:4: error: this `[` is never closed"));
        assert!(first_error("a: {b: c-[1-2]}").contains("quote hostlists"));
        assert!(first_error("a: &a [*a]").contains("f:1:8: error: this alias stands within its own anchor"));
        assert!(first_error("a: 1\n---\nb: 2\n").contains("f:2:1: error: a second document"));
        assert!(first_error("[a]: 1").contains("f:1:1: error: a key must be a word"));
    }

    #[test]
    fn an_alias_bomb_is_an_error() {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..40 {
            let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
            text.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
        }
        assert!(first_error(&text).contains("values once its aliases are resolved"));
    }

    #[test]
    fn deep_nesting_is_an_error_also_by_aliases() {
        assert!(first_error(&"[".repeat(100)).contains("levels deep"));
        let mut text = String::from("- &a0 [x]\n");
        for level in 1..100 {
            text.push_str(&format!("- &a{level} [*a{}]\n", level - 1));
        }
        assert!(first_error(&text).contains("levels deep"));
    }

    #[test]
    fn merging_much_many_times_is_an_error() {
        let keys: Vec<String> = (0..2_000).map(|key| format!("k{key}: 1")).collect();
        let mut text = format!("base: &base {{{}}}\n", keys.join(", "));
        for user in 0..2_000 {
            text.push_str(&format!("u{user}: {{<<: *base}}\n"));
        }
        // In the middle of the file: before all of it is in memory.
        let error = first_error(&text);
        assert!(error.starts_with("f:502:"), "{error}");
    }

    /// A document in flow style.
    fn document() -> impl Strategy<Value = String> {
        let leaf = "[a-z0-9_.-]{1,6}".prop_map(|text| format!("\"{text}\""));
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(", "))),
                prop::collection::btree_map("[a-z]{1,4}", inner, 0..4).prop_map(|map| {
                    let entries: Vec<String> = map.iter().map(|(key, value)| format!("{key}x: {value}")).collect();
                    format!("{{{}}}", entries.join(", "))
                }),
            ]
        })
    }

    fn show_oracle(value: &serde_yaml::Value) -> String {
        match value {
            serde_yaml::Value::String(text) => text.clone(),
            serde_yaml::Value::Sequence(items) => {
                format!("[{}]", items.iter().map(show_oracle).collect::<Vec<_>>().join(","))
            }
            serde_yaml::Value::Mapping(map) => {
                let entries = map.iter().map(|(key, value)| format!("{}:{}", show_oracle(key), show_oracle(value)));
                format!("{{{}}}", entries.collect::<Vec<_>>().join(","))
            }
            other => panic!("{other:?}"),
        }
    }

    proptest! {
        #[test]
        fn agrees_with_another_reader(text in document()) {
            prop_assert_eq!(show(&read(&text)), show_oracle(&serde_yaml::from_str(&text).unwrap()));
        }

        #[test]
        fn never_panics(text in "[a-c:&*<>\\[\\]{}, \n\"'~#|-]{0,60}") {
            let report = Report::new("f", &text);
            let read = parse(&text, &report);
            prop_assert_eq!(read.is_none(), report.has_errors());
        }
    }
}
