//! The node's identity in the root, before its first service starts: host name, network, consoles, root's password.
//!
//! Everything comes from `node.toml`; no network is used and no questions are asked. The loader has already installed
//! the node's files (host keys, `authorized_keys`, machine id).

mod consoles;
mod debian;
mod micro;
mod password;

use crate::file::{self, FileError, failing};
use crate::node;
use crate::root::Root;
use handoff::init::InitKind;
use handoff::node_settings::NodeSettings;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

/// Why the identity could not be set.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The kernel refused the host name.
    #[error("cannot set the host name {name:?}: {source}; the identity stage must run as root")]
    HostName {
        /// The host name.
        name: String,
        /// The kernel's error.
        source: std::io::Error,
    },
}

/// Writes the identity of `node`; returns the absolute paths of the files that changed.
pub fn apply(root: &Root, node: &NodeSettings) -> Result<Vec<PathBuf>, IdentityError> {
    let mut changes = Changes { root, changed: Vec::new() };
    host_name(&mut changes, node)?;
    private_home(root)?;
    password::apply(&mut changes, node)?;
    match node::init(node.base, root)? {
        InitKind::Busybox => {
            micro::network(&mut changes, &node.network)?;
            consoles::micro(&mut changes, &node.login, &crate::consoles::working(root))?;
        }
        InitKind::Systemd => {
            debian::network(&mut changes, &node.network)?;
            consoles::debian(&mut changes, &node.login)?;
        }
    }
    Ok(changes.changed)
}

/// The files that are written under a root, and which of them changed.
struct Changes<'a> {
    root: &'a Root,
    changed: Vec<PathBuf>,
}

impl Changes<'_> {
    fn write(&mut self, path: &str, content: &str, mode: u32) -> Result<(), FileError> {
        if file::write(&self.root.at(path), content.as_bytes(), mode)? {
            self.changed.push(path.into());
        }
        Ok(())
    }

    fn read(&self, path: &str) -> Result<String, FileError> {
        match file::read_text(&self.root.at(path)) {
            Err(error) if error.is_missing() => Ok(String::new()),
            other => other,
        }
    }
}

fn host_name(changes: &mut Changes<'_>, node: &NodeSettings) -> Result<(), IdentityError> {
    let name = node.name.as_str();
    if changes.root.is_running_system() {
        rustix::system::sethostname(name.as_bytes())
            .map_err(|source| IdentityError::HostName { name: name.into(), source: source.into() })?;
    }
    if changes.read("/etc/hostname")?.trim_end() != name {
        changes.write("/etc/hostname", &format!("{name}\n"), 0o644)?;
    }
    // Programs look up their own host name, even without a name server.
    let hosts = changes.read("/etc/hosts")?;
    let known = hosts.lines().any(|line| line.split_ascii_whitespace().skip(1).any(|word| word == name));
    if !known {
        let end = if hosts.is_empty() || hosts.ends_with('\n') { "" } else { "\n" };
        changes.write("/etc/hosts", &format!("{hosts}{end}127.0.1.1 {name}\n"), 0o644)?;
    }
    Ok(())
}

/// The home of root has keys: sshd and users expect that no other user can read it.
fn private_home(root: &Root) -> Result<(), FileError> {
    let home = root.at("/root");
    file::create_folder(&home)?;
    failing("set the mode of", &home, fs::set_permissions(&home, fs::Permissions::from_mode(0o700)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::tests::{FULL, parse};

    #[test]
    fn a_micro_node_gets_its_identity_once() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        file::write(&root.at("/etc/hosts"), b"127.0.0.1 localhost", 0o644).unwrap();
        file::write(&root.at("/etc/shadow"), b"root:*:1:0:9:7:::\nsshd:*:1:0:9:7:::\n", 0o644).unwrap();
        let node = parse(FULL).unwrap();
        let changed = apply(&root, &node).unwrap();
        let read = |path: &str| file::read_text(&root.at(path)).unwrap();
        assert_eq!(read("/etc/hostname"), "node-1\n");
        assert_eq!(read("/etc/hosts"), "127.0.0.1 localhost\n127.0.1.1 node-1\n");
        assert!(changed.contains(&"/etc/hosts".into()), "{changed:?}");
        let shadow = fs::metadata(root.at("/etc/shadow")).unwrap();
        assert_eq!(shadow.permissions().mode() & 0o777, 0o600);
        assert_eq!(apply(&root, &node).unwrap(), Vec::<PathBuf>::new());
    }

    #[test]
    fn an_imported_base_is_configured_for_its_init() {
        let networkd = "/etc/systemd/network";
        for (word, has_networkd) in [("busybox\n", false), ("systemd\n", true)] {
            let folder = tempfile::tempdir().unwrap();
            let root = Root::new(folder.path());
            let node = parse(&FULL.replace("base = \"micro\"", "base = \"oci\"")).unwrap();
            assert_eq!(node.base.word(), "oci");
            let error = apply(&root, &node).unwrap_err();
            assert!(error.to_string().contains("usr/share/psyops/init"), "{error}");
            file::write(&root.at(handoff::paths::INIT_KIND), b"openrc\n", 0o644).unwrap();
            let error = apply(&root, &node).unwrap_err();
            assert!(error.to_string().contains("neither busybox nor systemd"), "{error}");
            file::write(&root.at(handoff::paths::INIT_KIND), word.as_bytes(), 0o644).unwrap();
            let changed = apply(&root, &node).unwrap();
            assert_eq!(changed.iter().any(|path| path.starts_with(networkd)), has_networkd, "{changed:?}");
        }
    }
}
