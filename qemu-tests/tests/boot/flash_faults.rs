//! `psyops flash` on worn or counterfeit sticks: the error names the fault, and no stick that could boot is left
//! behind.

use anyhow::{Context as _, Result, ensure};
use builder::run::Request;
use handoff::partition::Role;
use handoff::slot::Slot;
use qemu_tests::disk::Disk;
use qemu_tests::flash_vm::verdict::{is_no_disk, is_sound_or_no_disk, is_whole};
use qemu_tests::flash_vm::vm::DEADLINE;
use qemu_tests::flash_vm::{Fault, FlashVm, UsbStick};
use qemu_tests::shell::Said;

const MIB: u64 = 1 << 20;

/// The offset of a partition in the image.
fn start(vm: &FlashVm, role: Role) -> Result<u64> {
    Ok(Disk::open(&vm.fixture().image("alpha")?)?.extent(role)?.start)
}

/// Flashes a stick, and checks that it is no disk if that failed.
fn flash(vm: &mut FlashVm, stick: &UsbStick) -> Result<Said> {
    let said = vm.flash_once("alpha", stick, "")?;
    if said.code == 0 {
        is_whole(vm.fixture(), &stick.medium())?;
    } else {
        is_no_disk(&stick.medium()).with_context(|| format!("{said:?}"))?;
    }
    Ok(said)
}

/// Whether a message names an offset, or the block of 4096 bytes that contains it.
fn names(message: &str, offset: u64) -> bool {
    let numbers = message.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse::<u64>().ok());
    numbers.into_iter().any(|number| (number..number + 4096).contains(&offset))
}

#[test]
fn worn_sectors_are_named() -> Result<()> {
    let mut vm = FlashVm::small()?;
    let last = vm.size() - 512;
    let places = [
        ("the primary table", 512),
        ("the ESP", start(&vm, Role::Esp)? + 8192),
        ("the root", start(&vm, Role::Root(Slot::A))? + 5 * MIB + 512),
        ("the secret partition", start(&vm, Role::Secret)? + 4096),
        ("the backup table", last),
    ];
    for on in [Request::Write, Request::Read] {
        for (place, offset) in places {
            let stick = UsbStick::blank("STICK-0010", vm.size())?.worn(on, offset);
            let said = flash(&mut vm, &stick)?;
            ensure!(said.code == 92 && names(&said.text(), offset), "{on:?} in {place}, {offset}: {said:?}");
        }
    }
    Ok(())
}

#[test]
fn a_stick_whose_seal_cannot_be_read_is_reported_as_bad() -> Result<()> {
    let mut vm = FlashVm::small()?;
    let seal = start(&vm, Role::Seal(Slot::A))?;
    let stick = UsbStick::blank("STICK-0013", vm.size())?;
    let said = flash(&mut vm, &stick)?;
    ensure!(said.code == 0, "{said:?}");
    let stick = stick.worn(Request::Read, seal);
    let said = vm.flash_once("alpha", &stick, "")?;
    ensure!(said.code == 92 && said.text().contains("cannot read partition seal-a"), "{said:?}");
    is_whole(vm.fixture(), &stick.medium())
}

#[test]
fn an_error_is_retried_and_one_that_stays_means_a_bad_stick() -> Result<()> {
    let mut vm = FlashVm::small()?;
    let offset = start(&vm, Role::Root(Slot::A))? + 3 * MIB + 1024;
    let size = vm.size();
    // The kernel tries six times before it reports that a write failed.
    for (fault, code) in [
        (Fault::Fails { offset, times: 1 }, 0),
        (Fault::Fails { offset, times: 8 }, 0),
        (Fault::Fails { offset, times: 1_000_000 }, 92),
        (Fault::Rots { offset, times: 1 }, 0),
        (Fault::Rots { offset, times: 1_000_000 }, 92),
    ] {
        let stick = UsbStick::blank("STICK-0011", size)?.with_fault(size, fault)?;
        let said = flash(&mut vm, &stick)?;
        ensure!(said.code == code && (code == 0 || names(&said.text(), offset)), "{fault:?}: {said:?}");
    }
    Ok(())
}

#[test]
fn a_stick_that_becomes_very_slow_is_reported_as_worn() -> Result<()> {
    let mut vm = FlashVm::small()?;
    let fault = Fault::Tires { after: 40 * MIB, rate: 120 << 10 };
    let stick = UsbStick::blank("STICK-0014", vm.size())?.with_fault(vm.size(), fault)?;
    let said = flash(&mut vm, &stick)?;
    ensure!(said.code == 92 && said.text().contains("is worn: near byte"), "{said:?}");
    Ok(())
}

#[test]
fn a_stick_with_less_room_than_it_claims_is_refused() -> Result<()> {
    let mut vm = FlashVm::small()?;
    let (image, says) = (vm.size() - 64 * MIB, 64 << 30);
    for fault in [Fault::Wraps, Fault::Loses] {
        // Space for the image, but not for the table at the end; and not even enough for the image.
        for real in [image + 128 * MIB, image / 2 / MIB * MIB] {
            let stick = UsbStick::blank("STICK-0012", real)?.with_fault(says, fault)?;
            let said = flash(&mut vm, &stick)?;
            ensure!(said.code == 93, "{fault:?} at {real}: {said:?}");
            // The same through the stick itself, which returns the same data at other offsets, too.
            let disk = vm.insert(&stick)?;
            let seen = vm.shell().run(&format!("psyops inspect {disk}"), DEADLINE)?;
            ensure!(seen.code == 65, "{fault:?} at {real}: {seen:?}");
            vm.pull(&stick)?;
        }
    }
    Ok(())
}

/// The check works: a writer that starts at the beginning and verifies nothing fails it in both ways.
#[test]
fn the_check_of_interrupted_writers_detects_what_dd_leaves() -> Result<()> {
    let mut vm = FlashVm::small()?;
    let size = vm.size();
    let short = UsbStick::blank("STICK-0013", size)?;
    let fake = UsbStick::blank("STICK-0014", size / 4 / MIB * MIB)?.with_fault(size, Fault::Wraps)?;
    for (stick, count) in [(&short, "count=40"), (&fake, "")] {
        let disk = vm.insert(stick)?;
        let dd = format!("dd if=/images/alpha.img of={disk} bs=1M oflag=direct conv=fsync {count}");
        let said = vm.shell().run(&dd, DEADLINE)?;
        ensure!(said.code == 0, "{said:?}");
        vm.pull(stick)?;
    }
    let error = is_no_disk(&short.medium()).err().context("a table without a body is taken for no disk")?;
    ensure!(error.to_string().starts_with("there is a partition table on "), "{error:#}");
    let error = is_sound_or_no_disk(&short.medium()).err();
    let error = error.context("a table without a body is taken for a system")?;
    ensure!(error.to_string().starts_with("a system that would start is not whole: "), "{error:#}");
    ensure!(
        is_whole(vm.fixture(), &fake.medium()).is_err(),
        "a stick with too little room is taken for whole"
    );
    Ok(())
}
