//! `updaters`: how often which sets are fetched.

use super::aggregators::check_positive;
use super::diagnostic::{Position, Report};
use super::fields::{Fields, suggestion, text_of};
use super::yaml::{Node, Value};
use crate::cluster::{MatchField, SetMatch, Updater, UpdaterMode};
use crate::notation::Name;

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
    let interval = fields.require("interval").and_then(|_| fields.interval("interval"));
    let offset = fields.interval("offset");
    let perm = fields.permission("perm");
    let producers: Vec<String> = fields.items("producers").iter().filter_map(|item| read_regex(item, report)).collect();
    let producers = if producers.is_empty() { vec![".*".to_owned()] } else { producers };
    let sets = fields.items("sets").iter().filter_map(|item| read_set_match(item, report)).collect();
    fields.refuse_others();
    let interval = interval?;
    check_positive(&interval, &fields, "interval", report);
    Some(Updater { name, mode: mode?, interval, offset, perm, producers, sets })
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

/// A regular expression, alone or as `regex: …`.
fn read_regex(node: &Node, report: &Report<'_>) -> Option<String> {
    if let Value::Map(_) = node.value() {
        let fields = Fields::of(node, "a regular expression", report)?;
        let regex = fields.require("regex").and_then(|_| fields.owned_text("regex"));
        fields.refuse_others();
        return regex;
    }
    text_of(node, "regex", report).map(str::to_owned)
}

fn read_set_match(node: &Node, report: &Report<'_>) -> Option<SetMatch> {
    let Value::Map(_) = node.value() else {
        let regex = read_regex(node, report)?;
        return Some(SetMatch { regex, field: MatchField::Instance });
    };
    let fields = Fields::of(node, "an entry of `sets`", report)?;
    let regex = fields.require("regex").and_then(|_| fields.owned_text("regex"));
    let field = match fields.text("field") {
        None | Some("inst" | "instance") => Some(MatchField::Instance),
        Some("schema") => Some(MatchField::Schema),
        Some(word) => {
            let place = fields.get("field").map_or(fields.position, |node| node.position);
            let help = suggestion(word, ["inst", "schema"], "write `inst` or `schema`");
            report.error(place, format!("sets have no field `{word}` to match"), help);
            None
        }
    };
    fields.refuse_others();
    Some(SetMatch { regex: regex?, field: field? })
}
