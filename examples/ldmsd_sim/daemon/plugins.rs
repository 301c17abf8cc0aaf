//! Sampler and store plugins: load, config, start, stop, term (the wire specification, section 6.2).

use maestro::ldmsd::Attribute;

use super::plugin_catalogue::{Library, PluginKind, library};
use super::quantity::{interval_us as read_interval_us, last_multiple_us};
use super::request::{Attributes, Outcome, Reply, errno};
use super::sets::MetricSet;
use super::{Action, Daemon, Imitation, SECOND_US};

/// Permission bits of a set whose configuration names none (measured).
const DEFAULT_SET_PERM: u32 = 0o440;

/// A plugin instance.
#[derive(Debug)]
pub(super) struct Plugin {
    library: &'static Library,
    /// How many plugins were loaded before: the 4.4 line lists the latest first.
    order: u64,
    configured: bool,
    running: Option<Sampling>,
    /// Its metric set, with the time of the last sample before it was stopped.
    pub(super) set: Option<MetricSet>,
}

#[derive(Debug, Clone, Copy)]
struct Sampling {
    interval_us: u64,
    offset_us: i64,
    since_us: u64,
}

impl Sampling {
    /// The time of the latest sample, if one was taken since the start.
    fn latest_us(self, now_us: u64) -> Option<u64> {
        let latest_us = last_multiple_us(self.interval_us, self.offset_us, now_us);
        (latest_us > self.since_us).then_some(latest_us)
    }
}

impl Plugin {
    /// The set as it is now, its latest sample included.
    pub(super) fn current_set(&self, now_us: u64) -> Option<MetricSet> {
        let mut set = self.set.clone()?;
        if let Some(latest_us) = self.running.and_then(|sampling| sampling.latest_us(now_us)) {
            set.sampled_us = latest_us;
        }
        Some(set)
    }

    pub(super) fn is_store(&self) -> bool {
        self.library.kind == PluginKind::Store
    }

    pub(super) fn library_name(&self) -> &'static str {
        self.library.name
    }
}

impl Daemon {
    pub(super) fn load(&mut self, attributes: &Attributes) -> Outcome {
        let name = attributes.require(Attribute::Name, "The attribute 'name' is required by load.")?;
        let v44 = self.imitation == Imitation::V44;
        // The 4.4 line has one instance a library and takes the name for the library's.
        let plugin = if v44 { name } else { attributes.get(Attribute::Plugin).unwrap_or(name) };
        let existing = self.plugins.contains_key(name);
        let Some(library) = library(plugin) else {
            let missing = format!("lib{plugin}.so: cannot open shared object file: No such file or directory");
            return Err(if v44 {
                Reply::error(-1, format!("Failed to load the plugin '{plugin}'. dlerror {missing}"))
            } else {
                Reply::error(
                    errno::ENOENT,
                    format!("Error 2 plugin '{plugin}': failed to load the plugin, dlerror: {missing}\n"),
                )
            });
        };
        if existing {
            let text = match (v44, library.kind) {
                (true, _) => format!("Plugin '{name}' already loaded"),
                (false, PluginKind::Sampler) => {
                    format!("Error 17 adding sampler named '{name}' with plugin '{plugin}'\n")
                }
                (false, PluginKind::Store) => format!("Error 17 adding store named '{name}' with plugin '{plugin}'\n"),
            };
            return Err(Reply::error(errno::EEXIST, text));
        }
        let order = self.plugins.values().map(|plugin| plugin.order + 1).max().unwrap_or(0);
        self.plugins.insert(name.to_owned(), Plugin { library, order, configured: false, running: None, set: None });
        Ok(Reply::ok())
    }

    pub(super) fn config(&mut self, attributes: &Attributes, now_us: u64) -> Outcome {
        let name = attributes.require(Attribute::Name, "The attribute 'name' is required by config.")?;
        let v44 = self.imitation == Imitation::V44;
        let Some(plugin) = self.plugins.get(name) else {
            return Err(if v44 {
                Reply::error(errno::ENOENT, format!("Plugin '{name}' configuration error."))
            } else {
                Reply::error(errno::ENOENT, format!("The specified plugin instance '{name}' does not exist."))
            });
        };
        let options = attributes.require(Attribute::String, "No config attributes are provided.")?;
        let refuse = |code: i32| {
            let text = if v44 {
                format!("Plugin '{name}' configuration error.")
            } else {
                format!("Error {code} configuring plugin instance '{name}'.")
            };
            Reply::error(code, text)
        };
        if plugin.is_store() {
            if plugin.configured {
                return Err(refuse(errno::EINVAL));
            }
        } else if plugin.configured {
            let busy = if v44 { errno::EINVAL } else { errno::EBUSY };
            if plugin.running.is_some() && !v44 {
                let text = format!("The plugin instance '{name}' is running. Please stop it before re-configuring it.");
                return Err(Reply::error(busy, text));
            }
            return Err(refuse(busy));
        }

        let set = if plugin.is_store() {
            None
        } else {
            let set = sampler_set(plugin.library, options).ok_or_else(|| refuse(errno::EINVAL))?;
            if self.holds_set(&set.instance) {
                return Err(refuse(errno::EEXIST));
            }
            Some(set)
        };
        let default_hint = format!("{SECOND_US}:0");
        let Some(plugin) = self.plugins.get_mut(name) else { return Err(refuse(errno::ENOENT)) };
        plugin.configured = true;
        plugin.set = set;
        if let Some(set) = &mut plugin.set {
            // On the 4.4 line a set carries the default interval as its hint before the sampler is started (measured).
            set.hint = v44.then_some(default_hint);
            self.actions.push(Action::Announce { kind: 2, set: set.to_json('L') });
        }
        // On 4.5 a sampler can have been started already, and begins with its set.
        if plugin.running.is_some() {
            self.begin_sampling(name.to_owned(), now_us);
        }
        Ok(Reply::ok())
    }

    pub(super) fn start(&mut self, attributes: &Attributes, now_us: u64) -> Outcome {
        let name = attributes.require(Attribute::Name, "The attribute 'name' is required by start.")?;
        let interval = attributes.require(Attribute::Interval, "The attribute 'interval' is required by start.")?;
        let v44 = self.imitation == Imitation::V44;
        let word = if v44 { "Sampler" } else { "Sampler instance" };
        let Some(plugin) = self.plugins.get_mut(name) else {
            return Err(Reply::error(errno::ENOENT, format!("{word} '{name}' not found.")));
        };
        if plugin.is_store() {
            return Err(if v44 {
                Reply::error(errno::EINVAL, "The specified plugin is not a sampler.")
            } else {
                Reply::error(errno::ENOENT, format!("{word} '{name}' not found."))
            });
        }
        // The development head says "running" of an instance that was never configured, before it reads the interval.
        let never_configured = !plugin.configured && self.imitation == Imitation::Main;
        if plugin.running.is_some() || never_configured {
            return Err(Reply::error(errno::EBUSY, format!("{word} '{name}' is already running.")));
        }
        let invalid = |what: &str, text: &str| Reply::error(errno::EINVAL, format!("{what} '{text}' invalid"));
        let interval_us = read_interval_us(interval).ok_or_else(|| invalid("interval", interval))?;
        let offset = attributes.get(Attribute::Offset).unwrap_or("0");
        let offset_us = read_interval_us(offset).ok_or_else(|| invalid("offset", offset))?;
        if interval_us == 0 {
            self.actions.push(Action::Exit { reason: "a sampler was started with the interval 0" });
            return Ok(Reply::ok());
        }
        let Ok(interval_us) = u64::try_from(interval_us) else { return Err(invalid("interval", interval)) };
        if offset_us.unsigned_abs() > interval_us / 2 {
            return Err(Reply::error(errno::EINVAL, "Sampler parameters interval and offset are incompatible."));
        }
        plugin.running = Some(Sampling { interval_us, offset_us, since_us: now_us });
        self.begin_sampling(name.to_owned(), now_us);
        Ok(Reply::ok())
    }

    /// Writes the hint of a running sampler's set and tells the world.
    fn begin_sampling(&mut self, name: String, now_us: u64) {
        let Some(plugin) = self.plugins.get_mut(&name) else { return };
        let (Some(sampling), Some(set)) = (&mut plugin.running, &mut plugin.set) else { return };
        sampling.since_us = now_us;
        set.hint = Some(format!("{}:{}", sampling.interval_us, sampling.offset_us));
        self.actions.push(Action::Announce { kind: 3, set: set.to_json('L') });
        self.actions.push(Action::SamplingStarted {
            instance: set.instance.clone(),
            interval_us: sampling.interval_us,
            offset_us: sampling.offset_us,
        });
    }

    pub(super) fn stop(&mut self, attributes: &Attributes, now_us: u64) -> Outcome {
        let name = attributes.require(Attribute::Name, "The attribute 'name' is required by stop.")?;
        let v44 = self.imitation == Imitation::V44;
        let plugin = self.plugins.get_mut(name).filter(|plugin| v44 || !plugin.is_store()).ok_or_else(|| {
            let word = if v44 { "Sampler" } else { "Sampler instance" };
            Reply::error(errno::ENOENT, format!("{word} '{name}' not found."))
        })?;
        if plugin.is_store() {
            return Err(Reply::error(errno::EINVAL, format!("The plugin '{name}' is not a sampler.")));
        }
        if plugin.running.is_none() {
            return Err(Reply::error(errno::EINVAL, format!("The sampler instance '{name}' is not running.")));
        }
        plugin.set = plugin.current_set(now_us);
        plugin.running = None;
        if let Some(set) = &plugin.set {
            self.actions.push(Action::SamplingStopped { instance: set.instance.clone() });
        }
        Ok(Reply::ok())
    }

    pub(super) fn term(&mut self, attributes: &Attributes) -> Outcome {
        let name = attributes.require(Attribute::Name, "The attribute 'name' is required by term.")?;
        let Some(plugin) = self.plugins.get(name) else {
            return Err(Reply::error(errno::ENOENT, format!("plugin instance '{name}' not found.")));
        };
        let in_use = plugin.running.is_some() || self.policies.values().any(|policy| policy.plugin_instance == name);
        if in_use {
            let code = if self.imitation == Imitation::V44 { errno::EINVAL } else { errno::EBUSY };
            let text = if self.imitation == Imitation::Main {
                format!(
                    "The plugin instance '{name}' is running. The instance needs to be stopped before being terminated."
                )
            } else {
                format!("Failed to terminate the plugin instance '{name}'.")
            };
            return Err(Reply::error(code, text));
        }
        if let Some(set) = self.plugins.remove(name).and_then(|plugin| plugin.set) {
            self.actions.push(Action::Withdraw { instance: set.instance });
        }
        Ok(Reply::ok())
    }

    pub(super) fn plugn_status(&self) -> Reply {
        let libpath = |library: &Library| format!("/usr/lib64/ovis-ldms/lib{}.so", library.name);
        if self.imitation == Imitation::V44 {
            let mut plugins: Vec<&Plugin> = self.plugins.values().collect();
            plugins.sort_by_key(|plugin| std::cmp::Reverse(plugin.order));
            return Reply::list(plugins.into_iter().map(|plugin| {
                // The name of a store is the plugin's internal one: csv for store_csv.
                let (name, kind) = match plugin.library.kind {
                    PluginKind::Sampler => (plugin.library.name, "sampler"),
                    PluginKind::Store => (plugin.library.name.trim_start_matches("store_"), "store"),
                };
                let (interval_us, offset_us) =
                    plugin.running.map_or((SECOND_US, 0), |sampling| (sampling.interval_us, sampling.offset_us));
                format!(
                    r#"{{"name":"{name}","type":"{kind}","sample_interval_us":{interval_us},"sample_offset_us":{offset_us},"libpath":"{}"}}"#,
                    libpath(plugin.library)
                )
            }));
        }
        let of_kind = |kind: PluginKind, word: &'static str| {
            self.plugins.iter().filter(move |(_, plugin)| plugin.library.kind == kind).map(move |(name, plugin)| {
                let how_many = if plugin.library.multiple { 'M' } else { 'S' };
                format!(
                    r#"{{"name":"{name}","plugin":"{}","type":"{word}[{how_many}]","libpath":"{}"}}"#,
                    plugin.library.name,
                    libpath(plugin.library)
                )
            })
        };
        Reply::list(of_kind(PluginKind::Sampler, "sampler").chain(of_kind(PluginKind::Store, "store")))
    }

    /// The number of metric sets of the daemon's own plugins.
    pub(crate) fn own_sets(&self) -> usize {
        self.plugins.values().filter(|plugin| plugin.set.is_some()).count()
    }

    pub(super) fn plugn_sets(&self) -> Reply {
        let samplers = self.plugins.iter().filter(|(_, plugin)| !plugin.is_store());
        let elements: Vec<String> = samplers
            .map(|(name, plugin)| {
                let set = plugin.set.as_ref().map_or_else(String::new, |set| format!(r#""{}""#, set.instance));
                format!(r#"{{"plugin":"{name}","sets":[{set}]}}"#)
            })
            .collect();
        Reply::json(format!("[{}]", elements.join(",")))
    }
}

/// The set that a configuration asks for; `None` without producer and instance, which every sampler requires.
fn sampler_set(library: &Library, options: &str) -> Option<MetricSet> {
    let option = |key: &str| {
        options
            .split_ascii_whitespace()
            .filter_map(|word| word.split_once('='))
            .find(|(k, _)| *k == key)
            .map(|(_, v)| v)
    };
    option("producer")?;
    Some(MetricSet {
        instance: option("instance")?.to_owned(),
        schema: option("schema").unwrap_or(library.name).to_owned(),
        data_size_bytes: library.data_size_bytes,
        meta_size_bytes: library.meta_size_bytes,
        metrics: library.metrics,
        perm: option("perm").map_or(DEFAULT_SET_PERM, c_number),
        hint: None,
        sampled_us: 0,
    })
}

/// Reads a number as C's `strtol` with base 0 does: a leading zero means octal, `600` is decimal.
fn c_number(text: &str) -> u32 {
    let (radix, digits) = match text.strip_prefix("0x") {
        Some(digits) => (16, digits),
        None if text.starts_with('0') => (8, text),
        None => (10, text),
    };
    let end = digits.find(|c: char| !c.is_digit(radix)).unwrap_or(digits.len());
    u32::from_str_radix(&digits[..end], radix).unwrap_or(0)
}
