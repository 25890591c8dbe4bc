//! The laboratory: makes the scenarios, has them recorded in one machine, and every state looked at in others.

use super::case::{Case, Files, Writer};
use super::dice::Dice;
use super::guest::SAYS;
use super::raw::RawWriter;
use super::states::{Cut, Requests, sample};
use super::store::{FILE_SYSTEM, MARKS};
use super::tally::{Outcome, Report, Tally};
use super::write_log::WriteLog;
use super::wrong::Wrong;
use crate::command::succeed;
use crate::workbench::Workbench;
use crate::world::World;
use anyhow::{Context as _, Result, bail, ensure};
use builder::secrets::ext4;
use handoff::manifest::RelativePath;
use handoff::paths::{AGE_KEY, SECRET_LABEL};
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

/// What is to be done.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The program that has the guest's half: this one, in most cases.
    pub program: PathBuf,
    /// How many states of each scenario of the secret partition are tried. (Those of raw partitions cost nothing: all.)
    pub sample: usize,
    /// Which ones, and the selections of requests.
    pub seed: u64,
    /// Only scenarios with this in their names.
    pub only: Option<String>,
    /// How many machines look at states at the same time.
    pub machines: usize,
    /// Also the writers that do it wrong, which must be caught.
    pub wrong: bool,
}

/// The scenarios of the secret partition.
const STORE: [&str; 5] = ["first-install", "one-change", "many-changes", "key-rotation", "full-partition"];
/// Blocks of a full partition that are free: ext4 keeps a fiftieth for itself, and little is left for files.
const FREE_BLOCKS: u64 = 4096 / 50 + 8;
/// Under emulation, beside other machines, a state takes some tenths of a second.
const PER_STATE: Duration = Duration::from_secs(2);
const START: Duration = Duration::from_mins(4);

/// A scenario on its way.
struct Scenario {
    name: String,
    case: Case,
    folder: PathBuf,
    base: PathBuf,
    image: PathBuf,
    log: PathBuf,
    raw: Option<RawWriter>,
}

/// Runs the scenarios, and counts. States that lost something are in the report; an error means that it does not know.
pub fn run(plan: &Plan) -> Result<Report> {
    let raw = RawWriter::ALL.map(RawWriter::word);
    let wrong = Wrong::ALL.map(Wrong::word);
    let wrong = wrong.into_iter().filter(|_| plan.wrong);
    let folder = tempfile::Builder::new().prefix("powercut-").tempdir()?;
    let wanted = |name: &&str| plan.only.as_ref().is_none_or(|only| name.contains(only.as_str()));
    let mut scenarios = Vec::new();
    for name in STORE.into_iter().chain(raw).chain(wrong).filter(wanted) {
        scenarios
            .push(Scenario::make(name, &folder.path().join(name)).with_context(|| format!("making {name}"))?);
    }
    ensure!(!scenarios.is_empty(), "no scenario has {:?} in its name", plan.only);
    let world = World::micro()?;
    record(plan, &world, &scenarios)?;
    let mut report = Report::default();
    let mut in_machines = Vec::new();
    for scenario in &scenarios {
        let requests = Requests::of(WriteLog::load(&scenario.log)?);
        let cuts = requests.cuts(plan.seed);
        let possible = cuts.len();
        let mut tally = if let Some(writer) = scenario.raw {
            writer.look_at(&scenario.case, fs::read(&scenario.base)?, &requests, &cuts)?
        } else {
            in_machines.push((scenario, sample(cuts, plan.sample, plan.seed)));
            Tally::new(&scenario.name)
        };
        (tally.requests, tally.flushes) = (requests.list().len(), requests.flushes());
        tally.possible = possible;
        tally.wrong = scenario.case.writer != Writer::Reconcile;
        report.tallies.push(tally);
    }
    if !in_machines.is_empty() {
        look(plan, &world, &folder, &in_machines, &mut report)?;
    }
    Ok(report)
}

/// One machine in which every scenario writes to a disk of its own.
fn record(plan: &Plan, world: &World, scenarios: &[Scenario]) -> Result<()> {
    let mut bench = Workbench::around(world, &plan.program, &["e2fsck"])?;
    let mut script = String::new();
    for (scenario, letter) in scenarios.iter().zip('a'..='z') {
        bench.add_as(&scenario.folder, &format!("case/{}", scenario.name))?;
        bench.attach_logged(&scenario.image, &scenario.log)?;
        let name = &scenario.name;
        script.push_str(&format!("powercut guest write {name} /case/{name} /dev/vd{letter} 2>&1\n"));
    }
    let said = bench.run(&script, START)?;
    for scenario in scenarios {
        let done = format!("{SAYS}{} | written", scenario.name);
        ensure!(said.contains(&done), "{} was not recorded:\n{said}", scenario.name);
    }
    Ok(())
}

/// Machines that share the states among them.
fn look(
    plan: &Plan,
    world: &World,
    folder: &TempDir,
    chosen: &[(&Scenario, Vec<Cut>)],
    report: &mut Report,
) -> Result<()> {
    let total: usize = chosen.iter().map(|(_, cuts)| cuts.len()).sum();
    let deadline = START + PER_STATE * u32::try_from(total / plan.machines)?;
    let mut benches = Vec::new();
    for share in 0..plan.machines {
        let mut bench = Workbench::around(world, &plan.program, &["e2fsck"])?;
        let scratch = folder.path().join(format!("scratch-{share}"));
        File::create(&scratch)?.set_len(FILE_SYSTEM)?;
        bench.attach(&scratch);
        let mut letters = 'b'..='z';
        let mut next = || letters.next().context("more disks than letters");
        let mut script = String::new();
        for (scenario, _) in chosen {
            bench.add_as(&scenario.folder, &format!("case/{}", scenario.name))?;
            bench.attach_read_only(&scenario.base);
            bench.attach_read_only(&scenario.log);
            script.push_str(&format!(
                "powercut guest look {name} /case/{name} /dev/vd{base} /dev/vd{log} /dev/vda --sample {sample} \
                 --seed {seed} --share {share} --of {of} 2>&1\n",
                name = scenario.name,
                base = next()?,
                log = next()?,
                sample = plan.sample,
                seed = plan.seed,
                of = plan.machines,
            ));
        }
        benches.push((bench, script));
    }
    let said: Vec<Result<String>> = thread::scope(|scope| {
        let running: Vec<_> =
            benches.iter().map(|(bench, script)| scope.spawn(move || bench.run(script, deadline))).collect();
        let died = || Err(anyhow::anyhow!("the thread of a machine died"));
        running.into_iter().map(|thread| thread.join().unwrap_or_else(|_| died())).collect()
    });
    let said = said.into_iter().collect::<Result<Vec<String>>>()?.concat();
    for (scenario, cuts) in chosen {
        let tally = report.tallies.iter_mut().find(|tally| tally.scenario == scenario.name);
        count(tally.context("a scenario without a tally")?, cuts, &said)?;
    }
    Ok(())
}

/// Counts what the machines said about the states of a scenario; each must have been looked at.
fn count(tally: &mut Tally, cuts: &[Cut], said: &str) -> Result<()> {
    let before = format!("{SAYS}{} | ", tally.scenario);
    for (number, cut) in cuts.iter().enumerate() {
        let start = format!("{before}{number} | {cut} | ");
        let found = said.lines().find_map(|line| line.trim_end().strip_prefix(&start));
        let Some(found) = found else { bail!("nothing was said of {}, {cut}:\n{said}", tally.scenario) };
        let outcome = match found.strip_prefix("LOST ") {
            Some(what) => Err(what.to_owned()),
            None => Ok(Outcome::ALL
                .into_iter()
                .find(|outcome| outcome.word() == found)
                .with_context(|| format!("{found:?} is no outcome"))?),
        };
        tally.count(cut, outcome);
    }
    Ok(())
}

impl Scenario {
    fn make(name: &str, folder: &Path) -> Result<Self> {
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
        // Twelve change, two come, two go.
        "many-changes" => {
            let mut new = change(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 20, 21]);
            new.retain(|path, _| *path != file(18, 1).0 && *path != file(19, 1).0);
            (Some(old), new)
        }
        // What a node proves itself with: host keys, a key of a private network, a certificate with its key.
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
        // The writers that do it wrong get a file that is there and one that is not; raw writers need any two seals.
        _ => {
            let fewer: Files =
                old.clone().into_iter().filter(|(path, _)| path.ends_with(['0', '1'])).collect();
            let mut new = fewer.clone();
            new.extend([file(0, 2), file(6, 1)]);
            (Some(fewer), new)
        }
    }
}

/// A file of the store; some lie in folders, some are empty, some have several blocks.
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

/// A secret partition as the builder makes it.
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

/// Fills a file system with a file that no seal knows, up to a few blocks.
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
