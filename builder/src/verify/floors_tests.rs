//! Images whose systems refuse their seals, or one of them.

use super::*;
use crate::flash::preflight;
use crate::image::fixture::{self, Fixture, Recipe};
use crate::inspect;
use handoff::least_generation::LeastGeneration;
use keys::issue::signing::SigningKey;
use keys::seal::UnverifiedSeal;
use std::fs::File;
use std::os::unix::fs::FileExt as _;

fn open(fixture: &Fixture) -> ImageReader {
    ImageReader::open(&fixture.image.path).unwrap()
}

fn floors(fixture: &Fixture) -> (bool, Result<String, String>) {
    let seen = verify(&open(fixture), None, None).unwrap();
    let others = seen.checks.iter().filter(|check| check.part != "floors");
    assert!(others.clone().all(|check| check.result.is_ok()), "{}", to_text(&seen));
    let result = seen.checks.iter().find(|check| check.part == "floors").unwrap().result.clone();
    (seen.is_whole(), result)
}

/// The bytes of a fixture's seal.
fn seal_of(key: &SigningKey, generation: u64) -> Vec<u8> {
    let fixture = fixture::image_of(&Recipe { generation, ..Recipe::plain(key) });
    slot::seal(&open(&fixture), Slot::A).unwrap().unwrap().bytes().to_vec()
}

fn put(fixture: &Fixture, slot: Slot, seal: &[u8]) {
    let at = fixture.image.plan.partition(Role::Seal(slot)).unwrap().offset.0;
    File::options().write(true).open(&fixture.image.path).unwrap().write_all_at(seal, at).unwrap();
}

#[test]
fn an_image_whose_system_refuses_its_seal_is_not_whole_and_not_flashed() {
    let key = SigningKey::generate().unwrap();
    let (mut all, mut one) = (LeastGeneration::default(), LeastGeneration::default());
    all.raise_all(7);
    one.raise("demo".parse().unwrap(), 5);
    for (least_generation, least) in [(all, 7), (one, 5)] {
        let fixture =
            fixture::image_of(&Recipe { least_generation: least_generation.clone(), ..Recipe::plain(&key) });
        let (whole, found) = floors(&fixture);
        // The reason in the node's own words.
        let seal = UnverifiedSeal::parse(&seal_of(&key, 4)).unwrap();
        let seal = seal.verify(&[key.public().clone()], &"site".parse().unwrap()).unwrap();
        let refusal = seal.at_least(&least_generation).unwrap_err().to_string();
        assert!(
            refusal.contains(&format!("has generation 4, this system accepts generation {least} or later"))
        );
        assert_eq!((whole, found), (false, Err(format!("slot a refuses: seal-a: {refusal}"))));
        let error = preflight(&open(&fixture), None).unwrap_err();
        assert_eq!(error.exit_code(), 65);
        assert!(error.to_string().contains(&refusal), "{error}");
    }
}

#[test]
fn an_image_whose_seal_asks_for_a_newer_system_is_not_whole() {
    let key = SigningKey::generate().unwrap();
    let seal = UnverifiedSeal::parse(&seal_of(&key, 4)).unwrap();
    let header = keys::seal::header::Header { security_epoch: 2, ..seal.unproven_header().clone() };
    let payload = b"age-encryption.org/v1\n-> X25519 a\nb\n--- mac\nbytes";
    let mut bytes = header.encode(payload.len()).into_bytes();
    bytes.extend_from_slice(payload);
    let signature = key.sign(&bytes, "of a test").unwrap();
    bytes.extend_from_slice(signature.as_bytes());
    let fixture = fixture::image_of(&Recipe { seal: Some(&bytes), ..Recipe::plain(&key) });
    let expected =
        "slot a refuses: seal-a: the seal needs a system of security epoch 2 or later, this one has 1";
    assert_eq!(floors(&fixture), (false, Err(expected.into())));
}

#[test]
fn an_older_seal_in_the_other_slot_is_reported_by_verify_and_inspect() {
    let key = SigningKey::generate().unwrap();
    let mut least_generation = LeastGeneration::default();
    least_generation.raise_all(4);
    let fixture = fixture::image_of(&Recipe { least_generation, ..Recipe::plain(&key) });
    let (_, alone) = floors(&fixture);
    let takes = "slot a accepts generation 4 from seal-a (least generation 4; security epoch 1, at least 1)";
    assert_eq!(alone, Ok(takes.into()));
    let seen = inspect::inspect(&fixture.image.path).unwrap();
    assert_eq!(seen.older_seal(), None);
    assert_eq!(inspect::to_json(&seen)["older_seal"], serde_json::Value::Null);
    put(&fixture, Slot::B, &seal_of(&key, 3));
    let not = "but not seal-b: the seal of node demo has generation 3, this system accepts generation 4 or later: an \
               older seal was put back";
    assert_eq!(floors(&fixture), (true, Ok(format!("{takes}, {not}"))));
    let seen = inspect::inspect(&fixture.image.path).unwrap();
    let line =
        "        seal-b is older (generation 3); nodes use seal-a (generation 4) if its signature is valid\n";
    assert!(inspect::to_text(&seen).contains(line), "{}", inspect::to_text(&seen));
    let json = inspect::to_json(&seen);
    assert_eq!(json["format"], 1);
    assert_eq!(json["older_seal"], serde_json::json!({"slot": "b", "serial": 3, "newer": 4}));
}
