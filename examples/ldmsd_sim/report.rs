//! What the simulation shows of itself: who collects what, and what was lost.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use maestro::notation::Name;
use maestro::notation::hostlist::fold;
use serde::Serialize;

use crate::cluster::SimulatedCluster;
use crate::journal::SetGaps;
use crate::net::now_us;

/// One daemon in the status.
#[derive(Debug, Serialize)]
pub(crate) struct DaemonReport {
    name: String,
    /// `up`, `down` or `hangs`.
    state: &'static str,
    /// 0 for samplers, 1 for who collects from them, and so on.
    level: usize,
    /// The producers that it knows.
    producers: usize,
    /// The producers that it is connected to and collects from.
    collects: Vec<String>,
    /// Copies of their metric sets.
    ready_sets: usize,
    /// Sets that it samples itself.
    own_sets: usize,
    /// The samples that it has collected since the simulation began.
    samples: u64,
    /// The age of the latest of them.
    latest_age_ms: Option<u64>,
}

/// The whole cluster as it is now.
pub(crate) async fn status(cluster: &SimulatedCluster) -> Vec<DaemonReport> {
    let collections = cluster.journal.collections(&|host, port| cluster.node_at(host, port));
    let mut reports = Vec::new();
    for (name, slot) in &cluster.slots {
        let overview = match &slot.node {
            Some(node) => node.look().await,
            None => None,
        };
        let (producers, own_sets) =
            overview.map(|overview| (overview.producers, overview.own_sets)).unwrap_or_default();
        let producers: Vec<_> = producers.into_iter().filter(|producer| producer.is_collected).collect();
        let mut collects: Vec<Name> = producers
            .iter()
            .filter(|producer| producer.state == "CONNECTED")
            .map(|producer| Name::from(producer.name.as_str()))
            .collect();
        collects.sort();
        let collection = collections.get(name).cloned().unwrap_or_default();
        let level = slot.config.level.max(collection.level).max(usize::from(!producers.is_empty()));
        reports.push(DaemonReport {
            name: name.to_string(),
            state: slot.state(),
            level,
            producers: producers.len(),
            collects: collects.iter().map(Name::to_string).collect(),
            ready_sets: producers.iter().map(|producer| producer.ready_sets).sum(),
            own_sets,
            samples: collection.samples,
            latest_age_ms: collection.latest_us.map(|us| now_us().saturating_sub(us) / 1000),
        });
    }
    reports
}

/// The status as a table, aggregators by level, samplers in a line.
pub(crate) fn status_text(reports: &[DaemonReport]) -> String {
    let mut rows = vec![
        ["DAEMON", "STATE", "PRODUCERS", "SETS", "SAMPLES", "LATEST", "COLLECTS FROM"].map(str::to_owned).to_vec(),
    ];
    let mut aggregators: Vec<&DaemonReport> = reports.iter().filter(|report| report.level > 0).collect();
    aggregators.sort_by_key(|report| report.level);
    let mut level = 0;
    for report in aggregators {
        if report.level != level {
            level = report.level;
            rows.push(vec![format!("level {level}")]);
        }
        let latest =
            report.latest_age_ms.map_or("never".to_owned(), |ms| format!("{}.{} s ago", ms / 1000, ms % 1000 / 100));
        rows.push(if report.state == "up" {
            vec![
                format!("  {}", report.name),
                report.state.to_owned(),
                format!("{} of {}", report.collects.len(), report.producers),
                report.ready_sets.to_string(),
                report.samples.to_string(),
                latest,
                fold(&report.collects),
            ]
        } else {
            vec![
                format!("  {}", report.name),
                report.state.to_owned(),
                "-".to_owned(),
                "-".to_owned(),
                report.samples.to_string(),
                latest,
            ]
        });
    }
    let mut out = table(&rows, &[2, 3, 4, 5]);
    let samplers: Vec<&DaemonReport> = reports.iter().filter(|report| report.level == 0).collect();
    let mut by_state: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for sampler in &samplers {
        by_state.entry(sampler.state).or_default().push(sampler.name.clone());
    }
    let sets: usize = samplers.iter().map(|sampler| sampler.own_sets).sum();
    let _infallible = writeln!(out, "samplers, {sets} sets");
    for (state, names) in by_state {
        let _infallible = writeln!(out, "  {} {state}: {}", names.len(), fold(&names));
    }
    out
}

/// The gaps by sampler and level, summarised for those that stayed with one collector and those that moved. Samplers
/// that lost and doubled nothing have a line of their own only with `all`.
pub(crate) fn gaps_text(gaps: &[SetGaps], all: bool) -> String {
    #[derive(Default)]
    struct Sum {
        samples: usize,
        missed: usize,
        doubled: usize,
        collectors: Vec<Name>,
    }
    let mut sums: BTreeMap<(usize, Name), Sum> = BTreeMap::new();
    for gap in gaps {
        let sum = sums.entry((gap.level, Name::from(gap.sampler.as_str()))).or_default();
        sum.samples += gap.samples;
        sum.missed += gap.missed;
        sum.doubled += gap.doubled;
        sum.collectors.extend(gap.collectors.iter().map(|name| Name::from(name.as_str())));
        sum.collectors.sort();
        sum.collectors.dedup();
    }
    let mut rows =
        vec![["LEVEL", "SAMPLER", "SAMPLES", "MISSED", "DOUBLED", "COLLECTED BY"].map(str::to_owned).to_vec()];
    let mut summaries: BTreeMap<(usize, bool), (usize, Sum)> = BTreeMap::new();
    for ((level, sampler), sum) in sums {
        let collectors: Vec<String> = sum.collectors.iter().map(Name::to_string).collect();
        if all || sum.missed + sum.doubled > 0 {
            rows.push(vec![
                level.to_string(),
                sampler.to_string(),
                sum.samples.to_string(),
                sum.missed.to_string(),
                sum.doubled.to_string(),
                if collectors.is_empty() { "nobody".to_owned() } else { fold(&collectors) },
            ]);
        }
        let (count, summary) = summaries.entry((level, sum.collectors.len() > 1)).or_default();
        *count += 1;
        summary.samples += sum.samples;
        summary.missed += sum.missed;
        summary.doubled += sum.doubled;
    }
    let mut out = if rows.len() > 1 { table(&rows, &[2, 3, 4]) } else { String::new() };
    for ((level, moved), (count, sum)) in summaries {
        let what = if moved { "moved" } else { "stayed" };
        let _infallible = writeln!(
            out,
            "level {level}: {count} samplers {what}, {} samples, {} missed, {} doubled",
            sum.samples, sum.missed, sum.doubled
        );
    }
    out
}

/// Rows with their columns aligned, those of `right` to the right.
fn table(rows: &[Vec<String>], right: &[usize]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut out = String::new();
    for row in rows {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(column, (cell, &width))| match right.contains(&column) {
                true => format!("{cell:>width$}"),
                false => format!("{cell:<width$}"),
            })
            .collect();
        let _infallible = writeln!(out, "{}", cells.join("  ").trim_end());
    }
    out
}
