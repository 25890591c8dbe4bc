//! Texts at the start of console lines by which programs find them: the boot tests and `psyops run` wait for them.

/// Before the boot report, at the beginning of a line; JSON follows.
pub const REPORT: &str = "psyops-report: ";
/// The loader's first line.
pub const LOADER: &str = "psyops initloader ";
/// Before each line of the selector.
pub const SELECTOR: &str = "psyops selector: ";
/// The first line of the rescue screen.
pub const RESCUE: &str = "psyops rescue: ";
/// The last line before the loader starts init.
pub const HANDOVER: &str = "psyops: handing over to ";
/// Before the reason of the last failed boot, printed by the next boot that succeeds.
pub const LAST_FAILURE: &str = "psyops last failure: ";
/// Before each line of a failed step: what failed, on what, what to do.
pub const FAULT: &str = "psyops fault: ";
