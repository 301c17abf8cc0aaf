//! The clusters that are simulated: those of the fixtures, and larger ones.

use maestro::cluster::Cluster;
use maestro::spec::read_cluster;

/// A cluster of the reference cases.
pub(crate) fn fixture(case: &str) -> Cluster {
    let path = format!("{}/tests/fixtures/reference/{case}/input.yaml", env!("CARGO_MANIFEST_DIR"));
    read(&std::fs::read_to_string(&path).unwrap())
}

/// Samplers below one group of aggregators, and perhaps a second level above it. All sample and collect each second.
pub(crate) fn generated(samplers: usize, aggregators: usize, above: usize) -> Cluster {
    let mut daemons = vec![("samplers", "sampler", "node", samplers), ("l1", "l1-agg", "agg", aggregators)];
    let mut groups = vec![("l1", "samplers")];
    if above > 0 {
        daemons.push(("l2", "l2-agg", "top", above));
        groups.push(("l2", "l1"));
    }
    let mut yaml = "daemons :\n".to_owned();
    for (anchor, name, host, count) in daemons {
        yaml.push_str(&format!(
            r#"  - names : &{anchor} "{name}-[1-{count}]"
    hosts : &{anchor}-hosts "{host}-[1-{count}]"
    endpoints :
      - names : &{anchor}-ep "{host}-[1-{count}]-ep"
        ports : "10002"
        maestro_comm : True
        xprt : sock
        auth : {{ name : none, plugin : none }}
"#
        ));
    }
    yaml.push_str("aggregators :\n");
    for (group, below) in groups {
        yaml.push_str(&format!(
            r#"  - daemons : *{group}
    peers :
      - daemons   : *{below}
        endpoints : *{below}-ep
        reconnect : 1s
        type      : active
        updaters  :
          - mode     : pull
            interval : "1s"
            offset   : "{offset}ms"
"#,
            offset = if group == "l1" { 50 } else { 100 },
        ));
    }
    yaml.push_str(
        r#"samplers :
  - daemons : *samplers
    plugins : [ meminfo1 ]
plugins :
  meminfo1 :
    name : meminfo
    interval : "1s"
    offset : "0s"
    config : [ { schema : meminfo, perm : "0777" } ]
"#,
    );
    read(&yaml)
}

/// Two samplers with sets of some kilobytes, eight with small ones, three aggregators, and one above. No aggregator can
/// have a whole one of the two without carrying far more than its share.
pub(crate) fn uneven() -> Cluster {
    let mut yaml = r#"daemons :
  - { names : &big "big-[1-2]", hosts : "big-[1-2]", endpoints : [ { names : &big-ep "big-[1-2]-ep", ports : "10002", maestro_comm : True, xprt : sock, auth : { name : none, plugin : none } } ] }
  - { names : &small "small-[1-8]", hosts : "small-[1-8]", endpoints : [ { names : &small-ep "small-[1-8]-ep", ports : "10002", maestro_comm : True, xprt : sock, auth : { name : none, plugin : none } } ] }
  - { names : &l1 "l1-agg-[1-3]", hosts : "agg-[1-3]", endpoints : [ { names : &l1-ep "agg-[1-3]-ep", ports : "10002", maestro_comm : True, xprt : sock, auth : { name : none, plugin : none } } ] }
  - { names : &l2 "l2-agg", hosts : "top", endpoints : [ { names : &l2-ep "top-ep", ports : "10002", maestro_comm : True, xprt : sock, auth : { name : none, plugin : none } } ] }
aggregators :
  - daemons : *l1
    peers :
      - { daemons : *big, endpoints : *big-ep, reconnect : 1s, type : active, updaters : [ { mode : pull, interval : 1s, offset : 50ms } ] }
      - { daemons : *small, endpoints : *small-ep, reconnect : 1s, type : active }
  - daemons : *l2
    peers :
      - { daemons : *l1, endpoints : *l1-ep, reconnect : 1s, type : active, updaters : [ { mode : pull, interval : 1s, offset : 100ms } ] }
samplers :
  - { daemons : *big, plugins : [ heavy1, heavy2, heavy3, heavy4, heavy5, heavy6, net ] }
  - { daemons : *small, plugins : [ mem, load ] }
plugins :
  net : { name : procnetdev2, interval : 1s, offset : 0s, config : [ { schema : net } ] }
  mem : { name : meminfo, interval : 1s, offset : 0s, config : [ { schema : mem } ] }
  load : { name : loadavg, interval : 5s, offset : 0s, config : [ { schema : load } ] }
"#
    .to_owned();
    for number in 1..=6 {
        yaml.push_str(&format!(
            "  heavy{number} : {{ name : slurm_sampler, interval : 1s, offset : 0s, config : [ {{ schema : heavy{number} }} ] }}\n"
        ));
    }
    read(&yaml)
}

fn read(yaml: &str) -> Cluster {
    let (cluster, diagnostics) = read_cluster("simulated.yaml", yaml);
    cluster.unwrap_or_else(|| panic!("{diagnostics:?}"))
}
