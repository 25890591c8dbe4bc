//! The rights of a host program beyond those of its user id, if the builder is root.
//!
//! Root's capabilities are dropped for all programs that read untrusted files (capabilities(7)): bounding set,
//! inheritable and ambient set are emptied before such a program starts, and it cannot get them back (`no_new_privs`).
//! Then it opens files like any user, by owner and mode, and can neither change owners, nor mount, nor use devices that
//! do not belong to root. The programs of an ordinary user have no capabilities to drop.

/// The capabilities that a program keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rights {
    kept: &'static str,
}

impl Rights {
    /// None: for programs that only access files that the builder made or put into the store.
    pub const NONE: Self = Self { kept: "" };
    /// `CAP_DAC_READ_SEARCH`: for programs that open an image at the path that the user named, which root may do in
    /// every folder and for every owner. It allows reading, and not writing.
    pub const READ_ANY_FILE: Self = Self { kept: ",+dac_read_search" };

    /// The options of setpriv(1) that drop all other capabilities.
    pub(super) fn options(self) -> [String; 3] {
        [
            format!("--bounding-set=-all{}", self.kept),
            "--inh-caps=-all".to_owned(),
            "--ambient-caps=-all".to_owned(),
        ]
    }
}
