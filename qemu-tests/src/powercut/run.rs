//! A run: makes the scenarios, records them in one machine, and checks every state in others.

use super::case::Writer;
use super::guest::SAYS;
use super::raw::RawWriter;
use super::scenario::{STORE, Scenario};
use super::states::{Cut, Requests, sample};
use super::store::FILE_SYSTEM;
use super::tally::{Outcome, Report, Tally};
use super::write_log::WriteLog;
use super::wrong::Wrong;
use crate::site_fixture::SiteFixture;
use crate::tool_vm::ToolVm;
use anyhow::{Context as _, Result, bail, ensure};
use builder::parallel;
use std::fs::{self, File};
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;

/// The options of a run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The program with the part for the guest: usually this one.
    pub program: PathBuf,
    /// How many states of each scenario of the secret partition are tried. (Those of raw partitions are fast: all.)
    pub sample: usize,
    /// The seed for the choice of states and the selections of requests.
    pub seed: u64,
    /// Only scenarios with this in their names.
    pub only: Option<String>,
    /// How many machines check states at the same time.
    pub machines: usize,
    /// Also run the writers with known errors, whose losses must be found.
    pub wrong: bool,
}

/// Under emulation, beside other machines, a state takes some tenths of a second.
const PER_STATE: Duration = Duration::from_secs(2);
const START: Duration = Duration::from_mins(4);

/// Runs the scenarios, and counts. Lost files are in the report; an error means that the result is not known.
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
    let fixture = SiteFixture::micro()?;
    record(plan, &fixture, &scenarios)?;
    let mut report = Report::default();
    let mut in_machines = Vec::new();
    for scenario in &scenarios {
        let requests = Requests::of(WriteLog::load(&scenario.log)?);
        scenario.must_be_recorded_whole(&requests)?;
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
        look(plan, &fixture, &folder, &in_machines, &mut report)?;
    }
    Ok(report)
}

/// Starts one machine in which every scenario writes to its own disk.
fn record(plan: &Plan, fixture: &SiteFixture, scenarios: &[Scenario]) -> Result<()> {
    let mut bench = ToolVm::around(fixture, &plan.program, &["e2fsck"])?;
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

/// Starts the machines that share the states.
fn look(
    plan: &Plan,
    fixture: &SiteFixture,
    folder: &TempDir,
    chosen: &[(&Scenario, Vec<Cut>)],
    report: &mut Report,
) -> Result<()> {
    let total: usize = chosen.iter().map(|(_, cuts)| cuts.len()).sum();
    let deadline = START + PER_STATE * u32::try_from(total / plan.machines)?;
    let mut benches = Vec::new();
    for share in 0..plan.machines {
        let mut bench = ToolVm::around(fixture, &plan.program, &["e2fsck"])?;
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
    let said = parallel::at_once(&benches, |(bench, script)| bench.run(script, deadline));
    let said = said.into_iter().collect::<Result<Vec<String>>>()?.concat();
    for (scenario, cuts) in chosen {
        let tally = report.tallies.iter_mut().find(|tally| tally.scenario == scenario.name);
        count(tally.context("a scenario without a tally")?, cuts, &said)?;
    }
    Ok(())
}

/// Counts the states of a scenario from the machines' output; each state must have been checked.
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
