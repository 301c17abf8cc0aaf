//! Status replies, which need not be JSON, and other texts of a daemon.

use maestro::ldmsd::status::{
    CollectedSet, DaemonStatus, DaemonVersion, ListenerStatus, PluginSets, PluginStatus, ProducerCounts,
    ProducerStatus, SetInfo, StoragePolicyStatus, UpdateHint, UpdaterMatches, UpdaterStatus, parse,
};

/// Reads the text as everything that a daemon says.
pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(value) = parse::<serde_json::Value>(&text) {
        // What is read is proper JSON, and reads as the same unless a backslash has to stand for itself.
        let proper = value.to_string();
        assert!(proper.contains('\\') || parse::<serde_json::Value>(&proper).is_ok_and(|again| again == value));
    } else {
        // The message shows a part, not the whole.
        let error = parse::<serde_json::Value>(&text).err().map(|error| error.to_string());
        assert!(error.is_some_and(|error| error.chars().count() < 250));
    }
    let _ = (parse::<Vec<ProducerStatus>>(&text), parse::<Vec<CollectedSet>>(&text), parse::<ProducerCounts>(&text));
    let _ = (parse::<Vec<ListenerStatus>>(&text), parse::<Vec<UpdaterStatus>>(&text));
    let _ = (parse::<Vec<UpdaterMatches>>(&text), parse::<Vec<StoragePolicyStatus>>(&text));
    let _ = (parse::<Vec<PluginStatus>>(&text), parse::<Vec<PluginSets>>(&text), parse::<DaemonStatus>(&text));
    let _ = (DaemonVersion::parse(&text), UpdateHint::parse(&text));
    let _ = SetInfo::from_directory(&[data.to_vec(), data.to_vec()]);
}
