//! Interrupts a repair at every step, as a power cut would, and checks the result.

#![allow(clippy::unwrap_used, reason = "tests")]

use super::compare::compare;
use super::repair::{Gate, Step, repair, repair_through};
use crate::issue::identity_file;
use crate::issue::seal_builder::SealBuilder;
use crate::issue::signing::SigningKey;
use crate::seal::header::{Generation, Header};
use crate::seal::{OpenedSeal, UnverifiedSeal};
use crate::timestamp::Timestamp;
use handoff::fault::Policy;
use handoff::manifest::{FileAttributes, FileKind, RelativePath, Required, Store};
use nix::errno::Errno;
use nix::unistd::{getegid, geteuid};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use tempfile::TempDir;

/// More bytes than are written at once, so that a cut can fall into the middle of a file.
const LONG: usize = 150_000;

fn seal() -> OpenedSeal {
    let (key, node) = (SigningKey::generate().unwrap(), identity_file::generate());
    let mut builder = SealBuilder::new(Policy::default(), true);
    for (path, content) in [("a/b/new", vec![b'n'; LONG]), ("changed", vec![b'c'; LONG]), ("tree", vec![])] {
        let file = FileAttributes {
            mode: 0o640,
            uid: geteuid().as_raw(),
            gid: getegid().as_raw(),
            kind: FileKind::Opaque,
            store: Store::Disk,
            install: None,
            required: Required::Boot,
        };
        builder.add(RelativePath::new(path).unwrap(), file, content.into()).unwrap();
    }
    let header = Header {
        site: "home".parse().unwrap(),
        node: "demo".parse().unwrap(),
        recipient: node.recipient(),
        generation: Generation::FIRST,
        created: Timestamp::from_unix(0),
        security_epoch: 0,
    };
    let bytes = builder.build(&header, &[], &key).unwrap();
    let trusted = [key.public().clone()];
    UnverifiedSeal::parse(&bytes).unwrap().verify(&trusted, &header.site).unwrap().open(&node).unwrap()
}

/// A store with a missing, a changed and an obstructed file, one unknown file and one leftover.
fn broken_store() -> TempDir {
    let store = TempDir::new().unwrap();
    fs::write(store.path().join("age.key"), "identity").unwrap();
    for (path, mode) in [(store.path().to_owned(), 0o755), (store.path().join("age.key"), 0o644)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    fs::write(store.path().join("changed"), "before").unwrap();
    fs::create_dir_all(store.path().join("tree/with/folders")).unwrap();
    fs::write(store.path().join("unknown"), "x").unwrap();
    fs::write(store.path().join(".psyops-new"), "half").unwrap();
    // A file is in place of a folder.
    fs::write(store.path().join("a"), "x").unwrap();
    store
}

fn run(store: &Path, seal: &OpenedSeal, gate: Gate<'_>) -> bool {
    let comparison = compare(store, seal.manifest()).unwrap();
    repair_through(store, seal, &comparison, gate).is_ok()
}

/// The steps of a whole repair.
fn all_steps(seal: &OpenedSeal) -> Vec<Step> {
    let store = broken_store();
    let mut steps = Vec::new();
    assert!(run(store.path(), seal, &mut |step| {
        steps.push(step);
        Ok(())
    }));
    steps
}

#[test]
fn a_cut_at_any_step_leaves_old_or_new_and_heals() {
    let seal = seal();
    let total = all_steps(&seal).len();
    assert!(total > 25, "{total}");
    for cut in 0..total {
        let store = broken_store();
        let mut count = 0;
        // After the cut nothing works any more: every later step fails too, including cleaning up.
        let finished = run(store.path(), &seal, &mut |_| {
            count += 1;
            if count > cut { Err(Errno::EIO) } else { Ok(()) }
        });
        assert!(!finished, "cut at {cut}");
        let changed = fs::read(store.path().join("changed")).unwrap();
        assert!(changed == b"before" || changed == vec![b'c'; LONG], "torn by the cut at {cut}");
        if let Ok(new) = fs::read(store.path().join("a/b/new")) {
            assert_eq!(new.len(), LONG, "torn by the cut at {cut}");
        }
        let comparison = compare(store.path(), seal.manifest()).unwrap();
        repair(store.path(), &seal, &comparison).unwrap();
        let healed = compare(store.path(), seal.manifest()).unwrap();
        assert_eq!(healed.same.len(), 3, "cut at {cut}: {healed:?}");
        assert!(!healed.needs_repair(seal.manifest()), "cut at {cut}: {healed:?}");
        assert!(healed.unknown.is_empty());
        assert_eq!(fs::read(store.path().join("age.key")).unwrap(), b"identity");
    }
}

#[test]
fn a_failed_step_is_reported_and_leaves_no_temporary_file() {
    let seal = seal();
    for step in [Step::Create, Step::Owner, Step::Write, Step::Mode, Step::SyncFile, Step::Rename] {
        let store = broken_store();
        let comparison = compare(store.path(), seal.manifest()).unwrap();
        let error = repair_through(store.path(), &seal, &comparison, &mut |at| {
            if at == step { Err(Errno::ENOSPC) } else { Ok(()) }
        })
        .unwrap_err();
        // The store's folder and the key, which others can read here, are not written, but flushed.
        let expected = match step {
            Step::Write => 2,
            Step::SyncFile => 5,
            _ => 3,
        };
        assert_eq!(error.failures.len(), expected, "{error:?}");
        assert!(error.failures.iter().all(|failure| failure.step == step), "{error:?}");
        let after = compare(store.path(), seal.manifest()).unwrap();
        assert!(after.leftovers.is_empty(), "{step}: {after:?}");
        assert_eq!(fs::read(store.path().join("changed")).unwrap(), b"before");
    }
}

#[test]
fn a_repair_without_room_is_repeated_after_unknown_files_are_removed() {
    let seal = seal();
    let store = broken_store();
    let comparison = compare(store.path(), seal.manifest()).unwrap();
    let unknown = store.path().join("unknown");
    // Nothing can be written while the file that is not in the seal fills the medium.
    let repaired = repair_through(store.path(), &seal, &comparison, &mut |step| {
        if step == Step::Write && unknown.exists() { Err(Errno::ENOSPC) } else { Ok(()) }
    });
    assert!(repaired.unwrap().iter().any(|repaired| repaired.path == Path::new("changed")));
    let healed = compare(store.path(), seal.manifest()).unwrap();
    assert_eq!((healed.same.len(), healed.unknown.len()), (3, 0), "{healed:?}");
}

#[test]
fn the_order_of_the_steps_survives_a_reset() {
    let steps = all_steps(&seal());
    // Every rename comes after a flush of the file, and is followed by a flush of the folder.
    let renames: Vec<usize> = (0..steps.len()).filter(|&index| steps[index] == Step::Rename).collect();
    assert_eq!(renames.len(), 3);
    for at in renames {
        let before: Vec<Step> =
            steps[..at].iter().copied().filter(|step| *step != Step::Remove).rev().take(3).collect();
        assert_eq!(before[..2], [Step::SyncFile, Step::Mode]);
        assert_eq!(steps[at + 1..at + 3], [Step::SyncFolder, Step::ReadBack]);
    }
}
