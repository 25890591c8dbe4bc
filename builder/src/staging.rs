//! A private folder for plain text that a host tool must read from a path: in memory, readable only by its owner, and
//! removed when its value is dropped.
//!
//! It never uses a disk by itself: if the host has no folder in memory, the user must name a folder (`PSYOPS_STAGING`).

use crate::error::{Class, Classified};
use crate::scratch::Scratch;
use rustix::fs::statfs;
use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// The environment variable with a folder for plain text of secrets, on any file system.
const VARIABLE: &str = "PSYOPS_STAGING";
/// The file systems that are in memory (statfs(2)): tmpfs and ramfs.
const IN_MEMORY: [u64; 2] = [0x0102_1994, 0x8584_58f6];

/// Why the folder could not be made, or a file not be written to it.
#[derive(Debug, thiserror::Error, classified::Cause)]
pub enum StagingError {
    /// None of the usual folders is in memory: each folder with the reason.
    #[error("there is no folder in memory for the plain text of secrets: {}", tried(.0))]
    NoMemory(Vec<(PathBuf, String)>),
    /// The folder that the user named cannot be used, or a file in it could not be written.
    #[error("cannot stage secrets in {path}: {source}")]
    Write {
        /// The path of the folder or file.
        path: PathBuf,
        /// The error from making or writing it.
        r#source: io::Error,
    },
}

fn tried(places: &[(PathBuf, String)]) -> String {
    let lines: Vec<String> =
        places.iter().map(|(path, problem)| format!("{} {problem}", path.display())).collect();
    lines.join(", ")
}

impl Classified for StagingError {
    fn own_class(&self) -> Option<Class> {
        Some(match self {
            Self::NoMemory(_) => Class::CannotCreate,
            Self::Write { source, .. } => Class::of_writing(source),
        })
    }

    fn own_advice(&self) -> Option<String> {
        match self {
            Self::NoMemory(_) => Some(format!(
                "mount a tmpfs on /dev/shm, or set {VARIABLE} to a folder on an encrypted disk: the keys are written there"
            )),
            Self::Write { .. } => None,
        }
    }
}

/// The prefix of the folder's name.
const PREFIX: &str = "psyops-staging-";

/// A private folder, which is removed when this is dropped.
#[derive(Debug)]
pub struct Staging(Scratch);

impl Staging {
    /// Makes one in the folder that `PSYOPS_STAGING` names, or else under `XDG_RUNTIME_DIR` or `/dev/shm`, if those are
    /// in memory. Folders that killed processes of this user left behind there are removed.
    pub fn new() -> Result<Self, StagingError> {
        let place = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        Self::choose(place(VARIABLE), place("XDG_RUNTIME_DIR").into_iter().chain(["/dev/shm".into()]))
    }

    /// The same for data that is not secret, which may also be on a disk.
    pub fn for_public_data() -> Result<Self, StagingError> {
        Self::new().or_else(|_| {
            let path = env::temp_dir();
            Scratch::within(&path, PREFIX).map(Self).map_err(|source| StagingError::Write { path, source })
        })
    }

    fn choose(
        named: Option<PathBuf>,
        usual: impl IntoIterator<Item = PathBuf>,
    ) -> Result<Self, StagingError> {
        if let Some(path) = named {
            let scratch = Scratch::within(&path, PREFIX);
            return scratch.map(Self).map_err(|source| StagingError::Write { path, source });
        }
        let mut tried = Vec::new();
        for place in usual.into_iter().filter(|place| place.is_absolute()) {
            match is_in_memory(&place)
                .and_then(|memory| memory.then(|| Scratch::within(&place, PREFIX)).transpose())
            {
                Ok(Some(scratch)) => return Ok(Self(scratch)),
                Ok(None) => tried.push((place, "is on a disk".to_owned())),
                Err(source) => tried.push((place, format!("cannot be used ({source})"))),
            }
        }
        Err(StagingError::NoMemory(tried))
    }

    /// The path of the folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file, with the folders above it.
    pub fn write(&self, path: &str, content: &[u8]) -> Result<(), StagingError> {
        let path = self.path().join(path);
        let failed = |source| StagingError::Write { path: path.clone(), source };
        if let Some(folder) = path.parent() {
            self.make_below(folder).map_err(failed)?;
        }
        fs::write(&path, content).map_err(failed)
    }
}

impl Staging {
    /// Makes a folder and those above it, up to the staging folder. The staging folder itself is never made again: a
    /// signal may just have removed it, and a new one would stay.
    fn make_below(&self, folder: &Path) -> io::Result<()> {
        if folder == self.path() || folder.is_dir() {
            return Ok(());
        }
        if let Some(above) = folder.parent() {
            self.make_below(above)?;
        }
        fs::DirBuilder::new().mode(0o700).create(folder)
    }
}

fn is_in_memory(place: &Path) -> io::Result<bool> {
    let kind = statfs(place)?.f_type;
    // The number has 32 bits, and on some machines a sign.
    Ok(IN_MEMORY.iter().any(|memory| u64::try_from(kind & 0xffff_ffff) == Ok(*memory)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder that is never on a tmpfs or ramfs.
    const NOT_IN_MEMORY: &str = "/proc";

    #[test]
    fn a_disk_is_never_chosen_by_itself() {
        let error = Staging::choose(None, [NOT_IN_MEMORY.into()]).unwrap_err();
        assert_eq!(error.class(), Class::CannotCreate);
        assert_eq!(
            error.to_string(),
            "there is no folder in memory for the plain text of secrets: /proc is on a disk"
        );
        assert!(error.advice().unwrap().contains("set PSYOPS_STAGING to a folder"), "{error:?}");
        let disk = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let staging = Staging::choose(Some(disk.path().to_owned()), []).unwrap();
        staging.write("folder/file", b"secret").unwrap();
        assert!(staging.path().starts_with(disk.path()));
        assert_eq!(fs::read(staging.path().join("folder/file")).unwrap(), b"secret");
    }

    #[test]
    fn memory_is_chosen_even_where_the_first_place_is_a_disk() {
        let memory = Path::new("/dev/shm");
        assert!(is_in_memory(memory).unwrap(), "this test needs a tmpfs on /dev/shm");
        let staging = Staging::choose(None, [NOT_IN_MEMORY.into(), memory.to_owned()]).unwrap();
        assert!(staging.path().starts_with(memory) && is_in_memory(staging.path()).unwrap());
    }
}
