//! Power cuts: nothing is lost in any state that one can leave. A sample here; all states with `make test-long`.

use anyhow::{Result, ensure};
use qemu_tests::powercut::run::{self, Plan};
use qemu_tests::powercut::tally::{Report, Tally};
use qemu_tests::powercut::{cold, selector};

/// The seed for the states and the selections of requests.
const SEED: u64 = 20_261_122;

fn plan(sample: usize) -> Plan {
    Plan {
        program: env!("CARGO_BIN_EXE_powercut").into(),
        sample,
        seed: SEED,
        only: None,
        machines: 1,
        wrong: true,
    }
}

/// Prints the counts, and fails if something is lost.
#[expect(clippy::print_stdout, reason = "the figures of the run")]
fn must_lose_nothing(report: &Report, at_least: usize) -> Result<()> {
    println!("{}", report.text());
    println!("{}", report.json());
    ensure!(report.lost() == 0, "states were lost:\n{}", report.text());
    ensure!(report.not_caught().is_empty(), "not caught:\n{}", report.text());
    ensure!(report.tried() >= at_least, "only {} states were tried", report.tried());
    Ok(())
}

/// Prints the progress of a long run.
#[expect(clippy::print_stdout, reason = "the progress of the run")]
fn tell(line: &str) {
    println!("{line}");
}

fn of_one(tally: Tally) -> Report {
    Report { tallies: vec![tally] }
}

/// For writers of the secret partition and of raw partitions: every state is the complete old or new one, and the next
/// run makes everything right. The harness works: each writer with a known error loses something in some states.
#[test]
fn after_a_power_cut_a_stick_has_the_old_or_the_new_state() -> Result<()> {
    let report = run::run(&plan(20))?;
    must_lose_nothing(&report, 5 * 20)
}

#[test]
#[ignore = "minutes to an hour: make test-long"]
fn long_after_a_power_cut_a_stick_has_the_old_or_the_new_state() -> Result<()> {
    let report = run::run(&Plan { machines: 2, ..plan(usize::MAX) })?;
    must_lose_nothing(&report, 1000)
}

#[test]
fn after_a_power_cut_a_try_is_counted_or_not() -> Result<()> {
    must_lose_nothing(&of_one(selector::run(2, SEED)?), 2)
}

#[test]
#[ignore = "minutes: make test-long"]
fn long_after_a_power_cut_a_try_is_counted_or_not() -> Result<()> {
    must_lose_nothing(&of_one(selector::run(usize::MAX, SEED)?), 2)
}

#[test]
fn after_any_power_cut_a_stick_boots_cold() -> Result<()> {
    must_lose_nothing(&of_one(cold::run(3, SEED, 1, &tell)?), 3)
}

#[test]
#[ignore = "half an hour: make test-long"]
fn long_after_any_power_cut_a_stick_boots_cold() -> Result<()> {
    must_lose_nothing(&of_one(cold::run(30, SEED, 2, &tell)?), 30)
}
