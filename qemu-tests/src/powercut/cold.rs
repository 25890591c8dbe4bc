//! A whole stick: records every write to it from power-on to power-off, and starts it cold from the states that a power
//! cut in between leaves.
//!
//! In the recorded run the selector takes a try, the loader repairs files, the agent marks the slot good, and a new
//! seal is installed. Every start from a state must end well, with the files right, by the old seal or the new one.

use super::states::{Cut, Requests, sample};
use super::tally::{Outcome, Tally};
use super::write_log::WriteLog;
use crate::site_fixture::SiteFixture;
use crate::ssh::Ssh;
use crate::stick::{Booted, Stick};
use anyhow::{Context as _, Result, ensure};
use builder::parallel;
use builder::run::OnReset;
use handoff::report::Outcome as BootOutcome;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// The files that are damaged before the recorded run: one is missing, one has another content, one another mode.
const SPOILED: [&str; 3] = ["hostname", "machine-id", "ssh/ssh_host_ed25519_key"];
const SPOIL: &str = "rm /hostname\nrm /machine-id\nwrite /etc/hostname /machine-id\n\
    set_inode_field /ssh/ssh_host_ed25519_key mode 0100644\n";

/// The recorded run.
struct Recorded {
    /// The stick before the run.
    stick: Stick,
    requests: Requests,
    /// The right content of the damaged files.
    files: BTreeMap<&'static str, Vec<u8>>,
}

/// Records a run and starts cold from `starts` of its states, `machines` at a time. `tell` gets a line for each.
pub fn run(starts: usize, seed: u64, machines: usize, tell: &(dyn Fn(&str) + Sync)) -> Result<Tally> {
    let recorded = Recorded::make()?;
    let cuts = recorded.requests.cuts(seed);
    let mut tally = Tally::new("cold-start");
    (tally.requests, tally.flushes) = (recorded.requests.list().len(), recorded.requests.flushes());
    tally.possible = cuts.len();
    let chosen = sample(cuts, starts, seed);
    let start = |(): &mut (), cut: &Cut| {
        let outcome = recorded.start_from(cut).map_err(|error| format!("{error:#}"));
        let word = outcome.as_ref().map_or_else(|lost| format!("LOST {lost}"), |seen| seen.word().into());
        tell(&format!("cold start from {cut}: {word}"));
        Ok::<_, Infallible>(outcome)
    };
    let Ok(outcomes) = parallel::each_with(machines, &chosen, || (), start);
    ensure!(outcomes.len() == chosen.len(), "of {} starts only {} ended", chosen.len(), outcomes.len());
    for (cut, outcome) in chosen.iter().zip(outcomes) {
        tally.count(cut, outcome);
    }
    Ok(tally)
}

impl Recorded {
    fn make() -> Result<Self> {
        let fixture = SiteFixture::micro()?;
        let fresh = fixture.stick("alpha")?;
        let mut files = BTreeMap::new();
        for path in SPOILED {
            files.insert(path, fresh.secret_file(path)?);
        }
        fresh.debugfs(SPOIL)?;
        let used = Stick::copy_of(fresh.path())?;
        let seal =
            fixture.seal_with_greeting(used.beside("").as_path(), "Written while the power may fail.")?;
        let ssh = Ssh::new(&fixture)?;
        let log = used.beside("log");
        File::create(&log)?;
        let mut setup = used.cold();
        setup.ssh = Some(ssh.port());
        if let Some(disk) = setup.disks.first_mut() {
            disk.write_log = Some(log.clone());
        }
        let mut booted = Booted::wait(&setup)?;
        let report = &booted.seen.report;
        ensure!(report.outcome == BootOutcome::Ok && report.repaired.len() == SPOILED.len(), "{report:?}");
        let said = ssh.run_with_input("alpha", "psyops-agent seal install - --json", &seal)?;
        ensure!(said.contains("\"serial\":2"), "{said}");
        booted.power_off()?;
        let requests = Requests::of(WriteLog::load(&log)?);
        Ok(Self { stick: fresh, requests, files })
    }

    /// Starts a stick in the state that the cut left.
    fn start_from(&self, cut: &Cut) -> Result<Outcome> {
        let stick = Stick::copy_of(self.stick.path())?;
        self.put_state(cut, stick.path())?;
        let mut setup = stick.cold();
        // A start that fails must not be followed by one that succeeds.
        setup.on_reset = OnReset::End;
        let mut booted = Booted::wait(&setup)?;
        let report = booted.seen.report.clone();
        booted.power_off()?;
        ensure!(report.outcome == BootOutcome::Ok, "{report:?}");
        ensure!(report.faults.is_empty() && report.memory_only.is_empty(), "{report:?}");
        for (path, content) in &self.files {
            ensure!(stick.secret_file(path)? == *content, "{path} is not what the seal says");
        }
        stick.fsck_secret()?;
        let generation = report.generation.context("no seal was used")?;
        ensure!((1..=2).contains(&generation), "generation {generation}");
        let repaired = report.repaired.len();
        Ok(match (generation, repaired) {
            (1, count) if count == SPOILED.len() => Outcome::Old,
            (2, 0) => Outcome::New,
            _ => Outcome::Between,
        })
    }

    fn put_state(&self, cut: &Cut, image: &Path) -> Result<()> {
        let file = OpenOptions::new().write(true).open(image)?;
        let length = fs::metadata(image)?.len();
        let mut result = Ok(());
        self.requests.replay(cut, |offset, data| {
            if result.is_ok() {
                result = file.write_all_at(data, offset);
            }
        });
        result.with_context(|| format!("putting {cut} on a stick"))?;
        ensure!(fs::metadata(image)?.len() == length, "a write beyond the end of the stick");
        Ok(())
    }
}
