//! Whether a program in the new root can run on this machine: checked before the root is moved, because afterwards a
//! failure cannot be undone.

use crate::tree::Tree;
use handoff::architecture::Architecture;
use handoff::bytes::Reader;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{SFlag, fstat};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

const ELF_MAGIC: &[u8; 4] = b"\x7fELF";
const CLASS_64: u8 = 2;
const LITTLE_ENDIAN: u8 = 1;
const SEGMENT_INTERPRETER: u32 = 3;
/// A script's interpreter may be a script; the kernel follows four of them.
const DEEPEST: usize = 4;

/// Why a program cannot run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CannotRun {
    /// It does not exist, or cannot be read.
    #[error("{}: {}", path.display(), errno.desc())]
    Open {
        /// The path of the program in the root.
        path: PathBuf,
        /// The kernel's error.
        errno: Errno,
    },
    /// Not an executable file.
    #[error("{} is not an executable file", .0.display())]
    NotExecutable(PathBuf),
    /// It is neither an ELF program of this machine nor a script.
    #[error("{} is neither an ELF program for {} nor a script", .0.display(), Architecture::OF_THIS_PROGRAM)]
    WrongFormat(PathBuf),
    /// More than [`DEEPEST`] interpreters of interpreters.
    #[error("{} needs an interpreter that needs an interpreter, and so on: too many", .0.display())]
    TooDeep(PathBuf),
}

/// Checks `path` in `tree` and the interpreters that it needs.
pub(crate) fn check(tree: &Tree, path: &Path) -> Result<(), CannotRun> {
    let mut next = path.to_owned();
    for _ in 0..DEEPEST {
        match interpreter(tree, &next)? {
            None => return Ok(()),
            Some(interpreter) => next = interpreter,
        }
    }
    Err(CannotRun::TooDeep(path.to_owned()))
}

/// Checks one program; returns the interpreter that it needs, if any.
fn interpreter(tree: &Tree, path: &Path) -> Result<Option<PathBuf>, CannotRun> {
    let open = |errno| CannotRun::Open { path: path.to_owned(), errno };
    let mut file = File::from(tree.at(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK).map_err(open)?);
    let mode = fstat(&file).map_err(open)?.st_mode;
    if SFlag::from_bits_truncate(mode) & SFlag::S_IFMT != SFlag::S_IFREG || mode & 0o111 == 0 {
        return Err(CannotRun::NotExecutable(path.to_owned()));
    }
    let mut head = Vec::new();
    let unreadable = |error: std::io::Error| open(Errno::from_raw(error.raw_os_error().unwrap_or_default()));
    Read::by_ref(&mut file).take(4096).read_to_end(&mut head).map_err(unreadable)?;
    if let Some(line) = head.strip_prefix(b"#!") {
        let line = line.split(|&byte| byte == b'\n').next().unwrap_or_default();
        let text = String::from_utf8_lossy(line);
        let interpreter = text.split_whitespace().next().map(PathBuf::from);
        return interpreter.map(Some).ok_or(CannotRun::WrongFormat(path.to_owned()));
    }
    let wrong = || CannotRun::WrongFormat(path.to_owned());
    let Linking::Dynamic { offset, length } = linking(&head).ok_or_else(wrong)? else { return Ok(None) };
    let mut name = vec![0; length];
    file.read_exact_at(&mut name, offset).map_err(unreadable)?;
    let name = String::from_utf8_lossy(&name).trim_end_matches('\0').to_owned();
    Ok(Some(PathBuf::from(name)))
}

/// Examines a program's first bytes as [`check`] does, for fuzzing.
#[cfg(feature = "fuzzing")]
pub(crate) fn examine(head: &[u8]) {
    if let Some(Linking::Dynamic { length, .. }) = linking(head) {
        assert!(length <= 4096, "no longer name is read");
    }
}

/// How an ELF program is started.
enum Linking {
    /// Without an interpreter.
    Static,
    /// By the interpreter whose path is in the file.
    Dynamic {
        /// Offset of that path in the file.
        offset: u64,
        /// Bytes of that path.
        length: usize,
    },
}

/// How a program is started; `None` if it is not an ELF program for this machine.
fn linking(head: &[u8]) -> Option<Linking> {
    let mut fields = Reader::new(head);
    if fields.array::<4>().as_ref() != Some(ELF_MAGIC)
        || fields.u8() != Some(CLASS_64)
        || fields.u8() != Some(LITTLE_ENDIAN)
    {
        return None;
    }
    fields.take(10)?;
    // An executable, or a position-independent one.
    if !matches!(fields.u16()?, 2 | 3) || fields.u16()? != Architecture::OF_THIS_PROGRAM.elf_machine {
        return None;
    }
    fields.take(4 + 8)?;
    let segments = usize::try_from(fields.u64()?).ok()?;
    fields.take(8 + 4 + 2)?;
    let (size, count) = (fields.u16()?, fields.u16()?);
    let table = head.get(segments..)?.chunks_exact(usize::from(size).max(1)).take(usize::from(count));
    for segment in table {
        let mut fields = Reader::new(segment);
        if fields.u32()? == SEGMENT_INTERPRETER {
            fields.take(4)?;
            let offset = fields.u64()?;
            fields.take(16)?;
            let length = usize::try_from(fields.u64()?).ok().filter(|&length| length <= 4096)?;
            return Some(Linking::Dynamic { offset, length });
        }
    }
    Some(Linking::Static)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    fn root(name: &str) -> (PathBuf, Tree) {
        let root = std::env::temp_dir().join(format!("program-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&root);
        std::fs::create_dir_all(root.join("sbin")).unwrap();
        let tree = Tree::open(&root).unwrap();
        (root, tree)
    }

    fn put(root: &Path, name: &str, content: &[u8], mode: u32) {
        std::fs::write(root.join(name), content).unwrap();
        std::fs::set_permissions(root.join(name), std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_program_needs_its_interpreter() {
        let (root, tree) = root("interpreter");
        let shell = std::fs::read("/bin/sh").unwrap();
        put(&root, "sbin/real", &shell, 0o755);
        symlink("/sbin/real", root.join("sbin/init")).unwrap();
        let init = Path::new("/sbin/init");
        let loader = PathBuf::from("/lib64/ld-linux-x86-64.so.2");
        assert_eq!(check(&tree, init), Err(CannotRun::Open { path: loader, errno: Errno::ENOENT }));
        std::fs::create_dir(root.join("lib64")).unwrap();
        // In this test, a static program replaces the dynamic linker.
        let mut fixed = shell;
        let segments = 64;
        fixed.truncate(segments);
        fixed[56] = 0;
        put(&root, "lib64/ld-linux-x86-64.so.2", &fixed, 0o755);
        assert_eq!(check(&tree, init), Ok(()));
        put(&root, "sbin/script", b"#! /sbin/init -e\necho\n", 0o755);
        assert_eq!(check(&tree, Path::new("/sbin/script")), Ok(()));
        std::fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn each_reason_has_its_error() {
        let (root, tree) = root("reasons");
        let mut other_machine = std::fs::read("/bin/sh").unwrap();
        other_machine[18] = 183;
        put(&root, "sbin/arm", &other_machine, 0o755);
        put(&root, "sbin/text", b"hello", 0o755);
        put(&root, "sbin/plain", b"#!/sbin/plain", 0o644);
        put(&root, "sbin/loop", b"#!/sbin/loop", 0o755);
        std::fs::create_dir(root.join("sbin/folder")).unwrap();
        let run = |name: &str| check(&tree, &Path::new("/sbin").join(name)).unwrap_err();
        let path = |name: &str| Path::new("/sbin").join(name);
        assert_eq!(run("none"), CannotRun::Open { path: path("none"), errno: Errno::ENOENT });
        assert_eq!(run("arm"), CannotRun::WrongFormat(path("arm")));
        assert_eq!(run("text"), CannotRun::WrongFormat(path("text")));
        assert_eq!(run("plain"), CannotRun::NotExecutable(path("plain")));
        assert_eq!(run("folder"), CannotRun::NotExecutable(path("folder")));
        assert_eq!(run("loop"), CannotRun::TooDeep(path("loop")));
        std::fs::remove_dir_all(root).unwrap();
    }
}
