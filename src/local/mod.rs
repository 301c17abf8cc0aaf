//! The daemons that live on this machine: which they are, how ldmsd is started for each, and how they are kept running.
//!
//! - `this_host`, `residents`: the names and addresses of this machine, and the daemons whose host it is.
//! - `lookup`: host names that only the resolver can tell.
//! - `launch`: the process of a daemon as plain data, and where ldmsd is.
//! - `supervisor`: starting, restarting, stopping, as a pure state machine; `notice`: what it says.
//! - `aggregators`: which of them maestro itself starts, when it is asked to.
//! - `keeper`: the processes, files and clock around it; `process`, `files`, `pid_file`: its parts.
//!
//! What real daemons showed, on the lines 4.4, 4.5 and the development head 4.5.1:
//!
//! - A line of the configuration file that is refused ends ldmsd with the error's number as its exit status; the last
//!   lines of its log say which line it was, but now and then the log of such a short life stays empty.
//! - 4.4 goes into the background without `-F`, and writes no pid file with it. The others ignore `-F`.
//! - SIGTERM ends an ldmsd within some milliseconds with status 0; one that is stopped (SIGSTOP) only SIGKILL.
//! - `listen` in the file for a port that `-x` named already ends ldmsd with status 17; a port in use with 7.
//! - `HOSTNAME`, which configurations refer to, is rarely in the environment: an unset name expands to nothing.

mod aggregators;
mod files;
mod keeper;
mod launch;
mod lookup;
mod notice;
mod pid_file;
mod process;
mod residents;
mod supervisor;
mod this_host;

pub use aggregators::keep_aggregators;
pub use keeper::{LocalDaemon, keep};
pub use launch::{Launch, find_ldmsd};
pub use lookup::{hosts_here, residents};
pub use notice::Notice;
pub use supervisor::{Action, Ending, Event, Found, Supervisor};
pub use this_host::ThisHost;
