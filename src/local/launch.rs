//! The process of a daemon as plain data: the program, its arguments, its environment.

use std::collections::BTreeMap;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};

use crate::cluster::Daemon;

/// How the process of a daemon is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// The ldmsd, an absolute path.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// What is added to the environment, over what it has.
    pub environment: BTreeMap<String, String>,
}

impl Launch {
    /// Starts a daemon that finds all that it should be in a configuration file, its options and where it listens
    /// included: what is on the command line too, ldmsd refuses as told twice.
    #[must_use]
    pub fn with_file(program: &Path, daemon: &Daemon, conf: &Path, log: &Path) -> Launch {
        let arguments = ["-F".into(), "-c".into(), conf.into(), "-l".into(), log.into()];
        Launch { program: program.into(), arguments: arguments.into(), environment: environment(daemon) }
    }

    /// Starts a daemon that only listens, on the endpoint over which maestro configures it. `None` if it has no such
    /// endpoint.
    #[must_use]
    pub fn bare(program: &Path, daemon: &Daemon, log: &Path) -> Option<Launch> {
        let endpoint = daemon.control_endpoint()?;
        let mut listen = format!("{}:{}", endpoint.xprt, endpoint.port);
        if !endpoint.bind_all {
            listen = format!("{listen}:{}", daemon.host_of(endpoint));
        }
        let mut arguments: Vec<OsString> = vec!["-F".into(), "-l".into(), log.into(), "-x".into(), listen.into()];
        if endpoint.auth.plugin != "none" {
            arguments.extend(["-a".into(), endpoint.auth.plugin.clone().into()]);
            for (key, value) in &endpoint.auth.options {
                arguments.extend(["-A".into(), format!("{key}={value}").into()]);
            }
        }
        if let Some(memory) = ["memory", "set_memory"].iter().find_map(|key| daemon.options.get(*key)) {
            // As a command of a file it is written `size=2GB`.
            arguments.extend(["-m".into(), memory.strip_prefix("size=").unwrap_or(memory).into()]);
        }
        Some(Launch { program: program.into(), arguments, environment: environment(daemon) })
    }

    /// Gives a variable to the daemon unless the configuration does.
    #[must_use]
    pub fn with_default(mut self, variable: &str, value: &str) -> Launch {
        self.environment.entry(variable.to_owned()).or_insert_with(|| value.to_owned());
        self
    }
}

/// The environment is needed when the process starts, for the libraries and options that are taken from there. Values
/// that refer to other variables are left to the daemon, which expands them.
fn environment(daemon: &Daemon) -> BTreeMap<String, String> {
    let literal = daemon.environment.iter().filter(|(_, value)| !value.contains("${"));
    literal.map(|(variable, value)| (variable.clone(), value.clone())).collect()
}

/// The ldmsd to be started, an absolute path: `given`, or the first in `search_path`, the value of `PATH`.
///
/// # Errors
/// There is none: the text says where it was looked for and what to do.
pub fn find_ldmsd(given: Option<&Path>, search_path: Option<&OsStr>) -> anyhow::Result<PathBuf> {
    const PROGRAM: &str = "ldmsd";
    if let Some(given) = given {
        let metadata = fs::metadata(given).with_context(|| format!("cannot use {} as ldmsd", given.display()))?;
        ensure!(is_program(&metadata), "cannot use {} as ldmsd: it is not an executable file", given.display());
        return std::path::absolute(given).context("cannot tell the working directory");
    }
    let search_path = search_path.unwrap_or_default();
    for directory in env::split_paths(search_path).filter(|directory| !directory.as_os_str().is_empty()) {
        let candidate = directory.join(PROGRAM);
        if fs::metadata(&candidate).is_ok_and(|metadata| is_program(&metadata)) {
            return std::path::absolute(candidate).context("cannot tell the working directory");
        }
    }
    bail!(
        "ldmsd was not found in PATH ({}): add the directory that holds it, often PREFIX/sbin, or name it with --ldmsd FILE",
        search_path.display()
    );
}

fn is_program(metadata: &fs::Metadata) -> bool {
    metadata.is_file() && metadata.permissions().mode() & 0o111 != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notation::Name;

    const YAML: &str = r#"
daemons:
  - names: "agg-[1-2]"
    hosts: "node-[1-2]"
    environment: { LDMS_COMPONENT_ID: 7, LABEL: "${HOSTNAME}/agg" }
    memory: 2GB
    endpoints:
      - { names: "agg-[1-2]-e", ports: "[10101]", xprt: sock, maestro_comm: True,
          auth: { name: o, plugin: ovis, conf: /etc/secret } }
  - names: idle
    hosts: node-3
    set_memory: { size: 1GB }
    endpoints:
      - { names: idle-e, ports: "[10102]", xprt: sock, maestro_comm: True, bind_all: True }
  - names: foreign
    hosts: node-4
    endpoints:
      - { names: foreign-e, ports: "[10103]", xprt: sock }
"#;

    fn daemon(name: &str) -> Daemon {
        let (cluster, diagnostics) = crate::spec::read_cluster("test.yaml", YAML);
        let cluster = cluster.unwrap_or_else(|| panic!("{}", crate::spec::report(&diagnostics)));
        cluster.daemons.get(&Name::from(name)).unwrap().clone()
    }

    fn line(launch: &Launch) -> String {
        let words: Vec<&str> = launch.arguments.iter().map(|argument| argument.to_str().unwrap()).collect();
        words.join(" ")
    }

    #[test]
    fn a_file_says_everything() {
        let launch =
            Launch::with_file("/bin/ldmsd".as_ref(), &daemon("agg-2"), "/d/agg-2.conf".as_ref(), "/d/l".as_ref());
        assert_eq!(line(&launch), "-F -c /d/agg-2.conf -l /d/l");
    }

    #[test]
    fn without_a_file_the_command_line_says_how_maestro_reaches_the_daemon() {
        let bare = |name: &str| Launch::bare("/bin/ldmsd".as_ref(), &daemon(name), "/d/l".as_ref());
        assert_eq!(line(&bare("agg-2").unwrap()), "-F -l /d/l -x sock:10101:node-2 -a ovis -A conf=/etc/secret -m 2GB");
        assert_eq!(line(&bare("idle").unwrap()), "-F -l /d/l -x sock:10102 -m 1GB");
        assert_eq!(bare("foreign"), None);
    }

    #[test]
    fn literal_variables_are_there_from_the_start() {
        let launch = Launch::bare("/bin/ldmsd".as_ref(), &daemon("agg-1"), "/d/l".as_ref()).unwrap();
        let expected = BTreeMap::from([("LDMS_COMPONENT_ID".to_owned(), "7".to_owned())]);
        assert_eq!(launch.environment, expected);
        let launch = launch.with_default("HOSTNAME", "node-1").with_default("LDMS_COMPONENT_ID", "1");
        assert_eq!((&*launch.environment["HOSTNAME"], &*launch.environment["LDMS_COMPONENT_ID"]), ("node-1", "7"));
    }

    #[test]
    fn the_first_executable_of_the_search_path_is_taken() {
        let directory = tempfile::tempdir().unwrap();
        let [text, program] = ["a", "b"].map(|name| directory.path().join(name));
        for (place, mode) in [(&text, 0o644), (&program, 0o755)] {
            fs::create_dir(place).unwrap();
            fs::write(place.join("ldmsd"), "").unwrap();
            fs::set_permissions(place.join("ldmsd"), fs::Permissions::from_mode(mode)).unwrap();
        }
        let search = |places: &[&PathBuf]| find_ldmsd(None, Some(&env::join_paths(places).unwrap()));
        assert_eq!(search(&[&text, &program]).unwrap(), program.join("ldmsd"));
        let error = search(&[&text]).unwrap_err().to_string();
        assert!(error.contains(text.to_str().unwrap()) && error.contains("--ldmsd"), "{error}");
        assert_eq!(find_ldmsd(Some(&program.join("ldmsd")), None).unwrap(), program.join("ldmsd"));
        assert!(find_ldmsd(Some(&text.join("ldmsd")), None).unwrap_err().to_string().contains("not an executable"));
    }
}
