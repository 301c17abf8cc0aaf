//! The plugin libraries that a simulated daemon can load.

/// Sampler or store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PluginKind {
    Sampler,
    Store,
}

/// What a plugin library is like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Library {
    pub(crate) name: &'static str,
    pub(crate) kind: PluginKind,
    /// Whether one library may be configured in several instances (`[M]` in plugn_status, else `[S]`).
    pub(crate) multiple: bool,
    /// The number of metrics of its sets.
    pub(crate) metrics: u32,
    /// The size of a set's data section in bytes, which is what each update transfers.
    pub(crate) data_size_bytes: u32,
    /// The size of a set's metadata section in bytes.
    pub(crate) meta_size_bytes: u32,
}

const fn sampler(name: &'static str, multiple: bool, metrics: u32, data: u32, meta: u32) -> Library {
    let kind = PluginKind::Sampler;
    Library { name, kind, multiple, metrics, data_size_bytes: data, meta_size_bytes: meta }
}

const fn store(name: &'static str) -> Library {
    let kind = PluginKind::Store;
    Library { name, kind, multiple: true, metrics: 0, data_size_bytes: 0, meta_size_bytes: 0 }
}

/// meminfo and vmstat have their sizes from a recorded daemon; the others are of a plausible magnitude, different from
/// each other so that placement by weight has something to weigh.
const LIBRARIES: &[Library] = &[
    sampler("meminfo", true, 57, 544, 2968),
    sampler("vmstat", false, 195, 1648, 10680),
    sampler("procstat", false, 25, 288, 1480),
    sampler("procstat2", true, 64, 600, 3200),
    sampler("loadavg", true, 9, 136, 640),
    sampler("procnetdev", false, 73, 680, 3800),
    sampler("procnetdev2", true, 40, 4096, 2400),
    sampler("procdiskstats", false, 88, 800, 4600),
    sampler("procinterrupts", false, 1024, 8400, 53_000),
    sampler("procnfs", false, 30, 320, 1700),
    sampler("procnet", true, 40, 420, 2100),
    sampler("dstat", true, 22, 256, 1300),
    sampler("edac", false, 60, 560, 3100),
    sampler("coretemp", true, 12, 192, 900),
    sampler("clock", false, 3, 96, 300),
    sampler("jobinfo", false, 14, 200, 900),
    sampler("lustre_client", true, 80, 720, 4200),
    sampler("lnet_stats", false, 14, 184, 860),
    sampler("slurm_sampler", true, 40, 9000, 2500),
    sampler("synthetic", true, 10, 160, 700),
    sampler("tsampler", true, 10, 160, 700),
    sampler("hello_sampler", true, 4, 104, 320),
    store("store_csv"),
    store("store_sos"),
    store("store_none"),
    store("store_flatfile"),
    store("store_function_csv"),
    store("store_kafka"),
    store("store_avro_kafka"),
    store("store_papi"),
];

/// The library of that name, `None` where a daemon would find no such file.
pub(crate) fn library(name: &str) -> Option<&'static Library> {
    LIBRARIES.iter().find(|library| library.name == name)
}
