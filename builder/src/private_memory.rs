//! Keeps the memory of this process private: no core file, and other processes of the user cannot read it.
//!
//! With `PR_SET_DUMPABLE` 0 (prctl(2)) the kernel writes no core and lets only root trace the process or open its files
//! in `/proc`. Started programs, which may get keys as well, inherit the limit for core files (`RLIMIT_CORE`), but not
//! this attribute. Memory may still be written to swap: the kernel limits how much of it a user may lock.

use crate::error::{Class, Classified};
use nix::sys::prctl::set_dumpable;
use nix::sys::resource::{Resource, setrlimit};

/// The kernel refused, so no keys are used.
#[derive(Debug, thiserror::Error, classified::Cause)]
#[error("cannot keep keys out of core files: {0}")]
pub struct NotPrivate(nix::Error);

impl Classified for NotPrivate {
    fn own_class(&self) -> Option<Class> {
        Some(Class::Failure)
    }
}

/// Must be called first in each program that may hold keys.
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
