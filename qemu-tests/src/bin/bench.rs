//! Sizes and times of a user's commands and boots, as a table, or JSON with `--json`; no limit is checked.
//!
//! Times of boots are the guest's own clock under emulation, the median of several cold boots.

#![expect(clippy::print_stdout, reason = "a bench prints its result")]

use anyhow::{Context as _, Result, ensure};
use handoff::architecture::Architecture;
use handoff::hash::Sha256Digest;
use handoff::manifest::{Entry, FileAttributes, FileKind, Manifest, RelativePath, Required, Store};
use handoff::report::BootReport;
use keys::reconcile::compare;
use qemu_tests::command::succeed;
use qemu_tests::measured::{SystemSizes, Times};
use qemu_tests::site_fixture::{SiteFixture, target_folder};
use qemu_tests::stick::Stick;
use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::time::Instant;

/// The number of boots of which a time is the median.
const BOOTS: usize = 5;

fn main() -> Result<()> {
    let rows = measure()?;
    if env::args().any(|argument| argument == "--json") {
        let object: serde_json::Map<_, _> = rows
            .into_iter()
            .map(|row| (row.name, serde_json::json!({"value": row.value, "unit": row.unit})))
            .collect();
        println!("{}", serde_json::Value::Object(object));
    } else {
        for row in rows {
            println!("{:<44} {:>12.3} {}", row.name, row.value, row.unit);
        }
    }
    Ok(())
}

struct Row {
    name: String,
    value: f64,
    unit: &'static str,
}

fn row(name: &str, value: f64, unit: &'static str) -> Row {
    Row { name: name.to_owned(), value, unit }
}

fn kib(bytes: u64) -> f64 {
    f64::from(u32::try_from(bytes / 1024).unwrap_or(u32::MAX))
}

fn measure() -> Result<Vec<Row>> {
    let fixture = SiteFixture::micro()?;
    let loader = target_folder()?.join(Architecture::DEFAULT.linux_target).join("node/initloader");
    let mut rows = vec![row("loader", kib(fs::metadata(loader)?.len()), "KiB")];
    let stick = fixture.stick("alpha")?;
    rows.extend(initramfs(&stick)?);
    rows.extend(builds(&fixture)?);
    let image = fs::metadata(stick.path())?;
    rows.push(row("image, size", kib(image.len()) / 1024.0, "MiB"));
    rows.push(row("image, really used", kib(image.blocks() * 512) / 1024.0, "MiB"));
    rows.extend([checking(10)?, checking(1000)?]);
    rows.extend(boots(&stick)?);
    Ok(rows)
}

/// Compares this many secrets of 4 KiB with a manifest, read from this machine's disk.
fn checking(secrets: usize) -> Result<Row> {
    let folder = tempfile::tempdir()?;
    let content = [7; 4096];
    let (uid, gid) = (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw());
    let mut manifest = Manifest::default();
    for number in 0..secrets {
        let path = format!("group-{:02}/{number:04}", number / 100);
        let file = folder.path().join(&path);
        fs::create_dir_all(file.parent().context("no folder")?)?;
        fs::write(&file, content)?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
        manifest.entries.push(Entry {
            path: RelativePath::new(&path).context("no path")?,
            attributes: FileAttributes {
                mode: 0o600,
                uid,
                gid,
                kind: FileKind::Opaque,
                store: Store::Disk,
                install: None,
                required: Required::Boot,
            },
            size: 4096,
            digest: Sha256Digest::of(&content),
        });
    }
    // Files that are not on the disk yet cannot be read from it.
    nix::unistd::sync();
    let mut times = Vec::new();
    for _ in 0..BOOTS {
        let start = Instant::now();
        let comparison = compare(folder.path(), &manifest)?;
        times.push(start.elapsed().as_secs_f64());
        ensure!(comparison.same.len() == secrets, "{comparison:?}");
    }
    times.sort_unstable_by(f64::total_cmp);
    Ok(row(
        &format!("checking {secrets} secrets of 4 KiB"),
        times.get(BOOTS / 2).copied().unwrap_or_default(),
        "s",
    ))
}

fn initramfs(stick: &Stick) -> Result<Vec<Row>> {
    let sizes = SystemSizes::of(stick)?;
    Ok(vec![
        row("initramfs, packed", kib(sizes.initramfs), "KiB"),
        row("initramfs, raw", kib(sizes.initramfs_raw), "KiB"),
        row("UKI", kib(sizes.uki), "KiB"),
    ])
}

/// A build with only the packages in the cache, and one with everything there.
fn builds(fixture: &SiteFixture) -> Result<Vec<Row>> {
    let folder = tempfile::tempdir()?;
    let cache = folder.path().join("psyops");
    fs::create_dir_all(&cache)?;
    let home = env::var("HOME").context("HOME is not set")?;
    let user = env::var("XDG_CACHE_HOME").unwrap_or_else(|_| format!("{home}/.cache"));
    std::os::unix::fs::symlink(format!("{user}/psyops/debs"), cache.join("debs"))?;
    let mut rows = Vec::new();
    for name in ["image build, cold (packages there)", "image build, warm"] {
        let start = Instant::now();
        let mut build = fixture.command("build-image");
        build.env("XDG_CACHE_HOME", folder.path()).args(["--node", "alpha", "--site"]).arg(fixture.site());
        succeed(build.arg("--output").arg(folder.path().join("alpha.img")))?;
        rows.push(row(name, start.elapsed().as_secs_f64(), "s"));
    }
    Ok(rows)
}

fn boots(stick: &Stick) -> Result<Vec<Row>> {
    let mut reports: Vec<BootReport> = Vec::new();
    for _ in 0..BOOTS {
        reports.push(stick.boot_cold_and_power_off()?.report);
    }
    let mut times_by_name: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    let mut order = Vec::new();
    for report in &reports {
        let times = Times::of(report)?;
        let mut note = |name: String, value: u64| {
            if !order.contains(&name) {
                order.push(name.clone());
            }
            times_by_name.entry(name).or_default().push(value);
        };
        note("kernel start to /init".into(), times.init);
        note("/init to handover".into(), times.handover - times.init);
        note("/init to handover, without waiting".into(), times.handover - times.init - times.waiting);
        for step in &report.steps {
            note(format!("  step {}", step.name), step.took_ms);
        }
    }
    ensure!(!order.is_empty(), "no boots were measured");
    let median = |mut values: Vec<u64>| {
        values.sort_unstable();
        values.get(values.len() / 2).copied().unwrap_or(0)
    };
    Ok(order
        .into_iter()
        .map(|name| {
            let value = median(times_by_name.remove(&name).unwrap_or_default());
            let seconds = f64::from(u32::try_from(value).unwrap_or(u32::MAX)) / 1000.0;
            Row { name, value: seconds, unit: "s" }
        })
        .collect())
}
