//! The `overlay` kind: a role's `files/` copied over the root, its `templates/` rendered over it.
//!
//! Each file is replaced as a whole, and only if it differs, so that a second run changes nothing and reports that.

use crate::file::{self, FileError, failing};
use crate::role::Role;
use crate::root::Root;
use crate::template::{Renderer, TemplateError};
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

/// Why the files of a role could not be copied or rendered.
#[derive(Debug, thiserror::Error)]
pub enum OverlayError {
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A template could not be rendered.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// Neither a file nor a folder nor a link; holds its path.
    #[error("{path} is not a file, a folder or a link, and a role's files can be nothing else", path = .0.display())]
    OddFile(PathBuf),
}

/// Copies and renders the files of `role` into `root`; returns the absolute paths of those that changed.
pub fn lay(root: &Root, role: &Role, renderer: &Renderer) -> Result<Vec<PathBuf>, OverlayError> {
    let mut changed = Vec::new();
    for (folder, renderer) in [("files", None), ("templates", Some(renderer))] {
        let source = role.folder.join(folder);
        if source.is_dir() {
            lay_folder(&source, &root.at("/"), renderer, &mut changed)?;
        }
    }
    Ok(changed.iter().map(|place| root.absolute(place)).collect())
}

fn lay_folder(
    source: &Path,
    target: &Path,
    renderer: Option<&Renderer>,
    changed: &mut Vec<PathBuf>,
) -> Result<(), OverlayError> {
    for name in file::names(source)? {
        let (from, to) = (source.join(&name), target.join(&name));
        let facts = failing("look at", &from, fs::symlink_metadata(&from))?;
        if facts.is_dir() {
            // A folder may already be a link to one (/bin -> usr/bin): files are then written into the link's target.
            if !to.is_dir() {
                file::create_folder(&to)?;
                let mode = fs::Permissions::from_mode(facts.permissions().mode() & 0o7777);
                failing("set the mode of", &to, fs::set_permissions(&to, mode))?;
            }
            lay_folder(&from, &to, renderer, changed)?;
        } else if facts.is_symlink() {
            if copy_link(&from, &to)? {
                changed.push(to);
            }
        } else if facts.is_file() {
            let content = match renderer {
                None => file::read(&from)?,
                Some(renderer) => {
                    renderer.render(&from.to_string_lossy(), &file::read_text(&from)?)?.into_bytes()
                }
            };
            if file::write(&to, &content, facts.permissions().mode() & 0o7777)? {
                changed.push(to);
            }
        } else {
            return Err(OverlayError::OddFile(from));
        }
    }
    Ok(())
}

fn copy_link(from: &Path, to: &Path) -> Result<bool, FileError> {
    let target = failing("read the link", from, fs::read_link(from))?;
    if fs::read_link(to).is_ok_and(|present| present == target) {
        return Ok(false);
    }
    let temporary = file::temporary_beside(to);
    let _ = fs::remove_file(&temporary);
    failing("make the link", to, symlink(&target, &temporary).and_then(|()| fs::rename(&temporary, to)))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::tests::{FULL, parse};
    use handoff::role_settings::{RoleAction, Stage};

    #[test]
    fn files_links_and_templates_are_written_only_once() {
        let folder = tempfile::tempdir().unwrap();
        let (root, source) = (Root::new(folder.path().join("root")), folder.path().join("role"));
        file::write(&source.join("files/etc/tool.conf"), b"plain {{ x }}\n", 0o644).unwrap();
        file::write(&source.join("files/usr/bin/tool"), b"#!/bin/sh\n", 0o755).unwrap();
        symlink("tool.conf", source.join("files/etc/link")).unwrap();
        file::write(&source.join("templates/etc/motd"), b"{{ greeting }} from {{ node }}\n", 0o644).unwrap();
        let role = Role {
            name: "r".parse().unwrap(),
            folder: source,
            stage: Stage::Configure,
            action: RoleAction::Overlay,
        };
        let renderer = Renderer::new(&parse(FULL).unwrap());

        let changed = lay(&root, &role, &renderer).unwrap();
        let wanted = ["/etc/link", "/etc/tool.conf", "/usr/bin/tool", "/etc/motd"];
        assert_eq!(changed, wanted.map(PathBuf::from));
        assert_eq!(file::read_text(&root.at("/etc/motd")).unwrap(), "hi from node-1\n");
        assert_eq!(file::read_text(&root.at("/etc/link")).unwrap(), "plain {{ x }}\n");
        let mode = fs::metadata(root.at("/usr/bin/tool")).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o755);
        assert_eq!(lay(&root, &role, &renderer).unwrap(), Vec::<PathBuf>::new());
    }
}
