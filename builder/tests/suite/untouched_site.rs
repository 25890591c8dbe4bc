//! A command reads the site once, decides, and then writes: what it refuses leaves no trace in the site.

use crate::common::Fixture;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use std::collections::BTreeMap;
use std::fs;
use std::mem::MaybeUninit;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Every file and folder below `folder`: mode, time of the last change, and the content of files.
fn snapshot(folder: &Path) -> BTreeMap<PathBuf, (u32, i64, i64, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        #[expect(clippy::disallowed_methods, reason = "what is found is sorted")]
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let facts = fs::symlink_metadata(&path).unwrap();
            let content = if facts.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
            found.insert(path.clone(), (facts.mode(), facts.mtime(), facts.mtime_nsec(), content));
            if facts.is_dir() {
                folders.push(path);
            }
        }
    }
    found
}

/// A site with a sealed node `pi1`, and a node `pi2` that has no keys and needs a file that the site does not have.
fn with_a_node_that_cannot_be_sealed() -> Fixture {
    let fixture = Fixture::new();
    fixture.ends(&["seal", "--site", "site", "--all"], 0);
    fixture.ends(&["init", "site", "--node", "pi2"], 0);
    let node = fixture.at("site/nodes/pi2.toml");
    let text = fs::read_to_string(&node).unwrap();
    fs::write(node, format!("{text}\n[[file]]\npath = \"token\"\nsecret = \"token\"\n")).unwrap();
    fixture
}

#[test]
fn a_command_that_is_refused_leaves_the_site_and_the_notes_as_they_were() {
    let fixture = with_a_node_that_cannot_be_sealed();
    // pi1 would get a new seal, and pi2 its first keys.
    let node = fixture.at("site/nodes/pi1.toml");
    let text = fs::read_to_string(&node).unwrap();
    fs::write(&node, format!("{text}\n[[network]]\nname = \"eth9\"\ndhcp = true\n")).unwrap();
    let before = [snapshot(&fixture.at("site")), snapshot(&fixture.at("config"))];
    for (words, code) in [
        (&["seal", "--all"][..], 66),
        (&["seal", "--all", "--raise", "serial"], 66),
        (&["seal", "--all", "--raise", "release"], 66),
        (&["seal", "--node", "pi2", "--raise", "serial"], 66),
        (&["seal", "--node", "pi1", "--raise", "release"], 77),
        (&["seal", "--node", "pi1", "--above", "9999999999999"], 77),
        (&["mksecrets", "--node", "pi2", "--output", "pi2.img"], 66),
        (&["mksecrets", "--node", "pi3", "--output", "pi3.img"], 66),
        (&["secret", "get", "token"], 66),
        (&["build-image", "--all"], 66),
    ] {
        let words = [words, &["--site", "site"]].concat();
        let (_, complaint) = fixture.ends(&words, code);
        let after = [snapshot(&fixture.at("site")), snapshot(&fixture.at("config"))];
        assert_eq!(after, before, "{words:?}: {complaint}");
    }
    // What was missing is put there, and the same command writes all of it.
    fs::write(&node, text).unwrap();
    let pi2 = fixture.at("site/nodes/pi2.toml");
    let without = fs::read_to_string(&pi2).unwrap().split("\n[[file]]").next().unwrap().to_owned();
    fs::write(&pi2, without).unwrap();
    fixture.ends(&["seal", "--site", "site", "--all", "--raise", "serial"], 0);
    assert!(fs::read_to_string(&pi2).unwrap().contains("recipient = \"age1"));
    assert!(fixture.at("site/seals/pi2.seal").exists());
}

/// How often a file is opened while `work` runs, as the kernel counts it.
fn opened(file: &Path, work: impl FnOnce()) -> usize {
    let watch = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).unwrap();
    // Closing is watched, too, because the kernel merges equal events that follow each other.
    inotify::add_watch(&watch, file, WatchFlags::OPEN | WatchFlags::CLOSE).unwrap();
    work();
    let mut buffer = vec![MaybeUninit::uninit(); 64 << 10];
    let mut events = Reader::new(&watch, &mut buffer);
    let mut count = 0;
    while let Ok(event) = events.next() {
        count += usize::from(event.events().contains(ReadFlags::OPEN));
    }
    count
}

#[test]
fn each_command_reads_the_site_once() {
    let fixture = Fixture::new();
    let node = fixture.at("site/nodes/pi1.toml");
    let run = |words: &[&str], code| {
        let words = [words, &["--site", "site"]].concat();
        opened(&node, || drop(fixture.ends(&words, code)))
    };
    // Once to read the site, once to change this file: the node gets its key.
    assert_eq!(run(&["seal", "--all"], 0), 2);
    // A role's file is only read with the site.
    let role = fixture.at("site/roles/example/role.toml");
    let raise = ["seal", "--all", "--raise", "serial", "--site", "site"];
    assert_eq!(opened(&role, || drop(fixture.ends(&raise, 0))), 1, "{raise:?}");
    for (words, code) in [
        (&["seal", "--all"][..], 0),
        (&["mksecrets", "--node", "pi1", "--output", "secret.img"], 0),
        (&["build-image", "--node", "pi1", "--programs", "nowhere"], 69),
        (&["verify-build", "no.img"], 66),
        (&["why", "pi1"], 66),
        (&["known-hosts"], 0),
        (&["secret", "list"], 0),
        (&["secret", "get", "nothing"], 66),
        (&["trust", "show"], 0),
        (&["trust", "accept"], 0),
        (&["keys", "status"], 0),
        (&["lock", "show"], 66),
        (&["lock", "sign"], 66),
        (&["verify", "no.img"], 66),
        (&["inspect", "no.img"], 66),
        (&["flash", "no.img", "no.stick"], 66),
    ] {
        assert_eq!(run(words, code), 1, "{words:?}");
    }
    let init = ["init", "site", "--node", "pi2"];
    assert_eq!(opened(&node, || drop(fixture.ends(&init, 0))), 1, "{init:?}");
}
