//! The scenarios: what is on a disk before, and what a writer must make of it.

use super::case::{Case, Files, Writer};
use super::raw::RawWriter;
use super::states::{Cut, CutKind, Requests, Scratch};
use super::store::{FILE_SYSTEM, MARKS};
use super::wrong::Wrong;
use crate::command::succeed;
use crate::dice::Dice;
use anyhow::{Context as _, Result, ensure};
use builder::secrets::ext4;
use handoff::manifest::RelativePath;
use handoff::paths::{AGE_KEY, SECRET_LABEL};
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The scenarios of the secret partition.
pub(super) const STORE: [&str; 5] =
    ["first-install", "one-change", "many-changes", "key-rotation", "full-partition"];
/// Free blocks of a full partition: ext4 keeps a fiftieth for itself, and little is left for files.
const FREE_BLOCKS: u64 = 4096 / 50 + 8;

/// A scenario with its files.
pub(super) struct Scenario {
    pub(super) name: String,
    pub(super) case: Case,
    pub(super) folder: PathBuf,
    pub(super) base: PathBuf,
    pub(super) image: PathBuf,
    pub(super) log: PathBuf,
    pub(super) raw: Option<RawWriter>,
}

impl Scenario {
    /// Makes the scenario in its own folder.
    pub(super) fn make(name: &str, folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let case_folder = folder.join("case");
        let raw = RawWriter::of_word(name);
        let (old, new) = files(name);
        let wrong = Wrong::ALL.into_iter().find(|wrong| wrong.word() == name);
        let writer = wrong.map_or(Writer::Reconcile, Writer::Wrong);
        let case = Case::make(&case_folder, old.as_ref(), &new, writer)?;
        let base = folder.join("base");
        if let Some(raw) = raw {
            fs::write(&base, raw.base(&case)?)?;
        } else {
            file_system(&base, &case, old.as_ref())?;
            if name == "full-partition" {
                fill(&base, &folder.join("junk"))?;
            }
        }
        let length = fs::metadata(&base)?.len() + MARKS;
        OpenOptions::new().write(true).open(&base)?.set_len(length)?;
        let image = folder.join("image");
        fs::copy(&base, &image)?;
        let log = folder.join("log");
        Ok(Self { name: name.to_owned(), case, folder: case_folder, base, image, log, raw })
    }

    /// Fails unless all recorded writes, applied to the disk before, give the disk after.
    pub(super) fn must_be_recorded_whole(&self, requests: &Requests) -> Result<()> {
        let all = Cut { issued: requests.list().len(), kind: CutKind::Prefix };
        let mut scratch = Scratch::new(fs::read(&self.base)?, requests);
        ensure!(
            scratch.at(&all) == fs::read(&self.image)?,
            "the log of {} does not lead to its disk",
            self.name
        );
        Ok(())
    }
}

/// The files of the old and of the new seal.
fn files(name: &str) -> (Option<Files>, Files) {
    let old: Files = (0..20).map(|number| file(number, 1)).collect();
    let change = |numbers: &[usize]| {
        let mut new = old.clone();
        new.extend(numbers.iter().map(|&number| file(number, 2)));
        new
    };
    match name {
        "first-install" => (None, old),
        "one-change" => (Some(old.clone()), change(&[7])),
        // Twelve files change, two are added, two are removed.
        "many-changes" => {
            let mut new = change(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 20, 21]);
            new.retain(|path, _| *path != file(18, 1).0 && *path != file(19, 1).0);
            (Some(old), new)
        }
        // Keys of a node: host keys, a key of a private network, a certificate with its key.
        "key-rotation" => {
            let keys = |generation: u64| {
                let names = [
                    "ssh_host_ed25519_key",
                    "ssh_host_rsa_key",
                    "wireguard/private.key",
                    "tls/node.key",
                    "tls/node.crt",
                ];
                let pairs = names
                    .iter()
                    .zip(30..)
                    .map(move |(name, number)| ((*name).to_owned(), (0o600, content(number, generation))));
                pairs.collect::<Files>()
            };
            let with =
                |generation| old.clone().into_iter().take(6).chain(keys(generation)).collect::<Files>();
            (Some(with(1)), with(2))
        }
        "full-partition" => (Some(old.clone()), change(&[2, 5, 8, 11, 14, 17])),
        // The writers with known errors get an existing and a missing file; raw writers need any two seals.
        _ => {
            let fewer: Files =
                old.clone().into_iter().filter(|(path, _)| path.ends_with(['0', '1'])).collect();
            let mut new = fewer.clone();
            new.extend([file(0, 2), file(6, 1)]);
            (Some(fewer), new)
        }
    }
}

/// A file of the store; some are in folders, some are empty, some have several blocks.
fn file(number: usize, generation: u64) -> (String, (u32, Vec<u8>)) {
    let folder = ["", "etc/", "etc/ssh/", "var/lib/app/"].get(number % 4).copied().unwrap_or_default();
    let mode = if number.is_multiple_of(3) { 0o644 } else { 0o600 };
    (format!("{folder}file-{number:02}"), (mode, content(number, generation)))
}

fn content(number: usize, generation: u64) -> Vec<u8> {
    let length = [4000, 60, 1024, 0, 9000, 300, 2500][number % 7];
    // The generations of a file differ in content, and mostly in length.
    let length = if generation > 1 { length + 700 * (number % 3) + 1 } else { length };
    let mut dice = Dice::new((number as u64) << 8 | generation);
    let mut bytes: Vec<u8> = (0..length.div_ceil(8)).flat_map(|_| dice.next().to_le_bytes()).collect();
    bytes.truncate(length);
    bytes
}

/// Makes a secret partition as the builder does.
fn file_system(image: &Path, case: &Case, files: Option<&Files>) -> Result<()> {
    let mut plan = ext4::Plan {
        size: FILE_SYSTEM,
        label: SECRET_LABEL,
        uuid: "6c1e6d0a-52a5-4e49-9a5e-2f34c5f0a1d7".parse()?,
        hash_seed: "0f6c7b1e-95a0-4b0a-8b35-6d8f0b1a2c3d".parse()?,
        time: 1_700_000_000,
        files: [(path(AGE_KEY)?, ext4::File { mode: 0o600, uid: 0, gid: 0, content: &case.age_key })].into(),
    };
    for (name, (mode, content)) in files.into_iter().flatten() {
        plan.files.insert(path(name)?, ext4::File { mode: *mode, uid: 0, gid: 0, content });
    }
    Ok(plan.write(image)?)
}

fn path(name: &str) -> Result<RelativePath> {
    RelativePath::new(name).with_context(|| format!("{name} is no path"))
}

/// Fills a file system with a file that is not in any seal, except for a few blocks.
fn fill(image: &Path, junk: &Path) -> Result<()> {
    let shown = succeed(Command::new("dumpe2fs").arg("-h").arg(image))?;
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    let free = shown.lines().find_map(|line| line.strip_prefix("Free blocks:")?.trim().parse::<u64>().ok());
    let length = (free.context("dumpe2fs says nothing of free blocks")? - FREE_BLOCKS) * 1024;
    let mut dice = Dice::new(5);
    let mut file = File::create(junk)?;
    for _ in 0..length / 8 {
        file.write_all(&dice.next().to_le_bytes())?;
    }
    let request = format!("write {} junk", junk.display());
    let output = succeed(Command::new("debugfs").args(["-w", "-R", &request]).arg(image))?;
    let said = String::from_utf8_lossy(&output.stderr).lines().skip(1).collect::<Vec<_>>().join("\n");
    ensure!(said.trim().is_empty(), "debugfs says: {said}");
    Ok(())
}
