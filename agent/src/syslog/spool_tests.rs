//! The spool across crashes, on a full medium, and with hostile users.

use super::*;
use crate::syslog::datagram::Sender;
use std::fs::OpenOptions;
use std::os::unix::fs::PermissionsExt as _;

const TOTAL: u64 = 1 << 20;

fn from(uid: u32, text: &[u8]) -> Datagram {
    let sender = Sender { pid: 7, uid, gid: uid };
    Datagram { text: text.to_vec(), sender, time_ns: 5, received_ms: 6 }
}

fn open(path: &Path) -> Spool {
    Spool::open(path, TOTAL).unwrap()
}

fn replay_all(spool: &mut Spool) -> Vec<Datagram> {
    let mut out = Vec::new();
    while spool
        .replay_one(|datagram| {
            out.push(datagram.clone());
            true
        })
        .unwrap()
    {}
    out
}

#[test]
fn after_a_crash_only_unreplayed_messages_are_replayed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spool");
    let mut spool = open(&path);
    for text in ["one", "", "three", "four"] {
        spool.append(from(1000, text.as_bytes()));
    }
    assert!(spool.replay_one(|_| true).unwrap());
    assert!(spool.replay_one(|_| true).unwrap());
    assert!(!spool.replay_one(|_| false).unwrap());
    drop(spool);

    let mut spool = open(&path);
    assert_eq!(spool.last(), Some(&from(1000, b"four")));
    spool.append(from(0, b"five"));
    assert_eq!(replay_all(&mut spool), [from(1000, b"three"), from(1000, b"four"), from(0, b"five")]);
    assert!(spool.is_empty());
    spool.settle().unwrap();
    assert!(!path.exists());
}

#[test]
fn a_record_cut_at_any_byte_is_left_out_and_the_next_one_takes_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spool");
    let mut spool = open(&path);
    spool.append(from(0, b"whole"));
    let whole = spool.end;
    spool.append(from(0, b"cut"));
    let cut = spool.end;
    drop(spool);
    let bytes = fs::read(&path).unwrap();
    for length in 0..cut {
        fs::write(&path, &bytes[..usize::try_from(length).unwrap()]).unwrap();
        let mut spool = open(&path);
        spool.append(from(0, b"next"));
        let wanted = if length < whole { vec![] } else { vec![from(0, b"whole")] };
        assert_eq!(replay_all(&mut spool), [wanted, vec![from(0, b"next")]].concat(), "cut at {length}");
    }
}

#[test]
fn a_full_medium_keeps_the_rest_in_memory_in_order_and_within_a_bound() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spool");
    let mut spool = open(&path);
    spool.append(from(0, b"a"));
    // A handle that refuses writes in place of the full medium; later it accepts some again.
    spool.file = File::open(&path).unwrap();
    spool.append(from(0, b"b"));
    spool.file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    spool.append(from(0, b"c"));
    // A quarter of a MiB for a user: 256 datagrams of 1 KiB with their headers do not fit.
    for _ in 0..300 {
        spool.append(from(1000, &[b'x'; 1024]));
    }
    let kept = FALLBACK_TOTAL / 8 / record::size(1024);
    assert_eq!(spool.drops().users[&1000].messages, 300 - kept);
    let all = replay_all(&mut spool);
    let start: Vec<&[u8]> = all.iter().take(3).map(|datagram| datagram.text.as_slice()).collect();
    assert_eq!(start, [b"a", b"b", b"c"]);
    assert_eq!(u64::try_from(all.len()).unwrap(), 3 + kept);
}

#[test]
fn a_share_that_is_full_drops_and_counts_and_is_free_again_after_the_replay() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(&folder.path().join("spool"));
    let fits = TOTAL / 8 / record::size(100);
    for _ in 0..fits + 5 {
        spool.append(from(65_534, &[b'x'; 100]));
    }
    spool.append(from(0, b"root"));
    let dropped = spool.drops().users[&65_534];
    assert_eq!((dropped.messages, dropped.bytes), (5, 500));
    assert_eq!(u64::try_from(replay_all(&mut spool).len()).unwrap(), fits + 1);
    spool.append(from(65_534, b"again"));
    assert_eq!(replay_all(&mut spool), [from(65_534, b"again")]);
    assert_eq!(spool.drops().messages(), 5);
}

#[test]
fn replayed_messages_free_their_space() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spool");
    let mut spool = Spool::open(&path, 64 * TOTAL).unwrap();
    for round in 0..20 {
        for _ in 0..64 {
            spool.append(from(0, &vec![b'x'; 32 * 1024]));
        }
        // The last one always stays, so that the file is never empty.
        for _ in 0..if round == 0 { 63 } else { 64 } {
            assert!(spool.replay_one(|_| true).unwrap());
        }
    }
    assert!(fs::metadata(&path).unwrap().len() > 40 << 20, "the file is long");
    let allocated = fs::metadata(&path).unwrap().blocks() * 512;
    assert!(allocated < 5 << 20, "{allocated} bytes are taken up");
    drop(spool);
    let mut spool = Spool::open(&path, 64 * TOTAL).unwrap();
    assert_eq!(replay_all(&mut spool), [from(0, &vec![b'x'; 32 * 1024])]);
    assert_eq!(fs::metadata(&path).unwrap().len(), FILE_HEADER);
}

#[test]
fn a_file_that_another_user_could_have_planted_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let (path, target) = (folder.path().join("spool"), folder.path().join("target"));
    let check = |what: &str| {
        let mut spool = open(&path);
        spool.append(from(0, b"x"));
        assert_eq!(fs::read(&target).unwrap(), b"precious", "{what}");
        let facts = fs::symlink_metadata(&path).unwrap();
        assert!(facts.is_file() && facts.mode() & 0o7777 == 0o600 && facts.nlink() == 1, "{what}");
        assert_eq!(replay_all(&mut spool), [from(0, b"x")], "{what}");
        fs::remove_file(&path).unwrap();
    };
    fs::write(&target, "precious").unwrap();
    std::os::unix::fs::symlink(&target, &path).unwrap();
    check("a link");
    fs::set_permissions(&target, fs::Permissions::from_mode(0o600)).unwrap();
    fs::hard_link(&target, &path).unwrap();
    check("a hard link");
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)
        .unwrap();
    check("a pipe");
    fs::write(&path, "").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    check("a file that others can write");
}

#[test]
fn process_ids_of_another_boot_are_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spool");
    let mut spool = open(&path);
    spool.append(from(1000, b"before"));
    let header = FileHeader { start: FILE_HEADER, boot_id: [b'x'; BOOT_ID] };
    spool.file.write_all_at(&header.encode(), 0).unwrap();
    drop(spool);
    let mut spool = open(&path);
    spool.append(from(1000, b"after"));
    let before = Datagram { received_ms: 0, ..from(1000, b"before") };
    assert_eq!(replay_all(&mut spool), [before, from(1000, b"after")]);
}
