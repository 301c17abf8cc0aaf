//! What the fuzz targets do (tests/fuzz), with some thousand damaged fixtures: the same ones at each run.

#![expect(clippy::unwrap_used, reason = "what fails in a test fails the test")]

use std::fs;
use std::path::{Path, PathBuf};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

#[allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "a library of the fuzz targets; fuzzed_wire.rs uses the rest"
)]
#[path = "fuzz/src/lib.rs"]
mod fuzz;

/// What operators' files are full of, and what parsers stumble over.
const WORDS: [&str; 32] = [
    "[",
    "]",
    "{",
    "}",
    "- ",
    ": ",
    ",",
    "&a ",
    "*a",
    "<<: *a",
    "\n",
    "  ",
    "\t",
    "\"",
    "'",
    "|",
    ">",
    "#",
    "---\n",
    "%",
    "/",
    "..",
    "[1-3]",
    "[0-9999999]",
    "1s",
    "-1",
    "~",
    "null",
    "${X}",
    "\u{feff}",
    "é",
    "\0",
];

/// Runs a target with each of the seeds as it is, and with `cases` damaged ones.
fn attack(run: fn(&[u8]), seeds: &[Vec<u8>], cases: u64) {
    seeds.iter().for_each(|seed| run(seed));
    for case in 0..cases {
        let mut random = StdRng::seed_from_u64(case);
        let mut data = seeds[random.random_range(0..seeds.len())].clone();
        for _ in 0..random.random_range(1..6) {
            damage(&mut data, seeds, &mut random);
        }
        run(&data);
    }
}

fn damage(data: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut StdRng) {
    let at = random.random_range(0..=data.len());
    let length = random.random_range(0..=(data.len() - at).min(40));
    match random.random_range(0..6) {
        0 => drop(data.drain(at..at + length)),
        1 => drop(data.splice(at..at, WORDS[random.random_range(0..WORDS.len())].bytes())),
        2 => drop(data.splice(at..at + length, WORDS[random.random_range(0..WORDS.len())].bytes())),
        3 => {
            let doubled = data[at..at + length].to_vec();
            drop(data.splice(at..at, doubled));
        }
        4 => {
            let other = &seeds[random.random_range(0..seeds.len())];
            let from = random.random_range(0..=other.len());
            let piece = &other[from..(from + 200).min(other.len())];
            drop(data.splice(at..at, piece.iter().copied()));
        }
        _ => {
            if let Some(byte) = data.get_mut(at) {
                *byte = random.random();
            }
        }
    }
}

fn files_below(folder: &str, name_ends: &str) -> Vec<Vec<u8>> {
    fn walk(folder: &Path, name_ends: &str, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, name_ends, found);
            } else if path.to_string_lossy().ends_with(name_ends) {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), name_ends, &mut found);
    found.sort();
    assert!(!found.is_empty(), "{folder}");
    found.into_iter().map(|path| fs::read(path).unwrap()).collect()
}

#[test]
fn hostlists() {
    let seeds = ["node-[1-8]", "a[01-10,7]-[10001-10002],b", " a , b[ 1 - 2 ] ", "l2-agg", "[10002]"];
    attack(fuzz::hostlist::run, &seeds.map(|seed| seed.as_bytes().to_vec()), 5_000);
}

#[test]
fn intervals_and_permissions() {
    let seeds = ["1.5s", "0ms", "-100us", "${I}", "1000000", "0777", "rw-r--r--", "3 microseconds"];
    attack(fuzz::interval::run, &seeds.map(|seed| seed.as_bytes().to_vec()), 5_000);
}

#[test]
fn ldms_yaml() {
    let mut seeds = files_below("tests/fixtures/reference", "input.yaml");
    seeds.extend(files_below("tests/fixtures/user-example", "ldms.yaml"));
    attack(fuzz::ldms_yaml::run, &seeds, 1_500);
}

#[test]
fn etcd_yaml() {
    let mut seeds = files_below("tests/fixtures/user-example", "etcd.yaml");
    seeds.extend(files_below("config", "etcd.yaml"));
    attack(fuzz::etcd_yaml::run, &seeds, 3_000);
}

#[test]
fn trees() {
    let line = |(key, value): (&String, &serde_json::Value)| {
        format!("{}={}\n", key.trim_start_matches("/PREFIX/"), value.as_str().unwrap_or_default())
    };
    let as_lines = |dump: Vec<u8>| {
        let dump: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&dump).unwrap();
        dump.iter().map(line).collect::<String>().into_bytes()
    };
    let dumps = files_below("tests/fixtures/reference", ".json").into_iter().map(as_lines);
    attack(fuzz::tree::run, &dumps.collect::<Vec<_>>(), 1_500);
}
