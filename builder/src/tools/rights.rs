//! What a program of the host may do besides what its user id allows, where the builder is root.
//!
//! Root's capabilities are dropped for all that read what others made (capabilities(7)): bounding set, inheritable and
//! ambient set are emptied before such a program starts, and it cannot get them back (`no_new_privs`). It then opens files
//! as any user does, by owner and mode, and neither changes owners, nor mounts, nor reaches devices that are not root's.
//! An ordinary user has none to drop.

/// The capabilities that a program keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rights {
    kept: &'static str,
}

impl Rights {
    /// None: of programs that read and write only what the builder made, or put into the store.
    pub const NONE: Self = Self { kept: "" };
    /// `CAP_DAC_READ_SEARCH`: of programs that open an image where the user named it, which root may do in every folder and
    /// for every owner. It reads, and writes nothing.
    pub const READ_ANY_FILE: Self = Self { kept: ",+dac_read_search" };

    /// The options of setpriv(1) that leave no others.
    pub(super) fn options(self) -> [String; 3] {
        [
            format!("--bounding-set=-all{}", self.kept),
            "--inh-caps=-all".to_owned(),
            "--ambient-caps=-all".to_owned(),
        ]
    }
}
