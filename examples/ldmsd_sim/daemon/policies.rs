//! Storage policies (the wire specification, section 6.6).

use maestro::ldmsd::Attribute;

use super::quantity::interval_us;
use super::request::{Attributes, Outcome, Reply, errno, regular_expression};
use super::{Daemon, SECOND_US};

/// A storage policy.
#[derive(Debug)]
pub(super) struct Policy {
    pub(super) plugin_instance: String,
    container: Option<String>,
    schema: Option<String>,
    regex: Option<String>,
    decomposition: Option<String>,
    flush_us: i64,
    running: bool,
    /// Whether its time statistics were asked for: this takes a reference that is never given back, so that the policy can
    /// no longer be deleted (measured on all lines).
    kept_for_ever: bool,
    /// Regular expressions of producer names, as given; the latest last.
    producers: Vec<String>,
    metrics: Vec<String>,
}

impl Policy {
    fn check_stopped(&self) -> Result<(), Reply> {
        if self.running {
            let text = "Configuration changes cannot be made while the storage policy is running.";
            return Err(Reply::error(errno::EBUSY, text));
        }
        Ok(())
    }

    /// Whether the policy stores sets of the schema from the producer.
    fn stores(&self, producer: &str, schema: &str) -> bool {
        let matches = |text: &String, value: &str| regular_expression(text).is_some_and(|regex| regex.is_match(value));
        self.running
            && (self.schema.as_deref() == Some(schema) || self.regex.as_ref().is_some_and(|text| matches(text, schema)))
            && (self.producers.is_empty() || self.producers.iter().any(|text| matches(text, producer)))
    }
}

fn invalid(text: impl Into<String>) -> Reply {
    Reply::error(errno::EINVAL, text)
}

const MISSING: &str = "The storage policy specified does not exist.";

impl Daemon {
    /// Whether some storage policy runs.
    #[allow(dead_code, reason = "for simulations of a whole cluster on a virtual clock")]
    pub(crate) fn stores(&self) -> bool {
        self.policies.values().any(|policy| policy.running)
    }

    fn policy_mut(&mut self, attributes: &Attributes, verb: &str, missing: &str) -> Result<&mut Policy, Reply> {
        let name = attributes.require(Attribute::Name, format!("The attribute 'name' is required by {verb}."))?;
        self.policies.get_mut(name).ok_or_else(|| Reply::error(errno::ENOENT, missing))
    }

    pub(super) fn strgp_add(&mut self, attributes: &Attributes) -> Outcome {
        let name = attributes.require(Attribute::Name, "The attribute 'name' is required by strgp_add.")?;
        let plugin = attributes.require(Attribute::Plugin, "The attribute 'plugin' is required by strgp_add.")?;
        let (schema, regex) = (attributes.get(Attribute::Schema), attributes.get(Attribute::Regex));
        let decomposition = attributes.get(Attribute::Decomposition);
        match (schema, regex) {
            (Some(_), Some(_)) => return Err(invalid("The attributes 'schema' and 'regex' are mutually exclusive.")),
            (None, None) => return Err(invalid("The attribute 'schema' or 'regex' is required by strgp_add.")),
            (None, Some(_)) if decomposition.is_none() => {
                return Err(invalid("The attributes 'decomposition' is required when 'regex' is used."));
            }
            _ => {}
        }
        if !self.plugins.get(plugin).is_some_and(|plugin| plugin.is_store()) {
            return Err(Reply::error(errno::ENOENT, format!("The plugin {plugin} does not exist. Forgot load?\n")));
        }
        let flush = attributes.get(Attribute::Flush);
        let flush_us = flush.map_or(Some(0), interval_us).ok_or_else(|| {
            let text = format!("The specified flush interval, \"{}\", is invalid.", flush.unwrap_or_default());
            Reply::error(errno::ENOENT, text)
        })?;
        if let Some(existing) = self.policies.get(name) {
            // A stopped policy does not survive the attempt to add it again (measured on all lines).
            if !existing.running {
                self.policies.remove(name);
            }
            return Err(Reply::error(errno::EEXIST, format!("The strgp {name} already exists.")));
        }
        let own = |text: Option<&str>| text.map(str::to_owned);
        let policy = Policy {
            plugin_instance: plugin.to_owned(),
            container: own(attributes.get(Attribute::Container)),
            schema: own(schema),
            regex: own(regex),
            decomposition: own(decomposition),
            flush_us,
            running: false,
            kept_for_ever: false,
            producers: Vec::new(),
            metrics: Vec::new(),
        };
        self.policies.insert(name.to_owned(), policy);
        Ok(Reply::ok())
    }

    pub(super) fn strgp_del(&mut self, attributes: &Attributes) -> Outcome {
        let policy = self.policy_mut(attributes, "strgp_del", MISSING)?;
        if policy.running || policy.kept_for_ever {
            return Err(Reply::error(errno::EBUSY, "The storage policy is in use."));
        }
        if let Some(name) = attributes.get(Attribute::Name) {
            self.policies.remove(name);
        }
        Ok(Reply::ok())
    }

    pub(super) fn strgp_start(&mut self, attributes: &Attributes) -> Outcome {
        let policy = self.policy_mut(attributes, "strgp_start", "The storage policy does not exist.")?;
        if policy.running {
            return Err(Reply::error(errno::EBUSY, "The storage policy is already running."));
        }
        policy.running = true;
        Ok(Reply::ok())
    }

    /// Stopping a stopped policy is refused, unlike producers and updaters.
    pub(super) fn strgp_stop(&mut self, attributes: &Attributes) -> Outcome {
        let policy = self.policy_mut(attributes, "strgp_stop", "The storage policy does not exist.")?;
        if !policy.running {
            return Err(Reply::error(errno::EBUSY, "The storage policy is not running."));
        }
        policy.running = false;
        Ok(Reply::ok())
    }

    /// The statistics themselves are always empty.
    pub(super) fn store_time_stats(&mut self, attributes: &Attributes) -> Reply {
        let name = attributes.get(Attribute::Name);
        for (_, policy) in self.policies.iter_mut().filter(|(key, _)| name.is_none_or(|name| name == *key)) {
            policy.kept_for_ever = true;
        }
        Reply::text("{}")
    }

    pub(super) fn strgp_prdcr_add(&mut self, attributes: &Attributes) -> Outcome {
        let regex = attributes.require(Attribute::Regex, "The attribute 'regex' is required by strgp_prdcr_add.")?;
        let policy = self.policy_mut(attributes, "strgp_prdcr_add", MISSING)?;
        policy.check_stopped()?;
        if regular_expression(regex).is_none() {
            return Err(Reply::error(errno::ENOENT, MISSING));
        }
        policy.producers.push(regex.to_owned());
        Ok(Reply::ok())
    }

    pub(super) fn strgp_prdcr_del(&mut self, attributes: &Attributes) -> Outcome {
        let regex = attributes.require(Attribute::Regex, "The attribute 'regex' is required by strgp_prdcr_del.")?;
        let policy = self.policy_mut(attributes, "strgp_prdcr_del", MISSING)?;
        policy.check_stopped()?;
        let found = policy.producers.iter().position(|text| text == regex);
        let found =
            found.ok_or_else(|| Reply::error(errno::ENOENT, "The specified regex does not match any condition."))?;
        policy.producers.remove(found);
        Ok(Reply::ok())
    }

    pub(super) fn strgp_metric_add(&mut self, attributes: &Attributes) -> Outcome {
        let metric =
            attributes.require(Attribute::Metric, "The attribute 'metric' is required by strgp_metric_add.")?;
        let policy = self.policy_mut(attributes, "strgp_metric_add", MISSING)?;
        policy.check_stopped()?;
        if policy.metrics.iter().any(|present| present == metric) {
            return Err(Reply::error(errno::EEXIST, "The specified metric is already present."));
        }
        policy.metrics.push(metric.to_owned());
        Ok(Reply::ok())
    }

    pub(super) fn strgp_metric_del(&mut self, attributes: &Attributes) -> Outcome {
        let metric =
            attributes.require(Attribute::Metric, "The attribute 'metric' is required by strgp_metric_del.")?;
        let policy = self.policy_mut(attributes, "strgp_metric_del", MISSING)?;
        policy.check_stopped()?;
        let found = policy.metrics.iter().position(|present| present == metric);
        let found = found.ok_or_else(|| Reply::error(errno::ENOENT, "The specified metric was not found."))?;
        policy.metrics.remove(found);
        Ok(Reply::ok())
    }

    pub(super) fn strgp_status(&self, attributes: &Attributes) -> Outcome {
        let name = attributes.get(Attribute::Name);
        if let Some(name) = name.filter(|name| !self.policies.contains_key(*name)) {
            return Err(Reply::error(errno::ENOENT, format!("strgp '{name}' doesn't exist.")));
        }
        let policies = self.policies.iter().filter(|(key, _)| name.is_none_or(|name| name == *key));
        Ok(Reply::list(policies.map(|(name, policy)| self.policy_status(name, policy))))
    }

    fn policy_status(&self, name: &str, policy: &Policy) -> String {
        let quoted = |texts: &[String]| texts.iter().map(|text| format!("\"{text}\"")).collect::<Vec<_>>().join(",");
        let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let library = self.plugins.get(&policy.plugin_instance).map_or("-", |plugin| plugin.library_name());
        format!(
            r#"{{"name":"{name}","container":"{}","schema":"{}","regex":"{}","plugin":"{library}","flush":"{}.{:06}","state":"{}","decomp":"{}","producers":[{}],"metrics":[{}]}}"#,
            // As C prints a null pointer.
            policy.container.as_deref().unwrap_or("(null)"),
            or_dash(&policy.schema),
            or_dash(&policy.regex),
            policy.flush_us.unsigned_abs() / SECOND_US,
            policy.flush_us.unsigned_abs() % SECOND_US,
            if policy.running { "RUNNING" } else { "STOPPED" },
            or_dash(&policy.decomposition),
            quoted(&policy.producers),
            quoted(&policy.metrics),
        )
    }

    /// A sample of a set has arrived. The first one fills the metric list of a policy that has none.
    pub(super) fn store_sample(&mut self, producer: &str, schema: &str, metrics: u32) {
        for policy in
            self.policies.values_mut().filter(|policy| policy.metrics.is_empty() && policy.stores(producer, schema))
        {
            policy.metrics = ["component_id", "job_id", "app_id"].map(str::to_owned).to_vec();
            policy.metrics.extend((3..metrics).map(|number| format!("metric_{number}")));
        }
    }
}
