//! The verbs of the request protocol and their numbers in each numbering family.
//!
//! A verb is a word of ldmsd's configuration language (`prdcr_add`); only its number travels, and the
//! number depends on the [`Numbering`] of the daemon at the other end (the wire specification, sections
//! 5.7 and 5.9: the 4.4 line was renumbered by insertions before 4.5).

use std::fmt;

/// The family of command and attribute numbers that a daemon understands, learnt from the length of
/// its connect message: 64 bytes mean 4.5 and later, 20 bytes mean 4.4 and earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Numbering {
    /// LDMS 4.4 and earlier.
    V44,
    /// LDMS 4.5 and later, the development head included.
    V45,
}

macro_rules! verbs {
    ($($variant:ident = $word:literal $(| $alias:literal)*, $v45:literal, $v44:expr;)*) => {
        /// A verb of the ldmsd request protocol.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Verb {
            $(#[doc = concat!("`", $word, "`")] $variant,)*
        }

        impl Verb {
            /// Every verb, in the order of its number.
            pub const ALL: &'static [Verb] = &[$(Verb::$variant,)*];

            /// The word that a configuration file uses.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $(Verb::$variant => $word,)* }
            }

            /// The verb that a configuration file calls `word`, aliases included.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Verb> {
                match word { $($word $(| $alias)* => Some(Verb::$variant),)* _ => None }
            }

            /// The command number in a numbering family, `None` where the family has no such command.
            #[must_use]
            pub fn id(self, numbering: Numbering) -> Option<u32> {
                match numbering {
                    Numbering::V45 => Some(match self { $(Verb::$variant => $v45,)* }),
                    Numbering::V44 => match self { $(Verb::$variant => $v44,)* },
                }
            }

            /// The verb that has the number `id` in a numbering family.
            #[must_use]
            pub fn from_id(id: u32, numbering: Numbering) -> Option<Verb> {
                Verb::ALL.iter().copied().find(|verb| verb.id(numbering) == Some(id))
            }
        }
    };
}

verbs! {
    Example = "example", 0x001, Some(0x001);
    Greeting = "greeting", 0x002, Some(0x002);
    CfgCntr = "cfg_cntr", 0x003, Some(0x003);
    DumpCfg = "dump_cfg", 0x004, Some(0x004);
    PrdcrAdd = "prdcr_add", 0x100, Some(0x100);
    PrdcrDel = "prdcr_del" | "bridge_del", 0x101, Some(0x101);
    PrdcrStart = "prdcr_start" | "bridge_start", 0x102, Some(0x102);
    PrdcrStop = "prdcr_stop" | "bridge_stop", 0x103, Some(0x103);
    PrdcrStatus = "prdcr_status", 0x104, Some(0x104);
    PrdcrStartRegex = "prdcr_start_regex", 0x105, Some(0x105);
    PrdcrStopRegex = "prdcr_stop_regex", 0x106, Some(0x106);
    PrdcrSetStatus = "prdcr_set_status", 0x107, Some(0x107);
    PrdcrHintTree = "prdcr_hint_tree", 0x108, Some(0x108);
    PrdcrSubscribe = "prdcr_subscribe", 0x109, Some(0x109);
    PrdcrUnsubscribe = "prdcr_unsubscribe", 0x10a, Some(0x10a);
    PrdcrStreamStatus = "prdcr_stream_status", 0x10b, Some(0x10b);
    BridgeAdd = "bridge_add", 0x10c, None;
    AdvertiserAdd = "advertiser_add", 0x10d, Some(0x10c);
    AdvertiserStart = "advertiser_start", 0x10e, Some(0x10d);
    AdvertiserStop = "advertiser_stop", 0x10f, Some(0x10e);
    AdvertiserDel = "advertiser_del", 0x110, Some(0x10f);
    PrdcrListenAdd = "prdcr_listen_add", 0x111, Some(0x110);
    PrdcrListenDel = "prdcr_listen_del", 0x112, Some(0x111);
    PrdcrListenStart = "prdcr_listen_start", 0x113, Some(0x112);
    PrdcrListenStop = "prdcr_listen_stop", 0x114, Some(0x113);
    PrdcrListenStatus = "prdcr_listen_status", 0x115, Some(0x114);
    Advertise = "advertise", 0x116, Some(0x115);
    StrgpAdd = "strgp_add", 0x200, Some(0x200);
    StrgpDel = "strgp_del", 0x201, Some(0x201);
    StrgpStart = "strgp_start", 0x202, Some(0x202);
    StrgpStop = "strgp_stop", 0x203, Some(0x203);
    StrgpStatus = "strgp_status", 0x204, Some(0x204);
    StrgpPrdcrAdd = "strgp_prdcr_add", 0x205, Some(0x205);
    StrgpPrdcrDel = "strgp_prdcr_del", 0x206, Some(0x206);
    StrgpMetricAdd = "strgp_metric_add", 0x207, Some(0x207);
    StrgpMetricDel = "strgp_metric_del", 0x208, Some(0x208);
    StoreTimeStats = "store_time_stats", 0x209, Some(0x209);
    StrgpPiStats = "strgp_pi_stats", 0x20a, None;
    UpdtrAdd = "updtr_add", 0x300, Some(0x300);
    UpdtrDel = "updtr_del", 0x301, Some(0x301);
    UpdtrStart = "updtr_start", 0x302, Some(0x302);
    UpdtrStop = "updtr_stop", 0x303, Some(0x303);
    UpdtrStatus = "updtr_status", 0x304, Some(0x304);
    UpdtrPrdcrAdd = "updtr_prdcr_add", 0x305, Some(0x305);
    UpdtrPrdcrDel = "updtr_prdcr_del", 0x306, Some(0x306);
    UpdtrMatchAdd = "updtr_match_add", 0x307, Some(0x307);
    UpdtrMatchDel = "updtr_match_del", 0x308, Some(0x308);
    UpdtrTask = "updtr_task", 0x309, Some(0x309);
    UpdtrMatchList = "updtr_match_list", 0x30a, Some(0x30a);
    UpdateTimeStats = "update_time_stats", 0x30b, Some(0x30b);
    Start = "start", 0x502, Some(0x502);
    Stop = "stop", 0x503, Some(0x503);
    PlugnStatus = "plugn_status", 0x504, Some(0x504);
    Load = "load", 0x505, Some(0x505);
    Term = "term", 0x506, Some(0x506);
    Config = "config", 0x507, Some(0x507);
    Usage = "usage", 0x508, Some(0x508);
    PlugnSets = "plugn_sets", 0x509, Some(0x509);
    Udata = "udata", 0x600, Some(0x600);
    UdataRegex = "udata_regex", 0x601, Some(0x601);
    LogLevel = "log_level" | "loglevel", 0x602, Some(0x602);
    DaemonStatus = "daemon_status" | "daemon", 0x603, Some(0x603);
    Version = "version", 0x604, Some(0x604);
    Env = "env", 0x605, Some(0x605);
    Include = "include", 0x606, Some(0x606);
    Oneshot = "oneshot", 0x607, Some(0x607);
    Logrotate = "logrotate", 0x608, Some(0x608);
    Exit = "exit" | "daemon_exit", 0x609, Some(0x609);
    XprtStats = "xprt_stats", 0x60c, Some(0x60c);
    ThreadStats = "thread_stats", 0x60d, Some(0x60d);
    PrdcrStats = "prdcr_stats", 0x60e, Some(0x60e);
    SetStats = "set_stats", 0x60f, Some(0x60f);
    Listen = "listen", 0x610, Some(0x610);
    MetricSetsDefaultAuthz = "metric_sets_default_authz", 0x611, Some(0x611);
    Option = "option", 0x612, Some(0x612);
    SetSecMod = "set_sec_mod", 0x613, Some(0x613);
    LogStatus = "log_status", 0x614, None;
    StatsReset = "stats_reset", 0x615, None;
    DefaultAuth = "default_auth", 0x616, None;
    Memory = "memory" | "set_memory", 0x617, None;
    LogFile = "log_file", 0x618, None;
    PublishKernel = "publish_kernel", 0x619, None;
    DaemonName = "daemon_name", 0x61a, None;
    WorkerThreads = "worker_threads", 0x61b, None;
    DefaultQuota = "default_quota", 0x61c, None;
    PidFile = "pid_file", 0x61d, None;
    Banner = "banner", 0x61e, None;
    Profiling = "profiling", 0x61f, None;
    ProfilingDisable = "profiling_disable", 0x620, None;
    ProfilingEnable = "profiling_enable", 0x621, None;
    StorageThreads = "storage_threads", 0x622, None;
    StorageQueue = "storage_queue", 0x623, None;
    FailoverConfig = "failover_config", 0x700, Some(0x700);
    FailoverPeercfgStart = "failover_peercfg_start", 0x701, Some(0x701);
    FailoverPeercfgStop = "failover_peercfg_stop", 0x702, Some(0x702);
    FailoverStatus = "failover_status", 0x704, Some(0x704);
    FailoverPair = "failover_pair", 0x705, Some(0x705);
    FailoverReset = "failover_reset", 0x706, Some(0x706);
    FailoverCfgprdcr = "failover_cfgprdcr", 0x707, Some(0x707);
    FailoverCfgupdtr = "failover_cfgupdtr", 0x708, Some(0x708);
    FailoverCfgstrgp = "failover_cfgstrgp", 0x709, Some(0x709);
    FailoverPing = "failover_ping", 0x70a, Some(0x70a);
    FailoverPeercfg = "failover_peercfg", 0x70b, Some(0x70b);
    FailoverStart = "failover_start", 0x770, Some(0x770);
    FailoverStop = "failover_stop", 0x771, Some(0x771);
    SetgroupAdd = "setgroup_add", 0x800, Some(0x800);
    SetgroupMod = "setgroup_mod", 0x801, Some(0x801);
    SetgroupDel = "setgroup_del", 0x802, Some(0x802);
    SetgroupIns = "setgroup_ins", 0x803, Some(0x803);
    SetgroupRm = "setgroup_rm", 0x804, Some(0x804);
    StreamPublish = "stream_publish", 0x900, Some(0x900);
    Subscribe = "subscribe", 0x901, Some(0x901);
    StreamUnsubscribe = "stream_unsubscribe", 0x902, Some(0x902);
    StreamClientDump = "stream_client_dump", 0x903, Some(0x903);
    StreamNew = "stream_new", 0x904, Some(0x904);
    StreamStatus = "stream_status", 0x905, Some(0x905);
    StreamDisable = "stream_disable", 0x906, Some(0x906);
    StreamEnable = "stream_enable", 0x907, None;
    AuthAdd = "auth_add", 0xa00, Some(0xa00);
    AuthDel = "auth_del", 0xa01, Some(0xa01);
    QgroupConfig = "qgroup_config", 0xb00, None;
    QgroupMemberAdd = "qgroup_member_add", 0xb01, None;
    QgroupMemberDel = "qgroup_member_del", 0xb02, None;
    QgroupStart = "qgroup_start", 0xb03, None;
    QgroupStop = "qgroup_stop", 0xb04, None;
    QgroupInfo = "qgroup_info", 0xb05, None;
    MsgStats = "msg_stats", 0xc00, None;
    MsgClientStats = "msg_client_stats", 0xc01, None;
    MsgDisable = "msg_disable", 0xc02, None;
    MsgEnable = "msg_enable", 0xc03, None;
    SmplrpAdd = "smplrp_add", 0xd00, None;
    SmplrpDel = "smplrp_del", 0xd01, None;
    SmplrpStart = "smplrp_start", 0xd02, None;
    SmplrpStop = "smplrp_stop", 0xd03, None;
}

impl Verb {
    /// Whether the verb only asks, and so can be sent to a settled daemon without changing it.
    #[must_use]
    pub fn only_asks(self) -> bool {
        matches!(
            self,
            Verb::Greeting
                | Verb::CfgCntr
                | Verb::PrdcrStatus
                | Verb::PrdcrSetStatus
                | Verb::PrdcrHintTree
                | Verb::PrdcrStreamStatus
                | Verb::PrdcrListenStatus
                | Verb::StrgpStatus
                | Verb::StrgpPiStats
                | Verb::UpdtrStatus
                | Verb::UpdtrTask
                | Verb::UpdtrMatchList
                | Verb::PlugnStatus
                | Verb::PlugnSets
                | Verb::DaemonStatus
                | Verb::Version
                | Verb::PrdcrStats
                | Verb::SetStats
                | Verb::XprtStats
                | Verb::ThreadStats
                | Verb::StreamStatus
                | Verb::StreamClientDump
                | Verb::MsgStats
                | Verb::MsgClientStats
        )
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
