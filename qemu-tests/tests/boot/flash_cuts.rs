//! `psyops flash` interrupted: the stick pulled out, the program killed, a power cut. Then a stick is no disk, or
//! complete.

use anyhow::{Context as _, Result, ensure};
use qemu_tests::flash_vm::verdict::{is_sound_or_no_disk, is_whole};
use qemu_tests::flash_vm::vm::{DEADLINE, command, results};
use qemu_tests::flash_vm::{FlashVm, UsbStick, moments};
use qemu_tests::powercut::states::{Cut, Requests, sample};
use qemu_tests::powercut::write_log::WriteLog;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;

/// The seed for the moments and the states.
const SEED: u64 = 20_261_122;
/// This many requests at each end of a run are about its tables.
const EDGE: usize = 8;

/// The bytes that are read and written in a run without interruption.
fn measure(vm: &mut FlashVm, stick: &UsbStick) -> Result<u64> {
    let disk = vm.insert(stick)?;
    let said = vm.shell().run(&command("alpha", (stick, &disk), "--full"), DEADLINE)?;
    let traffic = stick.traffic(vm.shell().machine())?;
    results(&said)?;
    vm.pull(stick)?;
    is_whole(vm.fixture(), &stick.medium())?;
    Ok(traffic)
}

/// Runs `psyops flash` without interruption.
fn ends_well(vm: &mut FlashVm, stick: &UsbStick) -> Result<()> {
    results(&vm.flash_once("alpha", stick, "")?)?;
    is_whole(vm.fixture(), &stick.medium())
}

/// Pulls a stick out at ten moments of ten runs, then lets one end.
fn pulled_out(seed: u64) -> Result<()> {
    let mut vm = FlashVm::small()?;
    let stick = UsbStick::blank("STICK-0020", vm.size())?;
    let span = measure(&mut vm, &stick)?;
    let (mut cut, mut was_whole) = (0, true);
    for (number, moment) in (0..).zip(moments(10, span, seed)) {
        // From a blank stick, or from the state after the last run.
        if number % 3 == 0 {
            stick.wipe()?;
            was_whole = false;
        }
        let disk = vm.insert(&stick)?;
        vm.shell().begin(&command("alpha", (&stick, &disk), "--full"))?;
        stick.wait_for_traffic(vm.shell().machine(), moment)?;
        vm.pull(&stick)?;
        let said = vm.shell().end(DEADLINE).with_context(|| format!("pulled after {moment} bytes"))?;
        let after = || format!("pulled after {moment} of {span} bytes: {said:?}");
        let whole = is_sound_or_no_disk(&stick.medium()).with_context(after)?;
        // Before the first write the old content is still there. After the last one, it may be complete without a
        // report.
        let begun = said.text().contains("no machine starts from it");
        ensure!(whole || said.code != 0, "{}", after());
        ensure!(said.code == 0 || said.code == 94, "{}", after());
        ensure!(said.code == 0 || begun || whole == was_whole, "{}", after());
        cut += u32::from(begun);
        was_whole = whole;
    }
    ensure!(cut >= 8, "only {cut} of 10 runs of {span} bytes were cut off while they wrote");
    ends_well(&mut vm, &stick)
}

// Thirty moments, in three machines side by side.

#[test]
fn a_stick_that_is_pulled_out_has_no_partition_table_and_the_next_run_succeeds() -> Result<()> {
    pulled_out(SEED)
}

#[test]
#[ignore = "minutes: make test-long"]
fn a_stick_that_is_pulled_out_at_other_moments_has_no_partition_table() -> Result<()> {
    pulled_out(SEED + 1)
}

#[test]
#[ignore = "minutes: make test-long"]
fn a_stick_that_is_pulled_out_at_more_moments_has_no_partition_table() -> Result<()> {
    pulled_out(SEED + 2)
}

#[test]
fn a_killed_run_leaves_no_partition_table_and_the_next_run_continues() -> Result<()> {
    let mut vm = FlashVm::small()?;
    let stick = UsbStick::blank("STICK-0021", vm.size())?;
    let span = measure(&mut vm, &stick)?;
    let mut killed = 0;
    for moment in moments(10, span, SEED) {
        let disk = vm.insert(&stick)?;
        let flash = command("alpha", (&stick, &disk), "--full");
        // The third and the seventh number are the sectors that were read and written; a process that has ended has no
        // file.
        let stat = format!("/sys/block/{}/stat", disk.trim_start_matches("/dev/"));
        let traffic =
            format!("read -r _ _ got _ _ _ put _ <{stat} && [ $(((got + put) * 512)) -ge {moment} ]");
        let wait = format!("until {{ {traffic}; }} || ! [ -e /proc/$run/exe ]; do sleep 0.01; done");
        let script = format!("{flash} & run=$!; {wait}; kill -9 $run 2>/dev/null; wait $run");
        let said = vm.shell().run(&script, DEADLINE)?;
        vm.pull(&stick)?;
        let whole = is_sound_or_no_disk(&stick.medium())?;
        // Killed between writing the table and reporting success is fine; success on an incomplete stick would not be.
        ensure!(whole || said.code != 0, "killed after {moment} of {span} bytes: {said:?}");
        killed += u32::from(!whole);
    }
    ensure!(killed >= 8, "only {killed} of 10 runs of {span} bytes were killed midway");
    ends_well(&mut vm, &stick)
}

/// Some states of the first and the last requests, where tables are removed and written, and some of those between.
fn chosen(requests: &Requests) -> Vec<Cut> {
    let last = requests.list().len();
    let is_edge = |cut: &Cut| cut.issued <= EDGE || cut.issued + EDGE >= last;
    let (edges, body) = requests.cuts(SEED).into_iter().partition::<Vec<Cut>, _>(is_edge);
    sample(edges, 50, SEED).into_iter().chain(sample(body, 20, SEED)).collect()
}

/// Over an old system, which is the harder case: its table is there when the first byte is written.
#[test]
fn after_any_power_cut_a_stick_with_a_partition_table_is_whole() -> Result<()> {
    let mut vm = FlashVm::small()?;
    let old = vm.fixture().image_after("older", "alpha", |copy| {
        let file = copy.site().join("site.toml");
        let text = fs::read_to_string(&file)?;
        Ok(fs::write(&file, text.replace("release = \"1\"", "release = \"0\""))?)
    })?;
    let stick = UsbStick::blank("STICK-0022", vm.size())?;
    fs::copy(&old, stick.medium())?;
    File::options().write(true).open(stick.medium())?.set_len(vm.size())?;
    let before = stick.medium().with_file_name("before");
    fs::copy(stick.medium(), &before)?;
    let stick = stick.logged()?;
    ends_well(&mut vm, &stick)?;
    let requests = Requests::of(WriteLog::load(&stick.log())?);
    let state = stick.medium().with_file_name("state");
    let (mut whole, mut none) = (0, 0);
    for cut in chosen(&requests) {
        fs::copy(&before, &state)?;
        let file = File::options().write(true).open(&state)?;
        let mut result = Ok(());
        requests.replay(&cut, |offset, data| {
            if result.is_ok() {
                result = file.write_all_at(data, offset);
            }
        });
        result?;
        if is_sound_or_no_disk(&state).with_context(|| cut.to_string())? {
            whole += 1;
        } else {
            none += 1;
        }
    }
    ensure!(whole > 0 && none > 0, "{whole} whole, {none} no disk");
    Ok(())
}
