//! The time from the kernel to the root's init: psyopsOS's loader compared with other generators of initramfs.
//!
//! All start the same kernel without firmware in the same machine, from the same squashfs on the same virtio disk,
//! whose init prints when it began. psyopsOS does more meanwhile: it verifies and opens the seal, compares 50 files,
//! sets up dm-verity and runs the node's identity stage. The result is printed; no limit is checked.
//!
//! `--runs N` boots each N times (7), `--json` prints JSON. `--counted` makes the guest's clock count instructions, so
//! that times do not depend on the host's load; they are then comparable only with each other.

#![expect(clippy::print_stdout, reason = "a bench prints its result")]

use anyhow::{Context as _, Result, bail};
use builder::run::{Acceleration, Access, Boot, Bus, Disk, Machine, OnReset, Setup};
use handoff::partition::Role;
use handoff::slot::Slot;
use qemu_tests::peers;
use qemu_tests::site_fixture::SiteFixture;
use qemu_tests::stick::Stick;
use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

const NODE: &str = "alpha";
/// Number of files that the loader compares, besides those of every node.
const FILES: usize = 50;
const INIT: &str = "/usr/lib/bench/init";
const MARKER: &str = "psyops-bench: ";
const DEADLINE: Duration = Duration::from_mins(10);

struct Options {
    runs: usize,
    json: bool,
    acceleration: Acceleration,
}

fn main() -> Result<()> {
    let options = options()?;
    let fixture = fixture()?;
    let stick = fixture.stick(NODE)?;
    let ours = stick.direct(&[format!("init={INIT}")])?;
    let Boot::Direct { kernel, command_line, .. } = &ours else { bail!("no direct boot") };
    let mut contestants = Vec::new();
    for (name, initrd) in peers::for_kernel_of(&fixture)? {
        let command_line = peer_command_line(&stick, command_line)?;
        contestants.push((name, Boot::Direct { kernel: kernel.clone(), initrd, command_line }));
    }
    contestants.push(("psyopsos", ours.clone()));
    let mut rows = Vec::new();
    for (name, boot) in contestants {
        rows.push(measure(name, &boot, &stick, &options)?);
    }
    print(&rows, options.json);
    Ok(())
}

fn options() -> Result<Options> {
    let mut options = Options { runs: 7, json: false, acceleration: Acceleration::Tcg };
    let mut words = env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--json" => options.json = true,
            "--counted" => options.acceleration = Acceleration::Counted,
            "--runs" => options.runs = words.next().context("--runs needs a number")?.parse()?,
            _ => bail!("{word} is no option; there are --runs N, --counted and --json"),
        }
    }
    Ok(options)
}

/// The site: an init in the root that prints the times, and files for the node.
fn fixture() -> Result<SiteFixture> {
    let fixture = SiteFixture::bench()?;
    let init = fixture.site().join("overlays/bench").join(INIT.trim_start_matches('/'));
    if !init.exists() {
        let node = fixture.site().join(format!("nodes/{NODE}.toml"));
        let mut text = fs::read_to_string(&node)?;
        for number in 0..FILES {
            let source = format!("bench-{number}");
            fs::write(fixture.site().join(&source), format!("{number}\n").repeat(1000))?;
            text.push_str(&format!("\n[[file]]\nsource = \"{source}\"\npath = \"bench/{number}\"\n"));
        }
        fs::write(&node, text)?;
        fs::create_dir_all(init.parent().context("no folder")?)?;
        fs::copy(peers::folder().join("init"), &init)?;
        fs::set_permissions(&init, fs::Permissions::from_mode(0o755))?;
    }
    Ok(fixture)
}

/// The command line with the root in the form that the other generators read; the rest is the same as psyopsOS's.
fn peer_command_line(stick: &Stick, ours: &str) -> Result<String> {
    let table = gpt::GptConfig::new().open(stick.path())?;
    let name = Role::Root(Slot::A).name();
    let found = table.partitions().iter().find(|(_, entry)| entry.name == name);
    let number = found.map(|(number, _)| *number).with_context(|| format!("no partition {name}"))?;
    let rest: Vec<&str> = ours.split(' ').filter(|word| !word.starts_with("psyops.")).collect();
    Ok(format!("root=/dev/vda{number} rootfstype=squashfs ro {}", rest.join(" ")))
}

struct Row {
    name: &'static str,
    bytes: u64,
    /// Medians in seconds: kernel start to `/init`, `/init` to the root's init.
    init: f64,
    handover: f64,
}

fn measure(name: &'static str, boot: &Boot, stick: &Stick, options: &Options) -> Result<Row> {
    let Boot::Direct { initrd, .. } = boot else { bail!("no direct boot") };
    let (mut inits, mut handovers) = (Vec::new(), Vec::new());
    for _ in 0..options.runs {
        let (init, handover) =
            run(boot, stick.path(), options.acceleration).with_context(|| format!("booting {name}"))?;
        inits.push(init);
        handovers.push(handover - init);
    }
    Ok(Row { name, bytes: fs::metadata(initrd)?.len(), init: median(inits), handover: median(handovers) })
}

/// When the kernel started `/init` and when the root's init began, in seconds.
fn run(boot: &Boot, disk: &Path, acceleration: Acceleration) -> Result<(f64, f64)> {
    let setup = Setup {
        disks: vec![Disk::new(disk, Access::Snapshot, Bus::Virtio)],
        boot: boot.clone(),
        acceleration,
        on_reset: OnReset::End,
        ..Setup::with_stick(disk)
    };
    let mut machine = Machine::start(&setup)?;
    let line = machine.wait_for_line(MARKER, DEADLINE)?;
    let (_, times) = line.split_once(MARKER).context("no times")?;
    let mut times = times.split_whitespace().map(str::parse::<f64>);
    let mut next = || times.next().and_then(Result::ok).with_context(|| format!("no times: {line}"));
    Ok((next()?, next()?))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn print(rows: &[Row], json: bool) {
    let ours = rows.last().map_or(1.0, |row| row.handover);
    if json {
        let rows = rows.iter().map(|row| {
            let times = serde_json::json!({
                "initramfs_bytes": row.bytes, "kernel_to_init": row.init, "init_to_handover": row.handover,
                "times_psyopsos": row.handover / ours,
            });
            (row.name.to_owned(), times)
        });
        println!("{}", serde_json::Value::Object(rows.collect()));
        return;
    }
    println!(
        "{:<16} {:>12} {:>15} {:>17} {:>8}",
        "", "initramfs", "kernel to /init", "/init to handover", "times"
    );
    for row in rows {
        let Row { name, bytes, init, handover } = row;
        println!("{name:<16} {bytes:>10} B {init:>13.2} s {handover:>15.2} s {:>8.1}", handover / ours);
    }
    println!("booster: not measured, Debian 12 has no package of it");
}
