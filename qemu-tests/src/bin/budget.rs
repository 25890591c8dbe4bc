//! Prints sizes, memory and boot times beside the budget in `.config/budget.toml`. Fails if a size is over its budget.
//!
//! The system is that of the boot tests' site. Memory and times of nodes are those that the last run of the
//! boot tests measured; earlier ones are left out.

#![expect(clippy::print_stdout, reason = "it prints a table")]

use anyhow::{Context as _, Result, ensure};
use handoff::architecture::Architecture;
use nix::sys::resource::{UsageWho, getrusage};
use qemu_tests::budget::{Budget, Values};
use qemu_tests::command::succeed;
use qemu_tests::measured::{BootedNode, SystemSizes, last_run};
use qemu_tests::site_fixture::{SiteFixture, target_folder};
use std::collections::BTreeMap;
use std::env;
use std::fs;

fn main() -> Result<()> {
    let (memory, times) = nodes()?;
    let measured = Values::from([("sizes", sizes()?), ("memory", memory), ("times", times)]);
    let (table, wrong) = Budget::read()?.compare(&measured);
    print!("{table}");
    ensure!(
        wrong.is_empty(),
        "{}; if this is meant, change .config/budget.toml and say why in the commit",
        wrong.join("; ")
    );
    Ok(())
}

type Group = BTreeMap<String, f64>;

/// A number of the table. What is measured is far below the precision of the type.
fn number(value: u64) -> f64 {
    f64::from(u32::try_from(value).unwrap_or(u32::MAX))
}

fn sizes() -> Result<Group> {
    let target = target_folder()?;
    let mut sizes = Group::new();
    for (name, path) in [
        ("agent", format!("{}/node/psyops-agent", Architecture::DEFAULT.linux_target)),
        ("builder", "release/psyops".to_owned()),
        ("initloader", format!("{}/node/initloader", Architecture::DEFAULT.linux_target)),
        ("selector", format!("{}/node/selector.efi", Architecture::DEFAULT.uefi_target)),
    ] {
        let file = target.join(path);
        let metadata = fs::metadata(&file).with_context(|| format!("no {}: make build", file.display()))?;
        sizes.insert(name.into(), number(metadata.len()) / 1024.0);
    }
    let system = SystemSizes::of(&SiteFixture::micro()?.stick("alpha")?)?;
    for (name, bytes) in [("initramfs", system.initramfs), ("root", system.root), ("uki", system.uki)] {
        sizes.insert(name.into(), number(bytes) / 1024.0);
    }
    Ok(sizes)
}

/// Memory in MiB, and times in seconds.
fn nodes() -> Result<(Group, Group)> {
    let mut memory = Group::from([("build".to_owned(), build()?)]);
    let mut times = Group::new();
    let Some(run) = last_run()? else { return Ok((memory, times)) };
    for base in ["debian", "micro"] {
        let Some(node) = BootedNode::kept(base, &run)? else { continue };
        memory.insert(format!("node {base}"), number(node.used_kib) / 1024.0);
        times.insert(format!("{base}, handover to init"), number(node.handover_ms) / 1000.0);
        times.insert(format!("{base}, last service"), number(node.ready_ms) / 1000.0);
    }
    Ok((memory, times))
}

/// The peak memory of an image build with only the packages in the store: that of the builder or of one of its tools.
fn build() -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let fixture = SiteFixture::micro()?;
    let cache = folder.path().join("psyops");
    fs::create_dir_all(&cache)?;
    let home = env::var("HOME").context("HOME is not set")?;
    let user = env::var("XDG_CACHE_HOME").unwrap_or_else(|_| format!("{home}/.cache"));
    std::os::unix::fs::symlink(format!("{user}/psyops/debs"), cache.join("debs"))?;
    let mut build = fixture.command("build-image");
    build.env("XDG_CACHE_HOME", folder.path()).args(["--node", "alpha", "--site"]).arg(fixture.site());
    succeed(build.arg("--output").arg(folder.path().join("alpha.img")))?;
    let peak = getrusage(UsageWho::RUSAGE_CHILDREN)?.max_rss();
    Ok(number(u64::try_from(peak)?) / 1024.0)
}
