//! The way of a seal from the workstation to the node, and every error on that way.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use handoff::fault::Policy;
use handoff::least_generation::LeastGeneration;
use handoff::manifest::{FileAttributes, FileKind};
use keys::issue::encryption::encrypt;
use keys::issue::identity_file;
use keys::issue::seal_builder::{BuildError, SealBuilder, open_as_admin};
use keys::issue::signing::SigningKey;
use keys::kinds::BadContent;
use keys::seal::header::BadHeader;
use keys::seal::newest::newest;
use keys::seal::payload::BadPayload;
use keys::seal::{SealError, UnverifiedSeal};
use keys::signature::BadSignature;
use support::{Fixture, builder, file, path};

#[test]
fn node_and_admin_open_what_was_sealed() {
    let site = Fixture::new();
    let seal = site.seal(&builder(&[("a", b"one"), ("b/c", b"")]), 3);
    let opened = site.open(&seal);
    assert_eq!(opened.header(), &site.header(3));
    assert_eq!(opened.signer(), site.key.public().id());
    assert_eq!(opened.manifest().entries.len(), 2);
    assert_eq!(opened.content(&path("a")), Some(&b"one"[..]));
    assert_eq!(opened.content(&path("b/c")), Some(&b""[..]));
    assert_eq!(opened.content(&path("d")), None);
    let by_admin = open_as_admin(&seal, &site.trusted(), &site.site, &site.admin).unwrap();
    assert_eq!(by_admin.manifest(), opened.manifest());
    assert_eq!(format!("{opened:?}"), "OpenedSeal(3 of demo)");
}

#[test]
fn a_partition_is_a_seal_and_zeros() {
    let site = Fixture::new();
    let mut partition = site.seal(&builder(&[]), 1);
    let length = partition.len();
    partition.resize(64 * 1024, 0);
    assert_eq!(UnverifiedSeal::parse(&partition).unwrap().bytes().len(), length);
    partition[40_000] = 1;
    assert_eq!(UnverifiedSeal::parse(&partition).unwrap_err(), SealError::Trailing(40_000));
    assert_eq!(UnverifiedSeal::parse(&[0; 4096]).unwrap_err(), SealError::Empty);
    assert_eq!(UnverifiedSeal::parse(&[]).unwrap_err(), SealError::Empty);
    let other = UnverifiedSeal::parse(&[b'x'; 4096]).unwrap_err();
    assert_eq!(other, SealError::Header(BadHeader::NotASeal));
}

#[test]
fn no_flipped_byte_and_no_cut_gets_through() {
    let site = Fixture::new();
    let seal = site.seal(&builder(&[("a", b"one")]), 1);
    let untrusted_comment = {
        let text = String::from_utf8_lossy(&seal).into_owned();
        let at = text.rfind("untrusted comment:").unwrap();
        // Lossy text is longer than the bytes, so the position is counted from the end.
        let from = seal.len() - (text.len() - at);
        from..from + text[at..].find('\n').unwrap()
    };
    for position in 0..seal.len() {
        let mut bad = seal.clone();
        bad[position] ^= 0x01;
        let result = UnverifiedSeal::parse(&bad).and_then(|s| s.verify(&site.trusted(), &site.site));
        // minisign's untrusted comment is the only part that its signature does not cover.
        assert_eq!(result.is_ok(), untrusted_comment.contains(&position), "byte {position}");
    }
    for length in 1..seal.len() {
        let result =
            UnverifiedSeal::parse(&seal[..length]).and_then(|s| s.verify(&site.trusted(), &site.site));
        assert!(result.is_err(), "cut to {length}");
    }
}

/// The error from verifying a seal in which the first `from` was replaced by `to`.
fn verify_changed(site: &Fixture, seal: &[u8], from: &str, to: &str) -> SealError {
    let at = seal.windows(from.len()).position(|window| window == from.as_bytes()).unwrap();
    let mut bad = seal.to_vec();
    bad.splice(at..at + from.len(), to.bytes());
    UnverifiedSeal::parse(&bad).and_then(|s| s.verify(&site.trusted(), &site.site)).unwrap_err()
}

#[test]
fn a_changed_but_valid_header_fails_the_signature() {
    let site = Fixture::new();
    let seal = site.seal(&builder(&[("a", b"one")]), 1);
    let other = identity_file::generate().recipient().to_string();
    for (from, to) in [
        ("site: home", "site: hoMe".to_lowercase().replace("home", "hose").as_str()),
        ("node: demo", "node: dema"),
        (&format!("recipient: {}", site.node.recipient()), &format!("recipient: {other}")),
        ("serial: 1", "serial: 2"),
        ("created: 2023", "created: 2024"),
        ("release-floor: 0", "release-floor: 1"),
    ] {
        match verify_changed(&site, &seal, from, to) {
            SealError::Signature { problem, .. } => {
                assert_eq!(problem, BadSignature::Wrong(site.key.public().id()), "{from}");
            }
            other => panic!("{from}: {other:?}"),
        }
    }
}

#[test]
fn another_payload_length_never_verifies() {
    let site = Fixture::new();
    let seal = site.seal(&builder(&[]), 1);
    let text = String::from_utf8_lossy(&seal).into_owned();
    let line = text.lines().find(|line| line.starts_with("payload: ")).unwrap().to_owned();
    let length: usize = line["payload: ".len()..].parse().unwrap();
    let changed = |to: usize| verify_changed(&site, &seal, &line, &format!("payload: {to}"));
    assert!(matches!(changed(length + 100_000), SealError::Cut { .. }));
    assert!(matches!(changed(usize::MAX), SealError::Cut { .. }));
    for near in [length - 1, length + 1] {
        let error = changed(near);
        assert!(matches!(error, SealError::Signature { .. } | SealError::Trailing(_)), "{error:?}");
    }
}

#[test]
fn only_a_trusted_signer_counts() {
    let (site, other) = (Fixture::new(), Fixture::new());
    let foreign = other.seal(&builder(&[]), 1);
    let error = UnverifiedSeal::parse(&foreign).unwrap().verify(&site.trusted(), &site.site).unwrap_err();
    let signer = other.key.public().id();
    let trusted = vec![site.key.public().id()];
    match &error {
        SealError::Signature { problem, .. } => {
            assert_eq!(*problem, BadSignature::UntrustedKey { signer, trusted });
        }
        other => panic!("{other:?}"),
    }
    assert!(error.to_string().contains(&signer.to_string()), "{error}");
    let expected = "office".parse().unwrap();
    let seal = site.seal(&builder(&[]), 1);
    let error = UnverifiedSeal::parse(&seal).unwrap().verify(&site.trusted(), &expected).unwrap_err();
    assert_eq!(error, SealError::OtherSite { expected, found: site.site.clone() });
}

#[test]
fn the_key_of_another_node_is_named() {
    let site = Fixture::new();
    let other = identity_file::generate();
    let seal = UnverifiedSeal::parse(&site.seal(&builder(&[]), 1)).unwrap();
    let error = seal.verify(&site.trusted(), &site.site).unwrap().open(&other).unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&site.node.recipient().to_string()), "{text}");
    assert!(text.contains(&other.recipient().to_string()), "{text}");
    assert_eq!(
        error,
        SealError::OtherRecipient {
            node: "demo".parse().unwrap(),
            expected: site.node.recipient(),
            found: other.recipient()
        }
    );
}

/// A seal with a valid signature whose payload the builder would not make.
fn signed_payload(site: &Fixture, payload: &[u8]) -> BadPayload {
    let mut seal = site.header(1).encode(payload.len()).into_bytes();
    seal.extend_from_slice(payload);
    let signature = site.key.sign(&seal, "test").unwrap();
    seal.extend_from_slice(signature.as_bytes());
    let seal = UnverifiedSeal::parse(&seal).unwrap().verify(&site.trusted(), &site.site).unwrap();
    match seal.open(&site.node).unwrap_err() {
        SealError::Payload { problem, .. } => problem,
        other => panic!("{other:?}"),
    }
}

fn signed_tar(site: &Fixture, files: &[(&str, &[u8])]) -> BadPayload {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, name, *content).unwrap();
    }
    let tar = tar.into_inner().unwrap();
    signed_payload(site, &encrypt(&[site.node.recipient()], &tar).unwrap())
}

#[test]
fn each_wrong_payload_has_its_error() {
    let site = Fixture::new();
    let to_node = |plain: &[u8]| encrypt(&[site.node.recipient()], plain).unwrap();
    assert_eq!(signed_payload(&site, b"hello"), BadPayload::NotAge);
    let to_admin = encrypt(&[site.admin.recipient()], b"").unwrap();
    assert_eq!(signed_payload(&site, &to_admin), BadPayload::NotForThisKey);
    let mut damaged = to_node(b"content");
    *damaged.last_mut().unwrap() ^= 1;
    assert_eq!(signed_payload(&site, &damaged), BadPayload::Damaged);
    assert_eq!(signed_payload(&site, &to_node(&[b'x'; 1024])), BadPayload::BadTar);
    assert_eq!(signed_payload(&site, &to_node(b"")), BadPayload::NoManifest);
    assert_eq!(signed_tar(&site, &[("files/a", b"one")]), BadPayload::NoManifest);
    assert!(matches!(signed_tar(&site, &[("manifest", b"hello")]), BadPayload::Manifest(_)));
}

#[test]
fn manifest_and_contents_must_cover_each_other() {
    let site = Fixture::new();
    let manifest = builder(&[("a", b"one")]).manifest().unwrap().encode();
    let manifest = manifest.as_bytes();
    let tar = |files: &[(&str, &[u8])]| {
        let mut all = vec![("manifest", manifest)];
        all.extend_from_slice(files);
        signed_tar(&site, &all)
    };
    assert_eq!(tar(&[]), BadPayload::Missing(path("a")));
    assert_eq!(tar(&[("files/a", b"one"), ("files/b", b"")]), BadPayload::Unknown("files/b".into()));
    assert_eq!(tar(&[("files/a", b"one"), ("other", b"")]), BadPayload::Unknown("other".into()));
    assert_eq!(tar(&[("files/a", b"one"), ("files/a", b"one")]), BadPayload::Twice(path("a")));
    assert_eq!(tar(&[("files/a", b"ones")]), BadPayload::Size { path: path("a"), expected: 3, found: 4 });
    assert_eq!(tar(&[("files/a", b"onE")]), BadPayload::Digest(path("a")));
}

#[test]
fn a_kind_is_checked_when_sealing() {
    let mut builder = SealBuilder::new(Policy::default(), false);
    let text = FileAttributes { kind: FileKind::Text, ..file(0o644) };
    let error = builder.add(path("motd"), text.clone(), b"hello".to_vec().into()).unwrap_err();
    assert!(matches!(error, BuildError::Content { problem: BadContent::NoLineEnd, .. }), "{error}");
    builder.add(path("motd"), text.clone(), b"hello\n".to_vec().into()).unwrap();
    let error = builder.add(path("motd"), text, b"hello\n".to_vec().into()).unwrap_err();
    assert!(matches!(error, BuildError::Twice(_)), "{error}");
}

#[test]
fn invalid_paths_are_refused_when_sealing() {
    for (files, problem) in [
        (&["age.key"][..], "is reserved for the node's key"),
        (&["a", "a/b"], "is both a file and a folder"),
        (&["a/.psyops-new"], "is reserved for the temporary files of repairs"),
        (&["lost+found/a"], "is reserved by the file system"),
    ] {
        let files: Vec<(&str, &[u8])> = files.iter().map(|name| (*name, &b""[..])).collect();
        match builder(&files).manifest().unwrap_err() {
            BuildError::Manifest(BadPayload::Path { problem: found, .. }) => assert_eq!(found, problem),
            other => panic!("{other}"),
        }
    }
    let mut twice = builder(&[]);
    for name in ["a", "b"] {
        let file = FileAttributes { install: Some("/etc/motd".into()), ..file(0o644) };
        twice.add(path(name), file, Vec::new().into()).unwrap();
    }
    assert!(matches!(twice.manifest().unwrap_err(), BuildError::SamePlace { .. }));
}

#[test]
fn the_newest_validly_signed_seal_wins() {
    let site = Fixture::new();
    let [old, new] = [7, 8].map(|generation| site.seal(&builder(&[]), generation));
    let mut damaged = site.seal(&builder(&[]), 9);
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    let mut by_other = Fixture::new();
    by_other.key = SigningKey::generate().unwrap();
    let foreign = by_other.seal(&builder(&[]), 99);
    let sources: [(&str, &[u8]); 5] =
        [("a", &old), ("b", &new), ("c", &damaged), ("d", &foreign), ("e", &[0; 100])];
    let outcome = newest(sources, &site.trusted(), &site.site, &LeastGeneration::default());
    let (source, seal) = outcome.chosen.unwrap();
    assert_eq!((source, seal.header().generation.number()), ("b", 8));
    let failed: Vec<&str> = outcome.failed.iter().map(|(source, _)| *source).collect();
    assert_eq!(failed, ["c", "d", "e"]);
    assert_eq!(outcome.failed[2].1, SealError::Empty);
    let none = newest([("e", &[0; 9][..])], &site.trusted(), &site.site, &LeastGeneration::default());
    assert!(none.chosen.is_none());
}

#[test]
fn a_seal_below_the_floor_does_not_count() {
    let site = Fixture::new();
    let [old, new] = [7, 8].map(|generation| site.seal(&builder(&[]), generation));
    let sources: [(&str, &[u8]); 2] = [("a", &old), ("b", &new)];
    let mut floors = LeastGeneration::default();
    floors.raise_all(8);
    let outcome = newest(sources, &site.trusted(), &site.site, &floors);
    assert_eq!(outcome.chosen.unwrap().0, "b");
    let [(source, error)] = &outcome.failed[..] else { panic!("{:?}", outcome.failed) };
    assert!(
        matches!(error, SealError::BelowLeast { generation, least: 8, .. } if *source == "a" && generation.number() == 7)
    );
    // The floor of this node alone is higher.
    floors.raise(UnverifiedSeal::parse(&new).unwrap().unproven_header().node.clone(), 9);
    let outcome = newest(sources, &site.trusted(), &site.site, &floors);
    assert!(outcome.chosen.is_none());
    let refused = outcome.failed[1].1.to_string();
    assert!(refused.contains("has generation 8, this system accepts generation 9 or later"), "{refused}");
}
