//! `psyops boot-chart REPORT`: draws a boot report as a chart.

use crate::atomic;
use crate::error::{Class, Classified, Error};
use crate::report_file;
use charts::boot_chart;
use charts::timeline::Timeline;
use clap::Args;
use handoff::shown::Shown;
use serde_json::json;
use std::path::PathBuf;

/// Draw the steps of a boot and their times as SVG
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  psyops run pi1.img --headless > boot.json; psyops boot-chart boot.json --output boot.svg
  ssh root@pi1 cat /run/psyops/boot.json | psyops boot-chart - > boot.svg
  psyops boot-chart boot.json --from early --output loader.svg
  psyops boot-chart console.log --json   the rows and the critical path as JSON

Times are in milliseconds since the kernel started.")]
pub struct BootChartArgs {
    /// A boot report: boot.json of a node, the output of psyops run --headless, or a console log; - for the
    /// standard input
    pub report: PathBuf,
    /// Write the picture to this file instead of the standard output
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Begin with this step: kernel, early, root...
    #[arg(long, value_name = "STEP")]
    pub from: Option<String>,
    /// Print the rows as JSON and draw nothing
    #[arg(long, conflicts_with = "output")]
    pub json: bool,
}

/// The boot has no step with the name that the user gave.
#[derive(Debug, thiserror::Error, classified::Cause)]
#[error("{report} has no step {name:?}; its steps are {names}", report = .report.display())]
pub struct NoStep {
    name: String,
    report: PathBuf,
    names: String,
}

impl Classified for NoStep {
    fn own_class(&self) -> Option<Class> {
        Some(Class::MissingInput)
    }
}

/// Runs the command; returns what to print.
pub fn run(args: &BootChartArgs) -> Result<String, Error> {
    let mut timeline = Timeline::of(&report_file::read(&args.report)?);
    if let Some(name) = &args.from {
        let names: Vec<String> = timeline.rows.iter().map(|row| row.name.clone()).collect();
        let unknown = || NoStep { name: name.clone(), report: args.report.clone(), names: names.join(", ") };
        timeline = timeline.from(name).ok_or_else(unknown)?;
    }
    if args.json {
        return Ok(format!("{:#}\n", to_json(&timeline)));
    }
    let picture = boot_chart::draw(&timeline);
    match &args.output {
        None => Ok(picture),
        Some(path) => {
            atomic::write_file(path, picture.as_bytes())?;
            Ok(format!(
                "{}: {} steps, ready after {} ms\n",
                Shown(path.display()),
                timeline.rows.len(),
                timeline.ready()
            ))
        }
    }
}

fn to_json(timeline: &Timeline) -> serde_json::Value {
    let rows = timeline.rows.iter().map(|row| {
        json!({
            "name": row.name,
            "kind": row.kind.word(),
            "start_ms": row.start,
            "end_ms": row.end,
            "critical": row.critical,
        })
    });
    json!({
        "format": 1,
        "title": timeline.title,
        "ready_ms": timeline.ready(),
        "services_left_out": timeline.left_out,
        "rows": rows.collect::<Vec<_>>(),
    })
}
