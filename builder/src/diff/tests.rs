use super::*;
use crate::image::fixture::{self, Recipe};
use handoff::hash::Sha256Digest;
use keys::issue::signing::SigningKey;
use std::fs::File;
use std::os::unix::fs::FileExt as _;

const SPDX: &str = "usr/share/psyops/sbom.spdx.json";
const OLD: &[u8] =
    br#"{"packages":[{"name":"busybox","versionInfo":"1.35"},{"name":"gone","versionInfo":"1"}]}"#;
const NEW: &[u8] =
    br#"{"packages":[{"name":"busybox","versionInfo":"1.36"},{"name":"new","versionInfo":"2"}]}"#;

/// Part, kind, name and differing facts of each change.
fn told(difference: &Difference) -> Vec<String> {
    let lines = difference.sections.iter().flat_map(|section| {
        let line = |change: &Change| {
            let whats: Vec<&str> = change.details.iter().map(|detail| detail.what).collect();
            format!("{} {} {}: {}", section.part, change.kind.word(), change.name, whats.join(" "))
        };
        section.changes.iter().map(line)
    });
    lines.collect()
}

#[test]
fn an_image_is_the_same_as_itself() {
    let fixture = fixture::image();
    let image = fixture.image.path.as_path();
    let difference = diff(image, image).unwrap();
    assert!(difference.is_same() && difference.damaged.is_empty(), "{difference:?}");
    let text = to_text(&difference, false);
    // The root is not a file system, and it was not read.
    let same = "the same: packages-a, root-a, kernel-a, command-line-a, initramfs-a, system-a, keys-a, seal-a, seal-b, \
                partitions, esp, control, secret\n";
    assert!(text.ends_with(same), "{text}");
    assert_eq!(to_json(&difference)["same"], true);
}

#[test]
fn differences_are_listed_part_by_part() {
    let (one, two) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
    let plain = Recipe::plain(&one);
    let secret: [(&str, &[u8]); 1] = [("hostname", b"pi1 is its name\n")];
    let other_secret: [(&str, &[u8]); 1] = [("hostname", b"pi2 is its name\n")];
    let root: [(&str, u32, &[u8]); 4] = [
        ("etc/motd", 0o644, b"hello"),
        ("etc/old", 0o600, b""),
        ("etc/su", 0o755, b"su"),
        (SPDX, 0o644, OLD),
    ];
    let other_root: [(&str, u32, &[u8]); 4] = [
        ("etc/motd", 0o644, b"world"),
        ("etc/new", 0o600, b""),
        ("etc/su", 0o4755, b"su"),
        (SPDX, 0o644, NEW),
    ];
    let a = fixture::image_of(&Recipe { root: &root, secret: &secret, ..plain });
    // Bytes that cannot be compressed: however long the packed keys are, the UKI has another size.
    let loader: Vec<u8> = (0_u8..128).flat_map(|number| *Sha256Digest::of(&[number]).as_bytes()).collect();
    let b = fixture::image_of(&Recipe {
        signing: &two,
        release: "1.1",
        generation: 5,
        selector: b"Selector",
        loader: &loader,
        uname: "6.1.1-test",
        words: "debug",
        root: &other_root,
        secret: &other_secret,
        ..Recipe::plain(&one)
    });
    let difference = diff(&a.image.path, &b.image.path).unwrap();
    let [old, new] = [&one, &two].map(|key| key.public().id());
    let mut keys = [format!("keys removed trusted key {old}: "), format!("keys added trusted key {new}: ")];
    keys.sort_by_key(|line| line.rsplit("key ").next().map(str::to_owned));
    let [first_key, second_key] = keys.each_ref().map(String::as_str);
    let expected = [
        "packages changed busybox: version",
        "packages removed gone: version",
        "packages added new: version",
        "root changed etc/motd: content",
        "root added etc/new: kind mode owner size content",
        "root removed etc/old: kind mode owner size content",
        "root changed etc/su: mode",
        "root changed usr/share/psyops/sbom.spdx.json: size content",
        "kernel changed kernel: release",
        "command line changed psyops.roothash: value",
        "command line removed quiet: ",
        "command line added debug: ",
        "initramfs changed init: size content",
        "initramfs changed psyops/trust: content",
        "system changed release: name UKI size UKI",
        "keys changed UKI: signed by",
        first_key,
        second_key,
        "seal changed seal-a: generation signed by content",
        "esp changed EFI/BOOT/BOOTX64.EFI: content",
        "secret changed secret: ",
    ];
    let told = told(&difference);
    assert_eq!(told, expected, "{difference:#?}");
    assert_eq!(difference.damaged, []);

    let text = to_text(&difference, false);
    for line in [
        "packages-a: 1 added, 1 removed, 1 changed\n  + new: version 2\n  - gone: version 1\n  ~ busybox: version 1.35 -> 1.36\n",
        "  ~ etc/su: mode 0755 -> 4755\n",
        "  + etc/new: kind file, mode 0600, owner 0:0, size 0\n",
        "  ~ kernel: release 6.1.0-test -> 6.1.1-test\n",
        "\nsecret: 1 changed\n  ~ secret\n",
        "\nthe same: seal-b, partitions, control\n",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let json = to_json(&difference);
    assert_eq!(
        (&json["same"], &json["parts"][1]["changes"][3]["details"][0]["to"]),
        (&false.into(), &"4755".into())
    );
    for text in [text, json.to_string()] {
        assert!(!text.contains("is its name"), "a secret is shown: {text}");
    }
}

#[test]
fn a_slot_that_only_one_image_has_and_a_list_that_neither_has() {
    let key = SigningKey::generate().unwrap();
    let root: [(&str, u32, &[u8]); 1] = [("etc/motd", 0o644, b"hello")];
    let secret: [(&str, &[u8]); 1] = [("x", b"y")];
    let a = fixture::image_of(&Recipe { secret: &secret, root: &root, ..Recipe::plain(&key) });
    let other: [(&str, u32, &[u8]); 1] = [("etc/motd", 0o600, b"hello")];
    let b = fixture::image_of(&Recipe { secret: &secret, root: &other, ..Recipe::plain(&key) });
    let difference = diff(&a.image.path, &b.image.path).unwrap();
    let text = to_text(&difference, false);
    assert!(text.contains("packages-a: not compared\n  (A: the root has no list of packages"), "{text}");
    assert!(text.contains("root-a: 1 changed\n  ~ etc/motd: mode 0644 -> 0600\n"), "{text}");
    let record = b.image.plan.partition(Role::Boot(Slot::A)).unwrap();
    let file = File::options().write(true).open(&b.image.path).unwrap();
    file.write_all_at(&[0; 4096], record.offset.0 + record.size.0 - 4096).unwrap();
    let difference = diff(&a.image.path, &b.image.path).unwrap();
    let text = to_text(&difference, false);
    assert!(text.contains("system-a: 1 removed\n  - slot a: name 1.0, security epoch 1"), "{text}");
    assert!(difference.damaged.is_empty());
}

#[test]
fn many_files_are_counted_and_shown_on_demand() {
    let change = |number: u32| Change {
        kind: DifferenceKind::Added,
        name: format!("file{number}\n\u{1b}[1m"),
        details: Vec::new(),
    };
    let section = Section::new("root", Some(Slot::A), (0..25).map(change).collect());
    let paths = ["a", "b"].map(PathBuf::from);
    let difference = Difference { paths, sections: vec![section], damaged: Vec::new() };
    let text = to_text(&difference, false);
    assert!(text.contains("root-a: 25 added\n  + file0\\n\\u001b[1m\n"), "{text}");
    assert!(text.ends_with("  … and 5 more added (--all shows them)\n"), "{text}");
    assert_eq!(to_text(&difference, true).matches("  + file").count(), 25);
    assert_eq!(to_json(&difference)["parts"][0]["changes"].as_array().unwrap().len(), 25);
}

#[test]
fn damaged_parts_are_reported_and_the_others_compared() {
    let (one, two) = (fixture::image(), fixture::image());
    let file = File::options().write(true).open(&two.image.path).unwrap();
    for (role, offset) in [(Role::Boot(Slot::A), 100), (Role::Seal(Slot::A), 2), (Role::Control, 9)] {
        file.write_all_at(&[0x55], two.image.plan.partition(role).unwrap().offset.0 + offset).unwrap();
    }
    let difference = diff(&one.image.path, &two.image.path).unwrap();
    let damaged: Vec<_> =
        difference.damaged.iter().map(|damage| (damage.side, damage.part.as_str())).collect();
    assert_eq!(damaged, [(Side::B, "slot a"), (Side::B, "seal-a"), (Side::B, "control")]);
    let parts: Vec<_> = difference.sections.iter().map(|section| section.part).collect();
    assert_eq!(parts, ["seal", "partitions", "esp", "control", "secret"]);
    let text = to_text(&difference, false);
    assert!(
        text.contains("damaged in B: slot a: the UKI has the SHA-256") && text.contains("psyops verify"),
        "{text}"
    );
    assert_eq!(to_json(&difference)["same"], false);
}
