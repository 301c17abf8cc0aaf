//! The attributes of requests and their numbers in each numbering family.
//!
//! Several words of the configuration language share one number (`interval`, `reconnect` and `flush`
//! are all 2): an [`Attribute`] is a word, so that a command prints as an operator would write it
//! (the wire specification, section 5.10).

use std::fmt;

use super::verb::Numbering;

macro_rules! attributes {
    ($($variant:ident = $word:literal, $v45:literal, $v44:expr;)*) => {
        /// A word that names an attribute of a request.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Attribute {
            $(#[doc = concat!("`", $word, "`")] $variant,)*
        }

        impl Attribute {
            /// Every attribute word. Of the words that share a number the most general comes first.
            pub const ALL: &'static [Attribute] = &[$(Attribute::$variant,)*];

            /// The word that a configuration file uses.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $(Attribute::$variant => $word,)* }
            }

            /// The attribute that a configuration file calls `word`.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Attribute> {
                match word { $($word => Some(Attribute::$variant),)* _ => None }
            }

            /// The attribute number in a numbering family, `None` where the family has no such attribute.
            #[must_use]
            pub fn id(self, numbering: Numbering) -> Option<u32> {
                match numbering {
                    Numbering::V45 => Some(match self { $(Attribute::$variant => $v45,)* }),
                    Numbering::V44 => match self { $(Attribute::$variant => $v44,)* },
                }
            }

            /// The most general word that has the number `id` in a numbering family.
            #[must_use]
            pub fn from_id(id: u32, numbering: Numbering) -> Option<Attribute> {
                Attribute::ALL.iter().copied().find(|attribute| attribute.id(numbering) == Some(id))
            }
        }
    };
}

attributes! {
    Name = "name", 1, Some(1);
    Interval = "interval", 2, Some(2);
    IntervalUs = "interval_us", 2, Some(2);
    Reconnect = "reconnect", 2, Some(2);
    Flush = "flush", 2, Some(2);
    Offset = "offset", 3, Some(3);
    Regex = "regex", 4, Some(4);
    Type = "type", 5, Some(5);
    Producer = "producer", 6, Some(6);
    Instance = "instance", 7, Some(7);
    Xprt = "xprt", 8, Some(8);
    AdvertiserXprt = "advertiser_xprt", 8, Some(8);
    Host = "host", 9, Some(9);
    Port = "port", 10, Some(10);
    AdvertiserPort = "advertiser_port", 10, Some(10);
    Match = "match", 11, Some(11);
    Plugin = "plugin", 12, Some(12);
    Container = "container", 13, Some(13);
    Schema = "schema", 14, Some(14);
    Metric = "metric", 15, Some(15);
    String = "string", 16, Some(16);
    Udata = "udata", 17, Some(17);
    Base = "base", 18, Some(18);
    Increment = "increment", 19, Some(19);
    Incr = "incr", 19, Some(19);
    Level = "level", 20, Some(20);
    Mode = "mode", 20, Some(20);
    Path = "path", 21, Some(21);
    Time = "time", 22, Some(22);
    Push = "push", 23, Some(23);
    Test = "test", 24, Some(24);
    RecLen = "rec_len", 25, Some(25);
    Json = "json", 26, Some(26);
    Perm = "perm", 27, Some(27);
    AutoSwitch = "auto_switch", 28, Some(28);
    PeerName = "peer_name", 29, Some(29);
    TimeoutFactor = "timeout_factor", 30, Some(30);
    AutoInterval = "auto_interval", 31, Some(31);
    DisableStart = "disable_start", 31, Some(31);
    Uid = "uid", 32, Some(32);
    Gid = "gid", 33, Some(33);
    Stream = "stream", 34, Some(34);
    Auth = "auth", 35, Some(35);
    AdvertiserAuth = "advertiser_auth", 35, Some(35);
    Reset = "reset", 36, Some(36);
    Decomp = "decomp", 37, Some(37);
    Decomposition = "decomposition", 37, Some(37);
    Rail = "rail", 38, None;
    Quota = "quota", 39, None;
    RxRate = "rx_rate", 40, None;
    Summary = "summary", 41, Some(38);
    Size = "size", 42, Some(39);
    Num = "num", 42, Some(39);
    Count = "count", 42, Some(39);
    Depth = "depth", 42, Some(39);
    Ip = "ip", 43, Some(40);
    CacheIp = "cache_ip", 43, Some(40);
    AskInterval = "ask_interval", 44, None;
    AskMark = "ask_mark", 45, None;
    AskAmount = "ask_amount", 46, None;
    ResetInterval = "reset_interval", 47, None;
    Xthread = "xthread", 48, None;
    ExclusiveThread = "exclusive_thread", 48, None;
    MsgTag = "msg_tag", 49, None;
    MessageTag = "message_tag", 49, None;
    MessageChannel = "message_channel", 49, None;
    State = "state", 50, None;
    HistRecal = "hist_recal", 51, None;
    HistRecalibrate = "hist_recalibrate", 51, None;
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
