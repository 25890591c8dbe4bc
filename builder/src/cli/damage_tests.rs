//! What the commands that read an image report about damaged ones: a table of single flipped bits and of cuts, chosen
//! by structure. No command may panic, none may report a damaged part as whole if the damage can be detected, and each
//! case has its own message.
//!
//! A flipped bit cannot be detected in data that are neither signed nor hashed nor stored twice: the selector's own
//! bytes (only `verify --selector` compares them) and the contents of the secret partition (which the loader compares
//! with the seal).

use super::damage_cases_tests::Damage::{self, Cut, Flip};
use super::damage_cases_tests::DamagePlace::{self, Disk, End, Folder, In, InEnd, SecondTable, Uki};
use super::damage_cases_tests::{BOOT, Case, SEAL, cuts, flips};
use super::{cat, diff, inspect, ls, verify};
use crate::error::{Class, Error};
use crate::image::fixture::{self, Fixture, Recipe};
use crate::image::reader::ImageReader;
use crate::image::slot;
use handoff::partition::Role;
use handoff::slot::Slot;
use keys::issue::signing::SigningKey;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// An image and a copy that is damaged and repaired.
struct DamageFixture {
    sound: Fixture,
    damaged: PathBuf,
    length: u64,
}

impl DamageFixture {
    fn new() -> Self {
        let key = SigningKey::generate().unwrap();
        let root: [(&str, u32, &[u8]); 1] = [("etc/motd", 0o644, b"hello")];
        let secret: [(&str, &[u8]); 1] = [("hostname", b"demo")];
        let sound = fixture::image_of(&Recipe { root: &root, secret: &secret, ..Recipe::plain(&key) });
        let damaged = sound.image.path.with_file_name("damaged.img");
        let length = fs::metadata(&sound.image.path).unwrap().len();
        let fixture = Self { sound, damaged, length };
        fixture.copy();
        fixture
    }

    fn copy(&self) {
        let mut copy = Command::new("cp");
        copy.arg("--sparse=always").arg(&self.sound.image.path).arg(&self.damaged);
        assert!(copy.status().unwrap().success());
    }

    fn at(&self, place: DamagePlace) -> u64 {
        let image = ImageReader::open(&self.sound.image.path).unwrap();
        let partition = |role| image.partition(role).unwrap();
        let start = |role| partition(role).offset.0;
        let esp = || {
            let boot = image.read(Role::Esp, crate::site::Bytes(0), 512).unwrap();
            (8 * 512, u64::from(u32::from_le_bytes(boot[36..40].try_into().unwrap())) * 512)
        };
        match place {
            Disk(at) => at,
            End(back) => self.length - back,
            In(role, at) => start(role) + at,
            InEnd(role, back) => start(role) + partition(role).size.0 - back,
            Uki(quarters) => start(BOOT) + slot::record(&image, Slot::A).unwrap().length * quarters / 4,
            DamagePlace::Seal(words) => {
                let seal = image.read_all(SEAL, &crate::limits::SEAL).unwrap();
                let found = seal.windows(words.len()).position(|window| window == words.as_bytes());
                start(SEAL) + u64::try_from(found.unwrap() + words.len()).unwrap()
            }
            SecondTable => start(Role::Esp) + esp().0 + esp().1 + 12,
            Folder(at) => start(Role::Esp) + esp().0 + 2 * esp().1 + at,
        }
    }

    /// Damages the copy, calls `look` with it, and repairs it.
    fn with(&self, damage: Damage, look: impl FnOnce(&Path)) {
        let file = File::options().read(true).write(true).open(&self.damaged).unwrap();
        match damage {
            Flip(place) => {
                let (at, mut byte) = (self.at(place), [0]);
                file.read_exact_at(&mut byte, at).unwrap();
                file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
                look(&self.damaged);
                file.write_all_at(&byte, at).unwrap();
            }
            Cut(place) => {
                file.set_len(self.at(place)).unwrap();
                look(&self.damaged);
                self.copy();
            }
        }
    }
}

/// The exit code and everything that was printed.
type Said = (u8, String);

fn said<T: ToString>(result: Result<T, Error>, code: impl Fn(&T) -> u8) -> Said {
    match result {
        Ok(output) => (code(&output), output.to_string()),
        Err(error) => (error.class().exit_code(), error.report()),
    }
}

fn run_inspect(image: &Path) -> Said {
    let arguments =
        |svg| inspect::InspectArgs { image: image.to_owned(), site: None, json: false, svg, output: None };
    let text = said(inspect::run(&arguments(false)), |_| 0);
    // What can be shown as text can be drawn, too.
    assert_eq!(said(inspect::run(&arguments(true)), |_| 0).0, text.0);
    text
}

fn run_verify(image: &Path) -> Said {
    let arguments = verify::VerifyArgs {
        image: image.to_owned(),
        site: None,
        selector: None,
        identity: None,
        json: false,
    };
    said(verify::run(&arguments), verify::VerifyOutput::exit_code)
}

fn run_diff(a: &Path, b: &Path) -> Said {
    let arguments = diff::DiffArgs { a: a.to_owned(), b: b.to_owned(), all: false, json: false };
    said(diff::run(&arguments), diff::DiffOutput::exit_code)
}

fn run_ls(image: &Path, path: &str) -> Said {
    said(ls::run(&ls::LsArgs { image: image.to_owned(), path: path.into(), json: false }), |_| 0)
}

fn run_cat(image: &Path, path: &str) -> Said {
    let content = cat::run(&cat::CatArgs { image: image.to_owned(), path: path.into() });
    said(content.map(|bytes| String::from_utf8(bytes).unwrap()), |_| 0)
}

/// A folder and a file of each part, and the file's content.
const FILES: [(&str, &str, &str); 4] = [
    ("esp/EFI/BOOT", "esp/EFI/BOOT/BOOTX64.EFI", "selector"),
    ("initramfs", "initramfs/init", "loader"),
    ("root/etc", "root/etc/motd", "hello"),
    ("secret", "secret/hostname", "demo"),
];

/// The differences from what the case expects.
fn preflight(case: &Case, whole: &Path, image: &Path) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut expect = |holds: bool, command: &str, said: &Said| {
        if !holds {
            wrong.push(format!("{:?}: {command}: {said:?}", case.damage));
        }
    };
    let bad = Class::BadContent.exit_code();
    let seen = run_inspect(image);
    let warnings: Vec<&str> = seen.1.lines().filter(|line| line.starts_with("warning: ")).collect();
    let told = if case.inspect.is_empty() {
        warnings.is_empty()
    } else {
        warnings.iter().any(|line| line.contains(case.inspect))
    };
    expect(seen.0 == 0 && told, "inspect", &seen);
    let seen = run_verify(image);
    let (part, words) = case.verify;
    let told = |line: &str| line.starts_with(&format!("BAD  {part} ")) && line.contains(words);
    expect(seen.0 == 1 && seen.1.lines().any(told), "verify", &seen);
    for (folder, file, content) in FILES {
        let blamed = case.files.iter().find(|(part, _)| folder.split('/').next() == Some(*part));
        let (listed, read) = (run_ls(image, folder), run_cat(image, file));
        let missing = Class::MissingInput.exit_code();
        let failed = |said: &Said, words: &str| {
            let code = if words.starts_with("there is no") { missing } else { bad };
            said.0 == code && said.1.contains(words)
        };
        if let Some((_, words)) = blamed {
            expect(failed(&listed, words), &format!("ls {folder}"), &listed);
            expect(failed(&read, words), &format!("cat {file}"), &read);
        } else {
            let name = file.rsplit('/').next().unwrap_or_default();
            expect(listed.0 == 0 && listed.1.contains(name), &format!("ls {folder}"), &listed);
            expect(read == (0, content.to_owned()), &format!("cat {file}"), &read);
        }
    }
    let seen = run_diff(whole, image);
    let (code, words) = match case.diff.split_once(": ") {
        Some(("0", words)) => (0, words),
        Some(("1", words)) => (1, words),
        _ => (bad, case.diff),
    };
    expect(seen.0 == code && seen.1.contains(words), "diff", &seen);
    wrong
}

#[test]
fn each_damage_is_reported_by_each_command_that_reads_it() {
    let fixture = DamageFixture::new();
    let whole = fixture.sound.image.path.as_path();
    assert_eq!(run_verify(&fixture.damaged).0, 0);
    let cases: Vec<Case> = flips().into_iter().chain(cuts()).collect();
    assert!(cases.len() >= 70, "{}", cases.len());
    let mut wrong = Vec::new();
    let mut verdicts: BTreeMap<String, Damage> = BTreeMap::new();
    for case in &cases {
        fixture.with(case.damage, |image| {
            wrong.extend(preflight(case, whole, image));
            let verdict = run_verify(image).1;
            if let Some(other) = verdicts.insert(verdict, case.damage) {
                wrong.push(format!("{:?} has the words of {other:?}", case.damage));
            }
        });
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    assert_eq!(
        (run_verify(&fixture.damaged).0, run_diff(whole, &fixture.damaged).0),
        (0, 0),
        "all was mended"
    );
}

/// If not even a partition table is left, every command reports that, and where the image ends.
#[test]
fn a_truncated_file_is_not_an_image() {
    let fixture = DamageFixture::new();
    let whole = fixture.sound.image.path.as_path();
    for left in [20 * 512, 1024, 700, 512, 1, 0] {
        fixture.with(Cut(Disk(left)), |image| {
            let mut all =
                vec![run_inspect(image), run_verify(image), run_diff(whole, image), run_diff(image, whole)];
            for (folder, file, _) in FILES {
                all.extend([run_ls(image, folder), run_cat(image, file)]);
            }
            for (code, said) in all {
                let words = format!("but there are only {left}: the image is cut off");
                assert!(
                    code == 65 && said.contains("damaged.img has no valid partition table"),
                    "{left}: {said}"
                );
                assert!(said.contains(&words), "{left}: {said}");
            }
        });
    }
}

/// A stick that is larger than the image that was written to it: the backup table is not at its end.
#[test]
fn a_larger_stick_is_whole_and_its_tables_are_found_where_they_are() {
    let fixture = DamageFixture::new();
    let file = File::options().read(true).write(true).open(&fixture.damaged).unwrap();
    file.set_len(fixture.length + (100 << 20)).unwrap();
    assert_eq!(run_verify(&fixture.damaged).0, 0, "{}", run_verify(&fixture.damaged).1);
    let text = run_diff(&fixture.sound.image.path, &fixture.damaged).1;
    assert!(text.contains("partitions: 1 changed\n  ~ the disk: size "), "{text}");
    fixture.with(Flip(Disk(512 + 20)), |image| {
        let (code, text) = run_verify(image);
        assert!(code == 1 && text.contains("the primary partition table is damaged"), "{text}");
        assert!(text.contains("ok   root-a "), "the backup is read: {text}");
    });
    fixture.with(Flip(Disk(fixture.length - 100)), |image| assert_eq!(run_verify(image).0, 0));
    fixture.with(Flip(Disk(fixture.length - 512)), |image| {
        let text = run_verify(image).1;
        assert!(text.contains("the backup partition table is damaged"), "{text}");
    });
}
