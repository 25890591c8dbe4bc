//! The node's settings, as PID 1 wrote them to memory, and what follows from them for this root.

use crate::file::{self, FileError};
use crate::root::Root;
use handoff::advice::WRITE_STICK;
use handoff::base_kind::BaseKind;
use handoff::init::{InitKind, NoInit};
use handoff::node_settings::{BadNodeSettings, NodeSettings};
use handoff::paths::{INIT_KIND, NODE};
use std::io;
use std::path::PathBuf;

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The file cannot be read.
    #[error(
        "{0}; the loader writes it from the seal: write the stick again on the workstation: {WRITE_STICK}"
    )]
    File(#[from] FileError),
    /// The content of the file is not valid.
    #[error("{path}: {problem}", path = path.display())]
    Content {
        /// The path of the file.
        path: PathBuf,
        /// What is not valid, and in which line.
        problem: BadNodeSettings,
    },
}

/// Reads the settings of the node under `root`.
pub fn load(root: &Root) -> Result<NodeSettings, NodeError> {
    let path = root.at(NODE);
    let text = file::read_text(&path)?;
    NodeSettings::decode(&text).map_err(|problem| NodeError::Content { path, problem })
}

/// The init of the root, which decides how the node is configured. For an imported base, the builder found the init and
/// wrote its name into the root.
pub fn init(base: BaseKind, root: &Root) -> Result<InitKind, FileError> {
    match base {
        BaseKind::Micro => return Ok(InitKind::Busybox),
        BaseKind::Debian => return Ok(InitKind::Systemd),
        BaseKind::Tar | BaseKind::Oci => {}
    }
    let path = root.at(INIT_KIND);
    let word = file::read_text(&path)?;
    let kind = word.trim_end().parse().map_err(|problem: NoInit| io::Error::other(problem));
    file::failing("use", &path, kind)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The sample of the format's own tests, in `handoff`.
    pub(crate) const FULL: &str = include_str!("../../handoff/src/node_settings/sample.toml");

    pub(crate) fn parse(text: &str) -> Result<NodeSettings, NodeError> {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        file::write(&root.at(NODE), text.as_bytes(), 0o600).unwrap();
        load(&root)
    }

    #[test]
    fn an_invalid_value_is_reported_with_its_file() {
        let error = parse(&FULL.replace("deadline = 7", "deadline = 0")).unwrap_err().to_string();
        assert!(
            error.contains("node.toml: configure.deadline = \"0\": it must be at least 1 second"),
            "{error}"
        );
        let error = parse(&FULL.replace("retries", "retrys")).unwrap_err().to_string();
        assert!(error.contains("node.toml: line 20: "), "{error}");
        assert!(matches!(load(&Root::new("/nowhere")), Err(NodeError::File(error)) if error.is_missing()));
    }

    #[test]
    fn the_init_of_an_imported_base_is_read_from_its_root() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        assert_eq!(init(BaseKind::Micro, &root).unwrap(), InitKind::Busybox);
        assert!(init(BaseKind::Oci, &root).unwrap_err().is_missing());
        file::write(&root.at(INIT_KIND), b"systemd\n", 0o644).unwrap();
        assert_eq!(init(BaseKind::Oci, &root).unwrap(), InitKind::Systemd);
        file::write(&root.at(INIT_KIND), b"openrc\n", 0o644).unwrap();
        assert!(!init(BaseKind::Tar, &root).unwrap_err().is_missing());
    }
}
