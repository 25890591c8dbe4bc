//! What is measured for `bench` and `budget`: the parts of a system, and booted nodes, whose values the boot tests keep
//! in a folder beside cargo's results.

use crate::site_fixture::target_folder;
use crate::ssh::Ssh;
use crate::stick::Stick;
use anyhow::{Context as _, Result, ensure};
use builder::boot::uki::{Section, Uki};
use builder::image::reader::ImageReader;
use builder::image::slot;
use handoff::boot_record::{BootRecord, SIZE, SIZE_U64};
use handoff::partition::Role;
use handoff::report::{BootReport, StepKind};
use handoff::slot::Slot;
use std::env;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// The variable in which nextest gives the tests the id of their run.
const RUN: &str = "NEXTEST_RUN_ID";

/// The sizes of the system in slot a, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct SystemSizes {
    /// The initramfs as it is in the UKI.
    pub initramfs: u64,
    /// The unpacked initramfs.
    pub initramfs_raw: u64,
    /// The UKI.
    pub uki: u64,
    /// The root, without its hash tree.
    pub root: u64,
}

impl SystemSizes {
    /// Those of the system on a stick.
    pub fn of(stick: &Stick) -> Result<Self> {
        let end = stick.extent(Role::Boot(Slot::A))?.length;
        let record = BootRecord::decode(&stick.read(Role::Boot(Slot::A), end - SIZE_U64, SIZE)?)?;
        let uki = stick.read(Role::Boot(Slot::A), 0, usize::try_from(record.length)?)?;
        let packed = Uki::parse(&uki)?.section(Section::Initrd)?;
        let mut raw = Vec::new();
        let mut frame = zstd::Decoder::new(packed)?.single_frame();
        frame.read_to_end(&mut raw).context("unpacking the initramfs")?;
        let superblock = slot::superblock(&ImageReader::open(stick.path())?, Slot::A)?;
        Ok(Self {
            initramfs: u64::try_from(packed.len())?,
            initramfs_raw: u64::try_from(raw.len())?,
            uki: record.length,
            root: superblock.data_blocks * 4096,
        })
    }
}

/// The times of a boot, in milliseconds since the kernel started.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// When the kernel started `/init`.
    pub init: u64,
    /// When the root's init was started.
    pub handover: u64,
    /// How much of the time between them was spent waiting for devices.
    pub waiting: u64,
}

impl Times {
    /// Those of a boot report.
    pub fn of(report: &BootReport) -> Result<Self> {
        let end = |name: &str| {
            let step = report.steps.iter().find(|step| step.name == name);
            step.map(|step| step.start_ms + step.took_ms)
                .with_context(|| format!("no step {name}: {report:?}"))
        };
        let waits = report.steps.iter().filter(|step| step.kind == StepKind::Wait);
        Ok(Self {
            init: end("kernel")?,
            handover: end("handover")?,
            waiting: waits.map(|step| step.took_ms).sum(),
        })
    }
}

/// The values of a booted node.
#[derive(Debug, Clone, Copy)]
pub struct BootedNode {
    /// The memory that is in use and cannot be given back, in KiB.
    pub used_kib: u64,
    /// When the root's init was started, in milliseconds since the kernel started.
    pub handover_ms: u64,
    /// When the last service was started.
    pub ready_ms: u64,
}

/// The run of the boot tests that ended last, by nextest's id; `None` if there was none.
pub fn last_run() -> Result<Option<String>> {
    let path = target_folder()?.join("nextest/default/junit.xml");
    match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        text => Ok(Some(run_in(&text?).with_context(|| format!("{} has no uuid", path.display()))?)),
    }
}

/// The id in a report: the first attribute `uuid`, which is that of the whole run.
fn run_in(report: &str) -> Option<String> {
    let (_, rest) = report.split_once(" uuid=\"")?;
    Some(rest.split_once('"')?.0.to_owned())
}

fn place(base: &str) -> Result<PathBuf> {
    Ok(target_folder()?.join("measured").join(format!("{base}.json")))
}

impl BootedNode {
    /// Measures a node that has booted, and keeps the values under the name of its base.
    pub fn note(ssh: &Ssh, node: &str, base: &str) -> Result<Self> {
        let report: BootReport = serde_json::from_str(&ssh.run(node, "cat /run/psyops/boot.json")?)?;
        let ends = report.steps.iter().map(|step| step.start_ms + step.took_ms);
        let ready_ms = ends.max().context("a report without steps")?;
        let memory = ssh.run(node, "cat /proc/meminfo")?;
        let field = |name: &str| -> Result<u64> {
            let line = memory.lines().find_map(|line| line.strip_prefix(name));
            let value = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
            value.with_context(|| format!("no {name} in {memory}"))
        };
        let (total, available) = (field("MemTotal:")?, field("MemAvailable:")?);
        ensure!(available > 0 && total > available, "{memory}");
        let seen = Self { used_kib: total - available, handover_ms: Times::of(&report)?.handover, ready_ms };
        let path = place(base)?;
        fs::create_dir_all(path.parent().context("no folder")?)?;
        let value = serde_json::json!({
            "run": env::var(RUN).ok(), "used_kib": seen.used_kib, "handover_ms": seen.handover_ms, "ready_ms": seen.ready_ms
        });
        fs::write(&path, value.to_string())?;
        Ok(seen)
    }

    /// The values that a run of the tests kept for a base; `None` if that run measured none.
    pub fn kept(base: &str, run: &str) -> Result<Option<Self>> {
        Self::kept_at(&place(base)?, run)
    }

    fn kept_at(path: &Path, run: &str) -> Result<Option<Self>> {
        let text = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text.with_context(|| path.display().to_string())?,
        };
        let value: serde_json::Value = serde_json::from_slice(&text)?;
        if value["run"] != run {
            return Ok(None);
        }
        let number =
            |name: &str| value[name].as_u64().with_context(|| format!("{} has no {name}", path.display()));
        Ok(Some(Self {
            used_kib: number("used_kib")?,
            handover_ms: number("handover_ms")?,
            ready_ms: number("ready_ms")?,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_an_earlier_run_are_not_shown() {
        let report = "<testsuites name=\"nextest-run\" tests=\"2\" uuid=\"1583-e40f\" time=\"9\">";
        assert_eq!(run_in(report).as_deref(), Some("1583-e40f"));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("micro.json");
        assert!(BootedNode::kept_at(&path, "1583-e40f").unwrap().is_none());
        let values = "\"used_kib\": 7, \"handover_ms\": 8, \"ready_ms\": 9";
        for (run, shown) in [("\"1583-e40f\"", Some(7)), ("\"older\"", None), ("null", None)] {
            fs::write(&path, format!("{{\"run\": {run}, {values}}}")).unwrap();
            let kept = BootedNode::kept_at(&path, "1583-e40f").unwrap();
            assert_eq!(kept.map(|node| node.used_kib), shown, "{run}");
        }
    }
}
