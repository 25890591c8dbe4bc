//! What is in a role's folder besides `role.toml`: its program starts on a node, and its files reach it.

use super::entry::SiteEntryKind;
use super::error::SiteError;
use super::folder::SiteFolder;
use super::known::Known;
use super::role_program::RoleProgramProblem;
use handoff::name::Name;
use handoff::role_settings::RoleAction;
use std::io::{self, Read as _};
use std::path::{Component, Path, PathBuf};

/// The folders of a role whose files a node gets: as they are, and rendered.
const OVERLAY_FOLDERS: [&str; 2] = ["files", "templates"];

/// Checks a role's folder for what the role does on a node.
pub(super) fn check(dir: &SiteFolder, role: &Name, action: &RoleAction) -> Result<(), SiteError> {
    match action {
        RoleAction::Overlay => check_folders(dir, role),
        RoleAction::Command { argv, .. } => match argv.first() {
            // As on the node: any other word is searched in PATH there.
            Some(word) if word.contains('/') && !word.starts_with('/') => check_program(dir, role, word),
            _ => Ok(()),
        },
    }
}

fn check_folders(dir: &SiteFolder, role: &Name) -> Result<(), SiteError> {
    let entries = dir.entries().map_err(|source| SiteError::Read { path: dir.path(), source })?;
    for entry in entries.iter().filter(|entry| entry.kind == SiteEntryKind::Folder) {
        let name = entry.name.to_string_lossy();
        if !name.starts_with('.') && !OVERLAY_FOLDERS.contains(&name.as_ref()) {
            return Err(SiteError::RoleFolder {
                role: role.to_string(),
                path: dir.path_of(&entry.name),
                known: Known::near(&name, OVERLAY_FOLDERS),
            });
        }
    }
    Ok(())
}

fn check_program(dir: &SiteFolder, role: &Name, word: &str) -> Result<(), SiteError> {
    // Without `./`.
    let path: PathBuf = Path::new(word).components().filter(|part| *part != Component::CurDir).collect();
    let wrong =
        |problem| SiteError::RoleProgram { role: role.to_string(), path: dir.path_of(&path), problem };
    let file = match dir.file(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(wrong(RoleProgramProblem::Missing));
        }
        other => other.map_err(|source| SiteError::Read { path: dir.path_of(&path), source })?,
    };
    let read = |source| SiteError::Read { path: dir.path_of(&path), source };
    let mode = std::os::unix::fs::MetadataExt::mode(&file.metadata().map_err(read)?);
    // Roots have such a file executable for everyone, and any other for no one.
    if mode & 0o100 == 0 {
        return Err(wrong(RoleProgramProblem::NotExecutable));
    }
    let mut start = Vec::new();
    file.take(256).read_to_end(&mut start).map_err(read)?;
    let first = start.split(|byte| *byte == b'\n').next().unwrap_or_default();
    match first {
        [0x7f, b'E', b'L', b'F', ..] => Ok(()),
        [b'#', b'!', .., b'\r'] => Err(wrong(RoleProgramProblem::CarriageReturn)),
        [b'#', b'!', rest @ ..] if rest.iter().any(|byte| !byte.is_ascii_whitespace()) => Ok(()),
        _ => Err(wrong(RoleProgramProblem::NoInterpreter)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Classified as _;
    use crate::site::tests::Sample;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    const PROGRAM: &str = "roles/example/run.sh";

    fn problem(change: impl FnOnce(&Path)) -> Option<(RoleProgramProblem, String)> {
        let sample = Sample::new();
        change(&sample.0.path().join(PROGRAM));
        match sample.load() {
            Err(error @ SiteError::RoleProgram { problem, .. }) => {
                assert!(
                    error.to_string().starts_with("the role example cannot run its program /"),
                    "{error}"
                );
                Some((problem, error.own_advice().unwrap()))
            }
            loaded => loaded.map(|_| None).unwrap(),
        }
    }

    fn write(path: &Path, content: &[u8]) {
        fs::write(path, content).unwrap();
    }

    #[test]
    fn a_program_that_a_node_cannot_start_is_refused_with_what_to_do() {
        assert_eq!(problem(|_| ()), None);
        for program in [&b"#!/bin/sh\r\nexit\r\n"[..], b"#!/bin/sh\r"] {
            let (found, advice) = problem(|path| write(path, program)).unwrap();
            assert_eq!(found, RoleProgramProblem::CarriageReturn);
            assert!(advice.starts_with("sed -i 's/\\r$//' /"), "{advice}");
        }
        for program in [&b"echo without an interpreter\n"[..], b"", b"#!\n", b"#! \n"] {
            let (found, _) = problem(|path| write(path, program)).unwrap();
            assert_eq!(found, RoleProgramProblem::NoInterpreter, "{program:?}");
        }
        assert_eq!(problem(|path| write(path, b"\x7fELF\x02\x01")), None);
        assert_eq!(problem(|path| write(path, b"#! /bin/sh\nexit")), None);
        let (found, _) = problem(|path| fs::remove_file(path).unwrap()).unwrap();
        assert_eq!(found, RoleProgramProblem::Missing);
        let closed = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
        let (found, advice) = problem(closed).unwrap();
        assert_eq!(found, RoleProgramProblem::NotExecutable);
        assert!(advice.starts_with("chmod +x /") && advice.ends_with(PROGRAM), "{advice}");
    }

    #[test]
    fn a_folder_from_which_no_node_gets_a_file_is_refused() {
        for (name, known) in [("file", "did you mean \"files\"?"), ("etc", "known: files, templates")] {
            let sample = Sample::new();
            let folder = sample.0.path().join("roles/hello").join(name);
            fs::create_dir(&folder).unwrap();
            let error = sample.load().unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("{}: the role hello copies nothing from this folder; {known}", folder.display())
            );
        }
        let sample = Sample::new();
        for allowed in ["roles/hello/files", "roles/hello/.git", "roles/example/data"] {
            fs::create_dir_all(sample.0.path().join(allowed)).unwrap();
        }
        sample.load().unwrap();
    }
}
