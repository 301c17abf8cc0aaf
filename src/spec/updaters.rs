//! `updaters`: how often which sets are fetched.

use super::diagnostic::{Position, Report};
use super::fields::{Fields, regex_of, suggestion, text_of};
use super::schedule;
use super::yaml::{Node, Value};
use crate::cluster::{MatchField, SetMatch, Updater, UpdaterMode};
use crate::notation::{Name, hostlist};

/// Reads the updaters of a peers or prdcr_listen entry and numbers them on from `count`.
pub(super) fn read_all(fields: &Fields<'_>, count: &mut usize, report: &Report<'_>) -> Vec<Updater> {
    let mut updaters = Vec::new();
    for node in fields.items("updaters") {
        // Counted also when it is wrong, so that the others keep their names.
        let name = Name::from(format!("updtr_{count}"));
        *count += 1;
        updaters.extend(read(node, name, report));
    }
    updaters
}

fn read(node: &Node, name: Name, report: &Report<'_>) -> Option<Updater> {
    let fields = Fields::of(node, "an updater", report)?;
    let mode = read_mode(&fields, report);
    fields.require("interval");
    let (interval, offset) = schedule::read(&fields, report);
    let perm = fields.permission("perm");
    let producers: Vec<String> =
        fields.items("producers").iter().flat_map(|item| read_producers(item, report)).collect();
    let producers = if producers.is_empty() { vec![".*".to_owned()] } else { producers };
    let sets = fields.items("sets").iter().filter_map(|item| read_set_match(item, report)).collect();
    fields.refuse_others();
    Some(Updater { name, mode: mode?, interval: interval?, offset, perm, producers, sets })
}

/// `mode: push`; also ldmsd's own way to say it: `push: onchange`, `auto_interval: true`.
fn read_mode(fields: &Fields<'_>, report: &Report<'_>) -> Option<UpdaterMode> {
    let mode = fields.get("mode");
    let push = fields.get("push");
    let auto_interval = fields.boolean("auto_interval").unwrap_or(false);
    let default = if auto_interval { UpdaterMode::Auto } else { UpdaterMode::Pull };
    match (mode, push) {
        (Some(node), _) => read_mode_word(text_of(node, "mode", report)?, node.position, report),
        (None, Some(node)) => match text_of(node, "push", report)?.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" => Some(UpdaterMode::Push),
            "false" | "no" | "off" => Some(default),
            word => read_mode_word(word, node.position, report),
        },
        (None, None) => Some(default),
    }
}

fn read_mode_word(word: &str, position: Position, report: &Report<'_>) -> Option<UpdaterMode> {
    match word.to_ascii_lowercase().as_str() {
        "pull" => Some(UpdaterMode::Pull),
        "auto" | "auto_interval" => Some(UpdaterMode::Auto),
        "push" => Some(UpdaterMode::Push),
        "onchange" => Some(UpdaterMode::OnChange),
        other => {
            let words = ["pull", "auto", "push", "onchange"];
            let help = suggestion(other, words, "write `pull`, `auto`, `push` or `onchange`");
            report.error(position, format!("`{word}` is no mode of an updater"), help);
            None
        }
    }
}

/// A regular expression, or a hostlist: one that names several producers becomes an expression for each.
fn read_producers(node: &Node, report: &Report<'_>) -> Vec<String> {
    if let Value::Text(text) = node.value() {
        let is_name = |c: char| c.is_ascii_alphanumeric() || "-_:/".contains(c);
        let plain = text.chars().all(|c| is_name(c) || "[,] ".contains(c));
        let names = if plain { hostlist::expand(text).unwrap_or_default() } else { Vec::new() };
        if names.len() > 1 && report.afford(names.iter().map(String::len).sum(), node.position) {
            return names.iter().map(|name| format!("^{name}$")).collect();
        }
    }
    read_regex(node, report).into_iter().collect()
}

/// A regular expression, alone or as `regex: …`.
fn read_regex(node: &Node, report: &Report<'_>) -> Option<String> {
    if let Value::Map(_) = node.value() {
        let fields = Fields::of(node, "a regular expression", report)?;
        let regex = fields.require("regex").and_then(|node| regex_of(node, "regex", report));
        fields.refuse_others();
        return regex;
    }
    regex_of(node, "regex", report)
}

fn read_set_match(node: &Node, report: &Report<'_>) -> Option<SetMatch> {
    let Value::Map(_) = node.value() else {
        let regex = read_regex(node, report)?;
        return Some(SetMatch { regex, field: MatchField::Instance });
    };
    let fields = Fields::of(node, "an entry of `sets`", report)?;
    let regex = fields.require("regex").and_then(|node| regex_of(node, "regex", report));
    let field = match fields.text("field") {
        None | Some("inst" | "instance") => Some(MatchField::Instance),
        Some("schema") => Some(MatchField::Schema),
        Some(word) => {
            let help = suggestion(word, ["inst", "schema"], "write `inst` or `schema`");
            report.error(fields.position_of("field"), format!("sets have no field `{word}` to match"), help);
            None
        }
    };
    fields.refuse_others();
    Some(SetMatch { regex: regex?, field: field? })
}
