//! The generated v4 files against those that the Python `maestro_ctrl` made of the same YAML, command by command.
//!
//! What differs on purpose is listed with its reason ([`DIFFERENCES`]); whatever is not, fails.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall fail")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use maestro::cluster::Cluster;
use maestro::desired::startup::StartupFiles;
use maestro::ldmsd::{Attribute, Numbering};
use maestro::notation::{Interval, Name, hostlist};
use maestro::spec::read_cluster_with;

/// A command as ldmsd understands it: words of the same number are one, times are microseconds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Line {
    verb: String,
    attributes: BTreeMap<String, String>,
}

impl Line {
    fn parse(text: &str) -> Line {
        let mut words = text.split_whitespace();
        let verb = words.next().unwrap().to_owned();
        let is_config = verb == "config";
        let attributes = words.map(|word| {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            match Attribute::from_word(key).filter(|_| !is_config) {
                Some(attribute) => {
                    let id = attribute.id(Numbering::V45).unwrap();
                    let key = Attribute::from_id(id, Numbering::V45).unwrap();
                    let is_time = matches!(key, Attribute::Interval | Attribute::Offset);
                    let value = if is_time { Interval::parse(value).unwrap().to_string() } else { value.to_owned() };
                    (key.to_string(), value)
                }
                None => (key.to_owned(), value.to_owned()),
            }
        });
        let mut attributes: BTreeMap<String, String> = attributes.collect();
        // No offset is one of zero.
        if attributes.get("offset").is_some_and(|offset| offset == "0") {
            attributes.remove("offset");
        }
        Line { verb, attributes }
    }

    fn is(&self, verb: &str) -> bool {
        self.verb == verb
    }

    fn get(&self, attribute: &str) -> &str {
        self.attributes.get(attribute).map_or("", String::as_str)
    }
}

/// The commands for one daemon, ours and the Python program's.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Files {
    ours: BTreeSet<Line>,
    python: BTreeSet<Line>,
}

impl Files {
    fn edit(lines: &mut BTreeSet<Line>, edit: impl FnMut(&mut Line)) {
        let mut all: Vec<Line> = std::mem::take(lines).into_iter().collect();
        all.iter_mut().for_each(edit);
        lines.extend(all);
    }

    /// The names that commands of ours with this verb have.
    fn our_names(&self, verb: &str) -> BTreeSet<String> {
        self.ours.iter().filter(|line| line.is(verb)).map(|line| line.get("name").to_owned()).collect()
    }
}

/// Makes the two files equal where they differ in one respect.
type Undo = fn(&mut Files);

/// What differs from the current Python program, and why.
const DIFFERENCES: [(&str, Undo); 7] = [
    ("updaters have the mode that the YAML gives them, not always auto_interval", |files| {
        Files::edit(&mut files.python, |line| {
            line.attributes.remove("auto_interval");
        });
    }),
    ("every aggregator has all producers of its group, as maestro adds them, and starts its own", |files| {
        let started = files.our_names("prdcr_start");
        files.ours.retain(|line| !line.is("prdcr_add") || started.contains(line.get("name")));
    }),
    ("a storage policy names its producers, as maestro makes it", |files| {
        let of_all = |line: &Line| line.is("strgp_prdcr_add") && line.get("regex") == ".*";
        files.ours.retain(|line| !of_all(line));
    }),
    ("a sampler's component_id is that of its environment, as maestro configures it", |files| {
        let python = files.python.clone();
        Files::edit(&mut files.ours, |line| {
            let without_id = |other: &Line| {
                other.is("config")
                    && other.get("name") == line.get("name")
                    && !other.attributes.contains_key("component_id")
            };
            if line.get("component_id") == "${LDMS_COMPONENT_ID}" && python.iter().any(without_id) {
                line.attributes.remove("component_id");
            }
        });
    }),
    ("the options of a domain stand with the domain, not at each address again", |files| {
        Files::edit(&mut files.python, |line| {
            if line.is("listen") {
                line.attributes.remove("conf");
            }
        });
    }),
    ("a daemon advertises itself to one aggregator, since in files nobody chooses one of several", |files| {
        let ours = files.our_names("advertiser_start");
        let is_of_ours = |line: &Line| !line.verb.starts_with("advertiser_") || ours.contains(line.get("name"));
        files.python.retain(is_of_ours);
    }),
    ("the type of an advertiser is written out, as it has to be in a request", |files| {
        Files::edit(&mut files.ours, |line| {
            if line.is("advertiser_add") && line.get("type") == "advertiser" {
                line.attributes.remove("type");
            }
        });
    }),
];

/// What differs from the program of 2024 besides.
const DIFFERENCES_OF_2024: [(&str, Undo); 6] = [
    ("a daemon listens where its endpoints are, and has their domains", |files| {
        if !files.python.iter().any(|line| line.is("prdcr_add")) {
            files.ours.retain(|line| !line.is("auth_add"));
        }
        files.ours.retain(|line| !line.is("listen"));
    }),
    ("producers are started by name, not all again after each", |files| {
        files.python.retain(|line| !(line.is("prdcr_start_regex") && line.get("regex") == ".*"));
        files.ours.retain(|line| !line.is("prdcr_start"));
    }),
    ("updaters take the sets that the YAML names", |files| {
        files.ours.retain(|line| !line.is("updtr_match_add"));
    }),
    ("a plugin is configured with all of its attributes, not the last alone", |files| {
        let python = files.python.clone();
        Files::edit(&mut files.ours, |line| {
            let theirs = python.iter().find(|other| other.is("config") && other.get("name") == line.get("name"));
            if let Some(theirs) = theirs.filter(|_| line.is("config")) {
                line.attributes.retain(|key, _| theirs.attributes.contains_key(key));
            }
        });
    }),
    ("the library of a plugin is written out, also where it is called as the instance", |files| {
        Files::edit(&mut files.ours, |line| {
            if line.is("load") && line.get("plugin") == line.get("name") {
                line.attributes.remove("plugin");
            }
        });
    }),
    ("a subscription to a stream switches the stream service on", |files| {
        files.ours.retain(|line| !line.is("stream_enable"));
    }),
];

fn reference() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/reference")
}

fn cluster(case: &str) -> Cluster {
    let path = reference().join(case).join("input.yaml");
    let (cluster, diagnostics) = read_cluster_with(case, &fs::read_to_string(path).unwrap(), &|_| true);
    cluster.unwrap_or_else(|| panic!("{case}: {diagnostics:?}"))
}

fn commands(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// The Python program's files of a case, by daemon; that of 2024 has one for all samplers of a group.
fn python_files(case: &str, version: &str) -> BTreeMap<Name, BTreeSet<Line>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(reference().join(case).join(format!("conf-{version}"))).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let lines: BTreeSet<Line> = commands(&fs::read_to_string(&path).unwrap()).map(Line::parse).collect();
        let daemons = hostlist::expand(stem.strip_suffix("-samplers").unwrap_or(stem)).unwrap();
        files.extend(daemons.into_iter().map(|daemon| (Name::from(daemon), lines.clone())));
    }
    files
}

/// Compares the files of all cases of a version, with the differences that are meant undone.
fn compare(version: &str, cases: &[&str], differences: &[(&str, Undo)]) {
    let mut seen = BTreeSet::new();
    for case in cases {
        let cluster = cluster(case);
        let all = StartupFiles::of(&cluster).unwrap();
        let python = python_files(case, version);
        let missing: Vec<&Name> = cluster.daemons.keys().filter(|daemon| !python.contains_key(*daemon)).collect();
        // Without `stores` the program of 2024 ends behind its first aggregator.
        let expected: &[&str] = if *case == "streams-2024" { &["l1-agg-2"] } else { &[] };
        assert_eq!(missing, expected, "{case}");
        for (daemon, python) in python {
            let ours = all.file(&daemon).unwrap().to_string();
            let mut files = Files { ours: commands(&ours).map(Line::parse).collect(), python };
            for (reason, undo) in differences {
                let before = files.clone();
                undo(&mut files);
                if files != before {
                    seen.insert(*reason);
                }
            }
            assert_eq!(files.ours, files.python, "{case}: {daemon}");
        }
    }
    let reasons: BTreeSet<&str> = differences.iter().map(|(reason, _)| *reason).collect();
    assert_eq!(seen, reasons, "a difference that is none any more");
}

#[test]
fn the_files_are_those_of_the_current_python_program_but_for_the_differences() {
    let cases = [
        "advertise-current",
        "auth-current",
        "basic-current",
        "multi-endpoint-current",
        "sampler-only-current",
        "sets-current",
        "streams-current",
        "three-levels-current",
        "two-groups-current",
    ];
    compare("current", &cases, &DIFFERENCES);
}

#[test]
fn the_files_are_those_of_the_python_program_of_2024_but_for_the_differences() {
    let cases = ["basic-2024", "sampler-only-2024", "streams-2024"];
    // It knew nothing of advertising and took no domain apart.
    let [mode, all_producers, policy, component, ..] = DIFFERENCES;
    let differences: Vec<(&str, Undo)> =
        [mode, all_producers, policy, component].into_iter().chain(DIFFERENCES_OF_2024).collect();
    compare("2024", &cases, &differences);
}

#[test]
fn no_command_comes_twice_since_the_second_would_end_the_daemon() {
    for entry in fs::read_dir(reference()).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_dir()) {
        let cluster = cluster(entry.file_name().to_str().unwrap());
        let all = StartupFiles::of(&cluster).unwrap();
        for daemon in cluster.daemons.keys() {
            let text = all.file(daemon).unwrap().to_string();
            let mut seen = BTreeSet::new();
            let repeated: Vec<&str> = commands(&text).filter(|line| !seen.insert(*line)).collect();
            assert!(repeated.is_empty(), "{daemon}: {repeated:?}");
        }
    }
}
