//! `psyops check`: all mistakes in the files of a site, without building anything.

use crate::cli::site::{find, how_to_let_in};
use crate::error::{Class, Classified as _, Error, chain};
use crate::next_command::found_site;
use crate::site::{Site, SiteError};
use clap::Args;
use handoff::shown::Shown;
use serde_json::{Value, json};
use std::fmt;
use std::path::PathBuf;

/// Check all files of a site, and list every mistake
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  psyops check                  the site around the current folder
  psyops check --site fleet
  psyops check --json

Reads what every command reads, and goes on behind a mistake. Nothing is built, written or
fetched, and no key is needed.")]
pub struct CheckArgs {
    /// The site's folder (default: `PSYOPS_SITE`, or the site around the current folder)
    #[arg(long, value_name = "DIR")]
    pub site: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What is wrong with a site.
#[derive(Debug)]
pub struct CheckOutput {
    dir: PathBuf,
    checked: Result<Box<Site>, Vec<SiteError>>,
    json: bool,
}

/// Runs the command.
pub fn run(args: &CheckArgs) -> Result<CheckOutput, Error> {
    let dir = find(args.site.as_deref())?;
    match Site::check(&dir) {
        // There is no site to check.
        Err(mut problems) if matches!(problems[..], [SiteError::NotASite { .. }]) => {
            Err(problems.swap_remove(0).into())
        }
        checked => Ok(CheckOutput { dir, checked: checked.map(Box::new), json: args.json }),
    }
}

impl CheckOutput {
    /// 0 without a mistake; else 65.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        if self.checked.is_ok() { 0 } else { Class::BadContent.exit_code() }
    }

    fn mistakes(&self) -> &[SiteError] {
        self.checked.as_ref().err().map_or(&[], Vec::as_slice)
    }

    /// What is no mistake, but hardly meant.
    fn warnings(&self) -> Vec<String> {
        let site = self.checked.as_ref().ok().filter(|site| !site.has_login());
        site.map(|site| format!("no one can log in to the nodes: {}", how_to_let_in(site)))
            .into_iter()
            .collect()
    }

    fn to_json(&self) -> Value {
        let mistake = |error: &SiteError| {
            let place = error.place();
            json!({
                "message": chain(error),
                "advice": error.own_advice(),
                "file": place.map(|at| at.path.display().to_string()),
                "line": place.map(|at| at.line),
                "column": place.map(|at| at.column),
            })
        };
        let site = self.checked.as_ref().ok();
        json!({
            "format": 1,
            "dir": self.dir.display().to_string(),
            "site": site.map(|site| site.id.to_string()),
            "nodes": site.map(|site| site.nodes().count()),
            "mistakes": self.mistakes().iter().map(mistake).collect::<Vec<_>>(),
            "warnings": self.warnings(),
        })
    }
}

impl fmt::Display for CheckOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.json {
            return write!(f, "{:#}", self.to_json());
        }
        for mistake in self.mistakes() {
            writeln!(f, "{}", Shown(chain(mistake)))?;
            if let Some(advice) = mistake.own_advice() {
                writeln!(f, "  {}", Shown(advice))?;
            }
        }
        for warning in self.warnings() {
            writeln!(f, "warning: {}", Shown(warning))?;
        }
        let dir = Shown(self.dir.display());
        match (&self.checked, self.mistakes().len()) {
            (Ok(site), _) => {
                let nodes = counted(site.nodes().count(), "node");
                let roles = counted(site.roles.len(), "role");
                write!(f, "no mistakes in the site {} ({dir}): {nodes}, {roles}", site.id)?;
            }
            (Err(_), count) => write!(f, "{} in the site in {dir}", counted(count, "mistake"))?,
        }
        // Errors end with this, and a list of mistakes is no error.
        found_site().map_or(Ok(()), |found| write!(f, "\n{}", Shown(found)))
    }
}

/// A number with its noun: `1 node`, `2 nodes`.
fn counted(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}
