//! The result of `flash` for each stick, as text and as JSON.

use crate::error::Error;
use crate::flash::Flashed;
use handoff::shown::Shown;
use serde_json::{Value, json};
use std::fmt;
use std::path::PathBuf;

/// The results of all sticks.
#[derive(Debug)]
pub struct FlashOutput {
    pub(super) sticks: Vec<Outcome>,
    pub(super) json: bool,
}

/// The result of one stick.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) target: String,
    pub(super) node: String,
    pub(super) size: u64,
    pub(super) result: Result<(Flashed, Option<PathBuf>), Error>,
}

impl FlashOutput {
    /// The exit code: that of the first stick that failed.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        self.sticks.iter().find_map(|stick| Some(stick.result.as_ref().err()?.exit_code())).unwrap_or(0)
    }

    /// The sticks as JSON, in their order.
    pub(in crate::cli) fn values(&self) -> impl Iterator<Item = Value> {
        self.sticks.iter().map(Outcome::to_json)
    }
}

impl Outcome {
    fn to_json(&self) -> Value {
        let Self { target, node, size, result } = self;
        match result {
            Ok((flashed, receipt)) => json!({
                "target": target, "node": node, "size": size,
                "written": flashed.written, "equal": flashed.equal, "read_back": flashed.read_back,
                "receipt": receipt.as_ref().map(|path| path.display().to_string()),
            }),
            Err(error) => {
                let mut value = error.to_json();
                value["target"] = target.as_str().into();
                value["node"] = node.as_str().into();
                value["size"] = (*size).into();
                value
            }
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (flashed, receipt) = match &self.result {
            Ok(done) => done,
            Err(error) => return write!(f, "{}: NOT DONE: {}", self.target, error.report()),
        };
        let mib = |bytes: u64| bytes.div_ceil(1 << 20);
        write!(f, "{}: node {}, {} MiB written", self.target, self.node, mib(flashed.written))?;
        if flashed.equal > 0 {
            write!(f, ", {} MiB were on it already", mib(flashed.equal))?;
        }
        f.write_str(if flashed.read_back { ", all read back" } else { ", not read back" })?;
        match receipt {
            Some(path) => write!(f, "\n  receipt {}", Shown(path.display())),
            None if flashed.read_back => f.write_str("\n  no receipt: name the site with --site to get one"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for FlashOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.json {
            return write!(f, "{:#}", json!({"format": 1, "sticks": self.values().collect::<Value>()}));
        }
        self.sticks.iter().try_for_each(|stick| writeln!(f, "{stick}"))
    }
}
