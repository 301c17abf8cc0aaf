//! Why a text is no YAML, in words that help: the parser knows where it stumbled, the lines above show what was meant.

use saphyr_parser::ScanError;

use super::diagnostic::{Position, nearest};

/// Why a text is no document that we read.
pub(super) struct Fault {
    pub(super) position: Position,
    pub(super) message: String,
    pub(super) help: String,
}

impl Fault {
    pub(super) fn new(position: Position, message: impl Into<String>, help: impl Into<String>) -> Fault {
        Fault { position, message: message.into(), help: help.into() }
    }
}

/// What the parser says of `text`, explained. Where the text may hold a secret, nothing of it is repeated.
pub(super) fn explain(error: &ScanError, text: &str, secretive: bool) -> Fault {
    let position = Position { line: error.marker().line(), column: error.marker().col() + 1 };
    let lines: Vec<&str> = text.lines().take(position.line).collect();
    let fault = match error.info() {
        info if info.contains("unknown anchor") && secretive => {
            Some(Fault::new(position, "an alias of nothing", "quote a text that begins with `*`"))
        }
        info if info.contains("unknown anchor") => Some(unknown_anchor(position, text)),
        info if info.contains("recursion") => Some(too_deep(position)),
        info if info.contains("flow") || info.contains("quoted") => None,
        _ => tab(&lines, text, position)
            .or_else(|| unclosed(&lines))
            .or_else(|| missing_colon(&lines, position).filter(|_| !secretive))
            .or_else(|| indentation(&lines, position)),
    };
    fault.unwrap_or_else(|| {
        let help = match error.info() {
            info if info.contains("flow") => "close every `[` and `{`, and within them quote hostlists: \"node-[1-8]\"",
            info if info.contains("quoted") => "close the quotation mark on the line where it is opened",
            _ => "check the indentation, and quote texts that contain `: ` or begin with one of `*&[{%@`",
        };
        Fault::new(position, format!("this is not YAML: {}", error.info()), help)
    })
}

/// The deepest nesting that is read.
pub(super) const MAX_DEPTH: usize = 64;

pub(super) fn too_deep(position: Position) -> Fault {
    let help = "look for an alias that stands within what it stands for";
    Fault::new(position, format!("this is nested more than {MAX_DEPTH} levels deep"), help)
}

fn unknown_anchor(position: Position, text: &str) -> Fault {
    let name = text
        .lines()
        .nth(position.line.wrapping_sub(1))
        .and_then(|line| line.get(line.char_indices().nth(position.column - 1)?.0..)?.strip_prefix('*'))
        .map_or("", |rest| rest.split([' ', ',', ']', '}', '\t']).next().unwrap_or(""));
    let anchors = text.lines().take(position.line).flat_map(anchors);
    let help = match nearest(name, anchors) {
        Some(near) => format!("did you mean `*{near}`?"),
        None => format!("write `&{name}` before the value that it stands for, further up in the file"),
    };
    Fault::new(position, format!("no value further up has the anchor `&{name}`"), help)
}

/// The anchors that are defined in a line: `names: &samplers …` has `samplers`.
fn anchors(line: &str) -> impl Iterator<Item = &str> {
    line.split([' ', '[', '{', ',']).filter_map(|word| word.strip_prefix('&')).filter(|name| !name.is_empty())
}

/// The parser may stumble over a tab, or over what it made of it, some lines early or late.
fn tab(lines: &[&str], text: &str, position: Position) -> Option<Fault> {
    let next = text.lines().nth(position.line);
    let nearby = lines.iter().copied().chain(next).enumerate().skip(position.line.saturating_sub(2));
    nearby.into_iter().find_map(|(index, line)| {
        let tab = line.chars().position(|c| c == '\t')?;
        let in_front = line.trim_start().starts_with('#') || line.chars().take(tab).any(|c| c == '#');
        let place = Position { line: index + 1, column: tab + 1 };
        (!in_front).then(|| Fault::new(place, "a tab stands here, which YAML does not take", "write spaces instead"))
    })
}

/// A `[` or `{` above that has no end.
fn unclosed(lines: &[&str]) -> Option<Fault> {
    let mut open: Vec<(char, Position)> = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let (mut quote, mut before) = (None, ' ');
        let (mut value_begins, mut comment) = (true, false);
        for (column, c) in line.chars().enumerate() {
            let place = Position { line: index + 1, column: column + 1 };
            comment |= quote.is_none() && c == '#' && before == ' ';
            match (c, quote) {
                _ if comment => break,
                (c, Some(mark)) => quote = Some(mark).filter(|_| c != mark),
                ('"' | '\'', None) if value_begins => quote = Some(c),
                // Within a plain text outside of brackets they are nothing special: `node-[1-2]`.
                ('[' | '{', None) if value_begins || !open.is_empty() => open.push((c, place)),
                (']' | '}', None) => drop(open.pop()),
                _ => {}
            }
            value_begins = match c {
                ' ' => value_begins || matches!(before, ':' | '-' | ','),
                '[' | '{' | ',' => !open.is_empty(),
                _ => false,
            };
            before = c;
        }
    }
    let (opening, place) = open.pop()?;
    let closing = if opening == '[' { ']' } else { '}' };
    Some(Fault::new(
        place,
        format!("this `{opening}` is never closed"),
        format!("write `{closing}` behind what it holds"),
    ))
}

/// The parser misses the colon of a key when it has found the next one.
fn missing_colon(lines: &[&str], position: Position) -> Option<Fault> {
    let here = lines.get(position.line.checked_sub(1)?)?;
    let (index, line) = lines.iter().enumerate().rev().skip(1).find(|(_, line)| !is_blank(line))?;
    // A text over several lines is indented further than its key.
    let (content, column) = content(line);
    let aligned = indent(here) == column
        || content_column(here) == column
        || open_blocks(&lines[..index]).iter().any(|block| block.column == column && !block.is_list);
    let word = content.split([' ', ':']).next().unwrap_or("");
    let looks_like_key = !word.is_empty() && word.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-');
    if !aligned || !looks_like_key || content.contains(": ") || content.ends_with(':') {
        return None;
    }
    let place = Position { line: index + 1, column: column + 1 };
    let message = match content[word.len()..].starts_with(':') {
        true => format!("a space is missing behind the colon of `{word}:`"),
        false => format!("a colon is missing behind `{word}`"),
    };
    Some(Fault::new(place, message, format!("write `{word}: …`")))
}

/// A line that fits no indentation above it.
fn indentation(lines: &[&str], position: Position) -> Option<Fault> {
    let (here, above) = lines.split_last()?;
    if is_blank(here) {
        return None;
    }
    let (is_item, column) = (begins_item(here), indent(here));
    let open = open_blocks(above);
    let fault = |message: String, help: String| {
        Some(Fault::new(Position { line: position.line, column: column + 1 }, message, help))
    };
    if let Some(block) = open.iter().find(|block| block.column == column) {
        return match (is_item, block.is_list) {
            (false, true) => {
                let keys = open.iter().find(|keys| keys.column > column && !keys.is_list)?;
                fault(
                    "a key stands where items begin".into(),
                    format!("indent it by {}, as the keys of the item before it, or write `- ` before it", keys.column),
                )
            }
            (true, false) => fault(
                "an item `- …` stands among keys".into(),
                format!("indent it as the list that it belongs to, further than line {}", block.line),
            ),
            _ => None,
        };
    }
    let kind = if is_item { "item" } else { "key" };
    let message = format!("this {kind} is indented by {column}, which fits nothing above");
    let alike = open.iter().filter(|block| block.is_list == is_item);
    let nearest = alike.min_by_key(|block| (block.column.abs_diff(column), usize::MAX - block.line))?;
    match open.iter().find(|block| block.column > column) {
        // The list that the item wants to go on with is none.
        Some(deeper) if is_item && !deeper.is_list && nearest.column > deeper.column => {
            fault(message, format!("write `- ` before the entry at line {}, too", deeper.line))
        }
        _ => fault(message, format!("indent it by {}, as line {}", nearest.column, nearest.line)),
    }
}

/// A list or a mapping whose end has not been seen.
struct Block {
    /// The spaces before its items or keys.
    column: usize,
    is_list: bool,
    /// Its first line.
    line: usize,
}

/// The blocks that are open behind these lines, the outermost first.
fn open_blocks(lines: &[&str]) -> Vec<Block> {
    let mut open: Vec<Block> = Vec::new();
    for (index, line) in lines.iter().enumerate().filter(|(_, line)| !is_blank(line)) {
        let mut enter = |column: usize, is_list: bool| {
            open.retain(|block| block.column < column || (block.column == column && block.is_list == is_list));
            if open.last().is_none_or(|block| block.column < column) {
                open.push(Block { column, is_list, line: index + 1 });
            }
        };
        let (mut column, mut rest) = (indent(line), line.trim_start());
        while begins_item(rest) {
            enter(column, true);
            let item = rest[1..].trim_start();
            column += rest.len() - item.len();
            rest = item;
        }
        if !rest.is_empty() {
            enter(column, false);
        }
    }
    open
}

fn is_blank(line: &str) -> bool {
    line.trim().is_empty() || line.trim_start().starts_with('#')
}

/// The spaces before the first character.
fn indent(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

fn begins_item(line: &str) -> bool {
    let content = line.trim_start();
    content == "-" || content.starts_with("- ")
}

/// What a line says behind its spaces and `- `, without a comment, and the column at which that begins, from 0.
fn content(line: &str) -> (&str, usize) {
    let column = content_column(line);
    let text = &line[column..];
    (text[..text.find(" #").unwrap_or(text.len())].trim_end(), column)
}

fn content_column(line: &str) -> usize {
    line.len() - line.trim_start_matches(['-', ' ']).len()
}
