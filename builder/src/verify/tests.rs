use super::*;
use crate::error::Classified as _;
use crate::image::fixture::{self, Fixture, Recipe};
use handoff::control::RECORD_OFFSETS;
use std::fs::File;
use std::os::unix::fs::FileExt as _;

const A: Slot = Slot::A;
const SECTOR: u64 = 512;
const UKI_END: u64 = 64 << 20;

fn look(fixture: &Fixture) -> Verification {
    verify(&ImageReader::open(&fixture.image.path).unwrap(), None, None).unwrap()
}

fn bad(seen: &Verification) -> Vec<(&str, &str)> {
    let problem = |check: &'_ Check| check.result.is_err();
    let bad = seen.checks.iter().filter(|check| problem(check));
    bad.map(|check| (check.part.as_str(), check.result.as_ref().unwrap_err().as_str())).collect()
}

/// Flips a bit, verifies, and flips it back.
fn flipped(fixture: &Fixture, at: u64) -> Verification {
    let file = File::options().read(true).write(true).open(&fixture.image.path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
    let seen = look(fixture);
    file.write_all_at(&byte, at).unwrap();
    seen
}

#[test]
fn a_whole_image_passes_every_check() {
    let fixture = fixture::image();
    let seen = look(&fixture);
    assert!(seen.is_whole(), "{}", to_text(&seen));
    let text = to_text(&seen);
    for words in [
        "both copies of the table are valid",
        "release 1.0",
        "3 MiB, each block",
        "generation 4 of node demo",
        "is whole",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let json = to_json(&seen);
    assert_eq!((&json["whole"], &json["checks"][0]["part"]), (&true.into(), &"partition table".into()));
}

/// Flips a byte in each structure of each part: only that part may be reported, and parts that cannot be checked
/// without it.
#[test]
fn a_flipped_bit_is_found_wherever_it_is() {
    let fixture = fixture::image();
    let end = std::fs::metadata(&fixture.image.path).unwrap().len();
    let plan = &fixture.image.plan;
    let at = |role: Role, offset: u64| plan.partition(role).unwrap().offset.0 + offset;
    let esp = fixture.image.plan.partition(Role::Esp).unwrap().offset.0;
    let fat = |offset: u64| esp + offset;
    let primary = [512, 512 + 16, 512 + 40, 512 + 56, 1024, 1024 + 32, 1024 + 56, 1024 + 128 * 5];
    let backup = [end - 512, end - 512 + 16, end - 512 + 72, end - 33 * SECTOR, end - 33 * SECTOR + 300];
    let table = primary.into_iter().chain(backup).map(|at| (at, "partition table"));
    let on_esp = [11, 13, 16, 36, 44, 67, 71, 82, 510, SECTOR, 6 * SECTOR, 32 * SECTOR, 32 * SECTOR + 8]
        .map(|offset| (fat(offset), "esp"));
    let in_control = RECORD_OFFSETS
        .into_iter()
        .flat_map(|offset| [0, 8, 20, 4095].map(|byte| (at(Role::Control, offset + byte), "control")));
    let in_system =
        [0, 64, 200, 700, 3000, UKI_END - 4096, UKI_END - 4096 + 8, UKI_END - 4096 + 100, UKI_END - 1]
            .map(|offset| (at(Role::Boot(A), offset), "boot-a"));
    let in_data = [0, 4096, 1 << 20, (3 << 20) - 1].map(|offset| (at(Role::Root(A), offset), "root-a"));
    let in_tree = [0, 8, 64, 88, 168, 4000, 4096, 4096 * 2, 4096 * 4]
        .map(|offset| (at(Role::Verity(A), offset), "root-a"));
    let in_seal = [0, 30, 120, 300, 400].map(|offset| (at(Role::Seal(A), offset), "seal-a"));
    let in_secret = [1024 + 4, 1024 + 56, 1024 + 88, 4096].map(|offset| (at(Role::Secret, offset), "secret"));
    let cases: Vec<(u64, &str)> = table
        .chain(on_esp)
        .chain(in_control)
        .chain(in_system)
        .chain(in_data)
        .chain(in_tree)
        .chain(in_seal)
        .chain(in_secret)
        .collect();
    assert!(cases.len() >= 50, "{}", cases.len());
    let mut missed = Vec::new();
    for (at, part) in cases {
        let seen = flipped(&fixture, at);
        let bad = bad(&seen);
        let checked = |problem: &str| problem.contains("cannot be checked");
        let blamed: Vec<&str> =
            bad.iter().filter(|(_, problem)| !checked(problem)).map(|(part, _)| *part).collect();
        if blamed != [part] {
            missed.push(format!("{part} at {at}: {bad:?}"));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
    assert!(look(&fixture).is_whole(), "everything was flipped back");
}

#[test]
fn a_truncated_image_is_reported_as_cut_off() {
    let fixture = fixture::image();
    let file = File::options().write(true).open(&fixture.image.path).unwrap();
    let length = file.metadata().unwrap().len();
    for (left, part) in [(length - 512, "partition table"), (length - (64 << 20), "partition table")] {
        file.set_len(left).unwrap();
        let seen = look(&fixture);
        assert!(bad(&seen).iter().any(|(bad, _)| *bad == part), "{left}: {}", to_text(&seen));
    }
    file.set_len(1 << 20).unwrap();
    let seen = look(&fixture);
    assert!(
        seen.checks.iter().all(|check| check.result.is_err() || !check.was_checked),
        "{}",
        to_text(&seen)
    );
    file.set_len(700).unwrap();
    assert_eq!(ImageReader::open(&fixture.image.path).unwrap_err().exit_code(), 65);
}

#[test]
fn one_slot_may_be_empty_whichever_it_is_but_not_both() {
    let fixture = fixture::image();
    let file = File::options().read(true).write(true).open(&fixture.image.path).unwrap();
    let plan = &fixture.image.plan;
    let roles: [fn(Slot) -> Role; 3] = [Role::Boot, Role::Root, Role::Verity];
    for role in roles {
        let (from, to) = (plan.partition(role(A)).unwrap(), plan.partition(role(Slot::B)).unwrap());
        let mut bytes = vec![0; usize::try_from(from.size.0.min(UKI_END)).unwrap()];
        file.read_exact_at(&mut bytes, from.offset.0).unwrap();
        file.write_all_at(&bytes, to.offset.0).unwrap();
    }
    let empty = |slot| {
        let at = plan.partition(Role::Boot(slot)).unwrap().offset.0 + UKI_END - 4096;
        file.write_all_at(&[0; 4096], at).unwrap();
    };
    assert!(look(&fixture).is_whole(), "{}", to_text(&look(&fixture)));
    empty(A);
    let seen = look(&fixture);
    assert!(seen.is_whole() && to_text(&seen).contains("root-b "), "{}", to_text(&seen));
    empty(Slot::B);
    assert!(["boot-a", "boot-b"].iter().all(|part| bad(&look(&fixture)).iter().any(|(bad, _)| bad == part)));
}

#[test]
fn another_selector_and_another_sites_keys_are_named() {
    let fixture = fixture::image();
    let image = ImageReader::open(&fixture.image.path).unwrap();
    let seen = verify(&image, None, Some(b"selector")).unwrap();
    assert!(seen.is_whole(), "{}", to_text(&seen));
    let seen = verify(&image, None, Some(b"another")).unwrap();
    assert!(bad(&seen).iter().all(|(part, problem)| *part == "esp" && problem.contains("not ")));
    assert_eq!(bad(&seen).len(), 1);
    let other = TrustedKeys { site: "site".parse().unwrap(), keys: Vec::new() };
    let image = ImageReader::open(&fixture.image.path).unwrap();
    let problem = Slots::read(&image, Some(&other)).check(A).unwrap_err();
    assert!(problem.contains("which is not trusted here"), "{problem}");
    assert!(seal(&image, A, &Ok(other)).unwrap_err().contains("not trusted"));
}

/// The initramfs is garbage, but it is never read: the signature is not by a key of the site.
#[test]
fn with_the_sites_keys_nothing_is_unpacked_before_the_signature_is_verified() {
    let fixture = fixture::image();
    let image = ImageReader::open(&fixture.image.path).unwrap();
    let uki = slot::uki(&image, A).unwrap();
    let packed = crate::boot::uki::Uki::parse(&uki.bytes).unwrap();
    let packed = packed.section(crate::boot::uki::Section::Initrd).unwrap();
    let place = uki.bytes.windows(packed.len()).position(|window| window == packed).unwrap();
    let mut bytes = uki.bytes.clone();
    bytes[place..place + 64].fill(0xff);
    let mut record = uki.record.clone();
    record.digest = handoff::hash::Sha256Digest::of(&bytes);
    let file = File::options().write(true).open(&fixture.image.path).unwrap();
    let start = fixture.image.plan.partition(Role::Boot(A)).unwrap().offset.0;
    file.write_all_at(&bytes, start).unwrap();
    file.write_all_at(&record.encode().unwrap(), start + UKI_END - 4096).unwrap();
    let without = Slots::read(&image, None).check(A).unwrap_err();
    assert!(without.starts_with("the initramfs in the UKI cannot be unpacked: "), "{without}");
    let keys = signing_keys(&uki);
    let key = keys[0].id();
    let trusted = TrustedKeys { site: "site".parse().unwrap(), keys };
    let with = Slots::read(&image, Some(&trusted)).check(A).unwrap_err();
    let expected = format!(
        "the UKI: its signature by key {key} does not match its content, which was changed after signing"
    );
    assert_eq!(with, expected);
}

/// The keys that the untouched UKI trusts.
fn signing_keys(uki: &slot::CheckedUki) -> Vec<keys::signature::PublicKey> {
    let packed = crate::boot::uki::Uki::parse(&uki.bytes).unwrap();
    let packed = packed.section(crate::boot::uki::Section::Initrd).unwrap();
    let file = crate::boot::initramfs_reader::file(packed, "psyops/trust", &limits::TRUST).unwrap().unwrap();
    let trust =
        handoff::loader_config::LoaderConfig::decode(std::str::from_utf8(&file.content).unwrap()).unwrap();
    trust.signing_keys.iter().map(|key| key.parse().unwrap()).collect()
}

#[test]
fn a_key_in_a_system_that_is_none_is_a_finding() {
    let signing = keys::issue::signing::SigningKey::generate().unwrap();
    let fixture = fixture::image_of(&Recipe { more_keys: &["nonsense"], ..Recipe::plain(&signing) });
    let image = ImageReader::open(&fixture.image.path).unwrap();
    let found = verify(&image, None, None).unwrap();
    assert!(!found.is_whole());
    let boot = found.checks.iter().find(|check| check.part == "boot-a").unwrap();
    let expected = "the trust file in the UKI: \"nonsense\" is not a minisign public key; expected the second line of a .pub \
                    file (RW...)";
    assert_eq!(boot.result, Err(expected.to_owned()));
}
