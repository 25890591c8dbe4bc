//! The boot report: what the loader did, found and repaired, and how the configuration run ended.
//!
//! The loader writes it with [`BootReport::to_json`]; the agent reads it (feature `serde`), adds the outcome of the
//! configuration run and prints it on every console behind [`crate::marker::REPORT`].

use crate::json::{Object, seconds, string};
use crate::older::Older;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// The version of the report's form. Members may be added within a version; a reader treats a missing one as unknown.
/// The version changes when the meaning of a member changes.
pub const FORMAT: u64 = 1;

/// How the boot went as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(rename_all = "lowercase"))]
pub enum Outcome {
    /// Everything is in order (repaired files included).
    Ok,
    /// The node runs, but something is not in order.
    Degraded,
    /// The boot ended in the rescue shell.
    Rescue,
}

/// How the configuration run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(rename_all = "lowercase"))]
pub enum Configure {
    /// Not begun or not ended yet.
    Pending,
    /// Every command succeeded.
    Ok,
    /// A command failed.
    Failed,
    /// The run did not end before its deadline.
    Timeout,
}

impl Outcome {
    /// The outcome's word in the report.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Rescue => "rescue",
        }
    }
}

impl Configure {
    /// The result's word in the report.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Timeout => "timeout",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl fmt::Display for Configure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Which program or stage a step of the boot belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(rename_all = "lowercase"))]
pub enum StepKind {
    /// The kernel, until it started the loader.
    Kernel,
    /// The loader's own work.
    #[default]
    Loader,
    /// Waiting for a device, inside another step or beside it.
    Wait,
    /// The node's configuration, before or after init.
    Configure,
    /// A service of the root's own init.
    Service,
}

impl StepKind {
    /// The kind's word in the report.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Loader => "loader",
            Self::Wait => "wait",
            Self::Configure => "configure",
            Self::Service => "service",
        }
    }
}

/// A step of the boot. All times are of one clock, the kernel's, which starts with it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize))]
pub struct Step {
    /// The step's name.
    pub name: String,
    /// Which program or stage it belongs to.
    #[cfg_attr(feature = "serde", serde(default))]
    pub kind: StepKind,
    /// When it began, in milliseconds since the kernel started.
    #[cfg_attr(feature = "serde", serde(rename = "start", deserialize_with = "milliseconds"))]
    pub start_ms: u64,
    /// How long it took, in milliseconds.
    #[cfg_attr(feature = "serde", serde(rename = "seconds", deserialize_with = "milliseconds"))]
    pub took_ms: u64,
}

/// Something that was wrong during the boot.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize))]
pub struct FaultReport {
    /// The fault's name, see [`crate::fault::Fault`].
    pub fault: String,
    /// What failed, on what, and what to do.
    pub message: String,
}

/// The report of one boot.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize))]
pub struct BootReport {
    /// The node's name, once its seal is open.
    pub node: Option<String>,
    /// The site's name.
    pub site: Option<String>,
    /// The name of the release that runs.
    pub release: Option<String>,
    /// The security epoch of the release that runs.
    #[cfg_attr(feature = "serde", serde(default))]
    pub security_epoch: Option<u64>,
    /// The slot that runs.
    pub slot: Option<String>,
    /// Why the selector chose it.
    pub selected: Option<String>,
    /// Tries that the slot has left after this start.
    pub tries_left: Option<u64>,
    /// The generation of the seal that was opened.
    #[cfg_attr(feature = "serde", serde(rename = "serial"))]
    pub generation: Option<u64>,
    /// How the boot went as a whole.
    pub outcome: Outcome,
    /// How many files match the seal.
    pub verified: u64,
    /// The files that were rewritten.
    pub repaired: Vec<String>,
    /// Files on the secret partition that are not in the seal.
    pub unknown: Vec<String>,
    /// Files that could not be repaired; their right content is in memory only.
    pub memory_only: Vec<String>,
    /// Files of the seal that could not be installed in the root.
    #[cfg_attr(feature = "serde", serde(default))]
    pub missing: Vec<String>,
    /// Seals and releases that are older than others which the node has or had.
    #[cfg_attr(feature = "serde", serde(default))]
    pub older: Vec<Older>,
    /// What was wrong, in the order of its discovery.
    pub faults: Vec<FaultReport>,
    /// How the configuration run ended.
    pub configure: Configure,
    /// How long the firmware took before the selector ran, in milliseconds, if it can be known.
    #[cfg_attr(feature = "serde", serde(default, rename = "firmware", deserialize_with = "perhaps"))]
    pub firmware_ms: Option<u64>,
    /// How long the selector took before the kernel ran, in milliseconds.
    #[cfg_attr(feature = "serde", serde(default, rename = "selector", deserialize_with = "perhaps"))]
    pub selector_ms: Option<u64>,
    /// The steps with their times, in the order in which they ended.
    pub steps: Vec<Step>,
}

impl Default for BootReport {
    fn default() -> Self {
        Self {
            node: None,
            site: None,
            release: None,
            security_epoch: None,
            slot: None,
            selected: None,
            tries_left: None,
            generation: None,
            outcome: Outcome::Ok,
            verified: 0,
            repaired: Vec::new(),
            unknown: Vec::new(),
            memory_only: Vec::new(),
            missing: Vec::new(),
            older: Vec::new(),
            faults: Vec::new(),
            configure: Configure::Pending,
            firmware_ms: None,
            selector_ms: None,
            steps: Vec::new(),
        }
    }
}

impl BootReport {
    /// The report as one line of JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        let strings = |list: &[String]| list.iter().map(|text| string(text)).collect::<Vec<_>>();
        let faults = self.faults.iter().map(|fault| {
            Object::new().string("fault", &fault.fault).string("message", &fault.message).finish()
        });
        let steps = self.steps.iter().map(|step| {
            Object::new()
                .string("name", &step.name)
                .string("kind", step.kind.word())
                .seconds("start", step.start_ms)
                .seconds("seconds", step.took_ms)
                .finish()
        });
        let time = |value: Option<u64>| value.map_or_else(|| "null".into(), seconds);
        let number = |value: Option<u64>| value.map_or_else(|| "null".into(), |n| alloc::format!("{n}"));
        Object::new()
            .number("format", FORMAT)
            .optional("node", self.node.as_deref())
            .optional("site", self.site.as_deref())
            .optional("release", self.release.as_deref())
            .raw("security_epoch", &number(self.security_epoch))
            .optional("slot", self.slot.as_deref())
            .optional("selected", self.selected.as_deref())
            .raw("tries_left", &number(self.tries_left))
            .raw("serial", &number(self.generation))
            .string("outcome", self.outcome.word())
            .number("verified", self.verified)
            .array("repaired", strings(&self.repaired))
            .array("unknown", strings(&self.unknown))
            .array("memory_only", strings(&self.memory_only))
            .array("missing", strings(&self.missing))
            .array("older", self.older.iter().map(Older::to_json))
            .array("faults", faults)
            .string("configure", self.configure.word())
            .raw("firmware", &time(self.firmware_ms))
            .raw("selector", &time(self.selector_ms))
            .array("steps", steps)
            .finish()
    }
}

#[cfg(feature = "serde")]
fn milliseconds<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    <f64 as serde::Deserialize>::deserialize(deserializer).map(of_seconds)
}

#[cfg(feature = "serde")]
fn perhaps<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    <Option<f64> as serde::Deserialize>::deserialize(deserializer).map(|time| time.map(of_seconds))
}

#[cfg(feature = "serde")]
#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float to integer cast saturates, and a time in a report is shown, never decided by"
)]
fn of_seconds(seconds: f64) -> u64 {
    (seconds * 1000.0 + 0.5) as u64
}

#[cfg(all(test, feature = "serde"))]
mod tests {
    use super::*;
    use crate::older::OlderKind;

    #[test]
    fn a_report_of_the_loader_is_read_by_the_agent() {
        let report = BootReport {
            node: Some("demo".into()),
            slot: Some("a".into()),
            tries_left: Some(2),
            generation: Some(7),
            verified: 12,
            repaired: alloc::vec!["etc/hostname".into()],
            missing: alloc::vec!["token".into()],
            security_epoch: Some(2),
            older: [OlderKind::SealPlace, OlderKind::Generation, OlderKind::Release]
                .map(|what| Older { what, lower: 3, higher: 4, message: "seal-b \"3\"".into() })
                .into(),
            faults: alloc::vec![FaultReport { fault: "file-differs".into(), message: "x \"y\"".into() }],
            firmware_ms: Some(2750),
            steps: alloc::vec![Step {
                name: "modules".into(),
                kind: StepKind::Wait,
                start_ms: 4045,
                took_ms: 310
            }],
            ..BootReport::default()
        };
        let read: BootReport = serde_json::from_str(&report.to_json()).unwrap();
        assert_eq!(read, report);
    }

    #[test]
    fn a_report_of_an_older_release_is_read() {
        let mut old = BootReport::default().to_json();
        for added in ["\"firmware\":null,\"selector\":null,", "\"security_epoch\":null,", "\"older\":[],"] {
            assert!(old.contains(added), "{old}");
            old = old.replace(added, "");
        }
        let old = old.replace("[]}", "[{\"name\":\"early\",\"start\":1.5,\"seconds\":0.25}]}");
        let read: BootReport = serde_json::from_str(&old).unwrap();
        let step = Step { name: "early".into(), kind: StepKind::Loader, start_ms: 1500, took_ms: 250 };
        assert_eq!((read.firmware_ms, read.steps), (None, alloc::vec![step]));
    }
}
