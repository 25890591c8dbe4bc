//! The owner of the store. Its content is used without further checks: packages by their digests, but results of steps
//! by a digest beside them, which a user who can write there could change as well. So the store and all folders above
//! it must belong to the user or root, and other users must not be able to write to them.

use nix::unistd::{Gid, Group, User, geteuid};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Why a folder cannot be used for a store. It is the inner error of an [`io::Error`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotPrivate {
    /// The folder belongs to another user.
    #[error("{path} is owned by user {owner}, who could change what images are made of")]
    Owner {
        /// The path of the folder.
        path: PathBuf,
        /// The id of its owner.
        owner: u32,
    },
    /// Other users may write to the folder.
    #[error("{path} has mode {mode:04o}: other users could change what images are made of")]
    Mode {
        /// The path of the folder.
        path: PathBuf,
        /// The permission bits of the folder.
        mode: u32,
    },
}

/// The facts of a folder.
#[derive(Debug, Clone, Copy)]
struct Facts {
    owner: u32,
    mode: u32,
    /// Whether the user is the only member of its group.
    own_group: bool,
}

/// Checks the folders of a store, and those above it.
pub(super) fn check(dir: &Path, folders: &[&str]) -> io::Result<()> {
    let me = geteuid().as_raw();
    let facts = |path: &Path| {
        let metadata = fs::metadata(path)?;
        let (owner, mode) = (metadata.uid(), metadata.mode() & 0o7777);
        Ok::<_, io::Error>(Facts { owner, mode, own_group: mode & 0o020 != 0 && is_own(metadata.gid()) })
    };
    // In a user namespace, root may have the id of a user that is not mapped.
    let root = facts(Path::new("/"))?.owner;
    for above in dir.ancestors().skip(1) {
        check_owner(above, facts(above)?, &[me, 0, root], FolderPlace::Above)?;
    }
    for path in folders.iter().map(|folder| dir.join(folder)).chain([dir.to_owned()]) {
        check_owner(&path, facts(&path)?, &[me], FolderPlace::Store)?;
    }
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FolderPlace {
    Above,
    Store,
}

/// Checks owner and mode; `owners` are the allowed owners.
fn check_owner(path: &Path, facts: Facts, owners: &[u32], place: FolderPlace) -> io::Result<()> {
    let path = || path.to_owned();
    let ours = owners.contains(&facts.owner);
    let sticky = place == FolderPlace::Above && facts.mode & 0o1000 != 0;
    let others = if facts.own_group { 0o002 } else { 0o022 };
    let problem = if !ours {
        NotPrivate::Owner { path: path(), owner: facts.owner }
    } else if facts.mode & others != 0 && !sticky {
        NotPrivate::Mode { path: path(), mode: facts.mode }
    } else {
        return Ok(());
    };
    Err(io::Error::new(io::ErrorKind::PermissionDenied, problem))
}

/// Whether a group is the user's own: it has the user's name and no other member.
fn is_own(group: u32) -> bool {
    let user = User::from_uid(geteuid()).ok().flatten();
    let group = Group::from_gid(Gid::from_raw(group)).ok().flatten();
    user.zip(group).is_some_and(|(user, group)| {
        user.gid == group.gid && user.name == group.name && group.mem.iter().all(|name| *name == user.name)
    })
}

#[cfg(test)]
mod tests {
    use super::super::{FOLDERS, Store};
    use super::*;
    use crate::error::{Class, Classified as _};
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_store_that_others_can_write_is_refused_and_a_new_one_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("cache/psyops");
        let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        Store::at(&dir).unwrap();
        assert_eq!((mode(&dir), mode(&dir.join("debs"))), (0o700, 0o700));
        for (path, wrong) in
            [(dir.clone(), 0o777), (dir.join("derived"), 0o707), (folder.path().join("cache"), 0o757)]
        {
            let right = mode(&path);
            set(&path, wrong);
            let error = Store::at(&dir).unwrap_err();
            let problem = format!(
                "{} has mode {wrong:04o}: other users could change what images are made of",
                path.display()
            );
            assert_eq!(error.to_string(), format!("store: {}: {problem}", dir.display()));
            assert_eq!(error.class(), Class::Refused);
            set(&path, right);
        }
        set(&dir, 0o755);
        Store::at(&dir).unwrap();
        assert!(FOLDERS.iter().all(|folder| dir.join(folder).is_dir()));
    }

    #[test]
    fn owners_and_modes_are_checked() {
        let checked = |owner, mode, own_group, place| {
            let owners: &[u32] = if place == FolderPlace::Above { &[1000, 0, 65534] } else { &[1000] };
            let result = check_owner(Path::new("/x"), Facts { owner, mode, own_group }, owners, place);
            result.is_ok()
        };
        for (owner, mode, own_group, above, store) in [
            (1000, 0o700, false, true, true),
            (1000, 0o775, true, true, true),
            (1000, 0o775, false, false, false),
            (1000, 0o1777, false, true, false),
            (0, 0o755, false, true, false),
            (0, 0o1777, false, true, false),
            (0, 0o777, false, false, false),
            (65534, 0o755, false, true, false),
            (1001, 0o700, false, false, false),
        ] {
            assert_eq!(checked(owner, mode, own_group, FolderPlace::Above), above, "{owner} {mode:o}");
            assert_eq!(checked(owner, mode, own_group, FolderPlace::Store), store, "{owner} {mode:o}");
        }
    }
}
