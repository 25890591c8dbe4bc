//! What a process has in memory stays there: no core file, and no other process of the user reads it.
//!
//! With `PR_SET_DUMPABLE` 0 (prctl(2)) the kernel writes no core and lets only root trace the process or open its files in
//! `/proc`. The limit for core files (`RLIMIT_CORE`) goes on to the programs that are started, which may get keys as well;
//! the attribute does not. Memory may still be written to swap: the kernel limits how much of it a user may lock.

use crate::error::{Class, Classified};
use nix::sys::prctl::set_dumpable;
use nix::sys::resource::{Resource, setrlimit};

/// The kernel refused; nothing is done with keys then.
#[derive(Debug, thiserror::Error, classified::Cause)]
#[error("cannot keep keys out of core files: {0}")]
pub struct NotPrivate(nix::Error);

impl Classified for NotPrivate {
    fn own_class(&self) -> Option<Class> {
        Some(Class::Failure)
    }
}

/// Called first in each program that may hold keys.
pub fn protect() -> Result<(), NotPrivate> {
    setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(NotPrivate)?;
    set_dumpable(false).map_err(NotPrivate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::prctl::get_dumpable;
    use nix::sys::resource::getrlimit;

    #[test]
    fn a_protected_process_leaves_no_core_and_is_not_read() {
        protect().unwrap();
        assert_eq!(getrlimit(Resource::RLIMIT_CORE), Ok((0, 0)));
        assert_eq!(get_dumpable(), Ok(false));
    }
}
