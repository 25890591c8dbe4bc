//! The programs `age`, `minisign` and `ssh-keygen` read what this crate writes, and the other way round.
//!
//! They must be installed (Debian packages age, minisign, openssh-client); a missing one fails the test.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use keys::identity::NodeIdentity;
use keys::issue::host_key::HostKey;
use keys::issue::locked::{self, Work};
use keys::issue::signing::{BadSigningKey, SigningKey};
use keys::issue::{encryption, identity_file};
use keys::signature::verify;
use keys::timestamp::Timestamp;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use support::{Fixture, builder};
use tempfile::TempDir;

/// Runs a program in `folder`, which must succeed, and returns its output.
fn run(folder: &Path, program: &str, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{program} is needed for this test: {error}"));
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

fn write_private(path: &Path, content: &[u8]) {
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

fn write_identity(path: &Path, identity: &NodeIdentity) {
    let text = identity_file::text(identity, Timestamp::from_unix(1_700_000_000));
    write_private(path, text.as_bytes());
}

#[test]
fn age_reads_our_identity_and_our_files() {
    let folder = TempDir::new().unwrap();
    let identity = identity_file::generate();
    write_identity(&folder.path().join("key"), &identity);
    let public = run(folder.path(), "age-keygen", &["-y", "key"]);
    assert_eq!(String::from_utf8_lossy(&public).trim(), identity.recipient().to_string());
    let recipients = [identity.recipient()];
    fs::write(folder.path().join("binary"), encryption::encrypt(&recipients, b"value").unwrap()).unwrap();
    let armored = encryption::encrypt_armored(&recipients, b"value").unwrap();
    fs::write(folder.path().join("armored"), armored).unwrap();
    for file in ["binary", "armored"] {
        assert_eq!(run(folder.path(), "age", &["-d", "-i", "key", file]), b"value");
    }
}

#[test]
fn we_read_the_identity_and_the_files_of_age() {
    let folder = TempDir::new().unwrap();
    run(folder.path(), "age-keygen", &["-o", "key"]);
    let identity = NodeIdentity::parse(&fs::read(folder.path().join("key")).unwrap()).unwrap();
    fs::write(folder.path().join("plain"), "value").unwrap();
    let public = identity.recipient().to_string();
    for arguments in [&["-r", &public, "plain"][..], &["-a", "-r", &public, "plain"]] {
        let file = run(folder.path(), "age", arguments);
        assert_eq!(**encryption::decrypt(&identity, &file).unwrap(), *b"value");
    }
}

#[test]
fn minisign_uses_our_keys_and_signatures() {
    let folder = TempDir::new().unwrap();
    let key = SigningKey::generate().unwrap();
    write_private(&folder.path().join("key"), key.text().unwrap().as_bytes());
    fs::write(folder.path().join("key.pub"), key.public_text()).unwrap();
    fs::write(folder.path().join("content"), "content").unwrap();
    fs::write(folder.path().join("content.minisig"), key.sign(b"content", "a comment").unwrap()).unwrap();
    run(folder.path(), "minisign", &["-V", "-p", "key.pub", "-m", "content"]);
    run(folder.path(), "minisign", &["-S", "-W", "-s", "key", "-m", "content", "-x", "theirs"]);
    let theirs = fs::read_to_string(folder.path().join("theirs")).unwrap();
    assert_eq!(verify(b"content", &theirs, std::slice::from_ref(key.public())), Ok(key.public()));
}

#[test]
fn we_use_the_keys_of_minisign() {
    let folder = TempDir::new().unwrap();
    run(folder.path(), "minisign", &["-G", "-W", "-s", "key", "-p", "key.pub"]);
    let key = SigningKey::parse(&fs::read(folder.path().join("key")).unwrap()).unwrap();
    let public = fs::read_to_string(folder.path().join("key.pub")).unwrap();
    assert_eq!(public.lines().nth(1), Some(key.public().as_str()));
    assert!(public.contains(&key.public().id().to_string()), "{public}");
    fs::write(folder.path().join("content"), "content").unwrap();
    fs::write(folder.path().join("content.minisig"), key.sign(b"content", "x").unwrap()).unwrap();
    run(folder.path(), "minisign", &["-V", "-p", "key.pub", "-m", "content"]);
    let public_file = fs::read(folder.path().join("key.pub")).unwrap();
    assert_eq!(SigningKey::parse(&public_file).unwrap_err(), BadSigningKey::NotAKey);
}

#[test]
fn a_seal_comes_apart_with_standard_tools() {
    let folder = TempDir::new().unwrap();
    let site = Fixture::new();
    let seal = site.seal(&builder(&[("a/b", b"content")]), 1);
    let at = |text: &[u8]| seal.windows(text.len()).rposition(|window| window == text).unwrap();
    let signature = at(b"untrusted comment: ");
    let payload = seal.windows(2).position(|window| window == b"\n\n").unwrap() + 2;
    fs::write(folder.path().join("signed"), &seal[..signature]).unwrap();
    fs::write(folder.path().join("signed.minisig"), &seal[signature..]).unwrap();
    fs::write(folder.path().join("payload"), &seal[payload..signature]).unwrap();
    write_identity(&folder.path().join("key"), &site.node);
    run(folder.path(), "minisign", &["-V", "-P", site.key.public().as_str(), "-m", "signed"]);
    run(folder.path(), "age", &["-d", "-i", "key", "-o", "tar", "payload"]);
    let names = run(folder.path(), "tar", &["-tf", "tar"]);
    assert_eq!(String::from_utf8_lossy(&names), "manifest\nfiles/a/b\n");
    assert_eq!(run(folder.path(), "tar", &["-xOf", "tar", "files/a/b"]), b"content");
}

#[test]
fn ssh_keygen_reads_our_host_key() {
    let folder = TempDir::new().unwrap();
    let key = HostKey::generate("root@demo").unwrap();
    write_private(&folder.path().join("key"), key.private_text().unwrap().as_bytes());
    let listed = String::from_utf8(run(folder.path(), "ssh-keygen", &["-l", "-f", "key"])).unwrap();
    assert!(listed.contains(&key.fingerprint()), "{listed}");
    let public = run(folder.path(), "ssh-keygen", &["-y", "-f", "key"]);
    assert_eq!(String::from_utf8_lossy(&public), key.public_line().unwrap());
    let known = key.known_hosts_line(&["demo", "[localhost]:2222"]).unwrap();
    fs::write(folder.path().join("known_hosts"), known).unwrap();
    for host in ["demo", "[localhost]:2222"] {
        run(folder.path(), "ssh-keygen", &["-F", host, "-f", "known_hosts"]);
    }
    run(folder.path(), "ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-C", "x", "-f", "theirs"]);
    let theirs = HostKey::parse(&fs::read(folder.path().join("theirs")).unwrap()).unwrap();
    let public = fs::read_to_string(folder.path().join("theirs.pub")).unwrap();
    assert_eq!(theirs.public_line().unwrap(), public);
}

#[test]
fn minisign_signs_with_our_locked_key() {
    let folder = TempDir::new().unwrap();
    let key = SigningKey::generate().unwrap();
    let file = locked::lock_signing_key(&key, "correct horse", Work::LEAST).unwrap();
    write_private(&folder.path().join("locked.key"), file.as_bytes());
    fs::write(folder.path().join("content"), "content").unwrap();
    let mut minisign = Command::new("minisign")
        .args(["-S", "-s", "locked.key", "-m", "content", "-t", "by minisign"])
        .current_dir(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    minisign.stdin.take().unwrap().write_all(b"correct horse\n").unwrap();
    assert!(minisign.wait().unwrap().success());
    let signature = fs::read_to_string(folder.path().join("content.minisig")).unwrap();
    assert_eq!(verify(b"content", &signature, &[key.public().clone()]), Ok(key.public()));
}
