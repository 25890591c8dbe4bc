//! Finding the boot report in files that users have: `boot.json` of a node, the output of `psyops run --headless` or
//! `psyops-agent status --json`, or the log of a console.

use crate::error::{Class, Classified};
use crate::input::read_limited;
use crate::limits;
use handoff::marker;
use handoff::report::BootReport;
use handoff::report_key;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// Why no report was found.
#[derive(Debug, thiserror::Error, classified::Cause)]
pub enum ReportError {
    /// The file could not be read.
    #[error("cannot read {path}: {source}", path = .path.display())]
    Unreadable {
        /// The path of the file.
        path: PathBuf,
        /// The error from opening or reading it.
        r#source: io::Error,
    },
    /// The file has no report.
    #[error(
        "{path} has no boot report: it is not the JSON of one, and no line in it begins with {marker:?}",
        path = .0.display(),
        marker = marker::REPORT.trim_end()
    )]
    NoReport(PathBuf),
    /// The file has a report that this version cannot parse.
    #[error("{path}: the boot report is not valid: {source}", path = .path.display())]
    Syntax {
        /// The path of the file.
        path: PathBuf,
        /// The error from the JSON parser.
        r#source: serde_json::Error,
    },
}

impl Classified for ReportError {
    fn own_class(&self) -> Option<Class> {
        Some(match self {
            Self::Unreadable { source, .. } => Class::of_reading(source),
            Self::NoReport(_) | Self::Syntax { .. } => Class::BadContent,
        })
    }

    fn own_advice(&self) -> Option<String> {
        let take = "use /run/psyops/boot.json of the node, or the output of psyops run --headless";
        (!matches!(self, Self::Unreadable { .. })).then(|| take.into())
    }
}

/// Reads the report in the file at `path`; `-` is the standard input.
pub fn read(path: &Path) -> Result<BootReport, ReportError> {
    let result = if path == Path::new("-") {
        read_limited(io::stdin().lock(), &limits::REPORT)
    } else {
        // Not by the file's length: the file may be a pipe.
        File::open(path).and_then(|file| read_limited(file, &limits::REPORT))
    };
    let bytes = result.map_err(|source| ReportError::Unreadable { path: path.to_owned(), source })?;
    find(&crate::run::text::plain(&bytes), path)
}

pub(crate) fn find(text: &str, path: &Path) -> Result<BootReport, ReportError> {
    let syntax = |source| ReportError::Syntax { path: path.to_owned(), source };
    // If one log has several boots, the last report counts.
    let marked = text.lines().rev().find_map(|line| line.split_once(marker::REPORT));
    let json = match marked {
        Some((_, line)) => report_key::text(line),
        None if text.trim_start().starts_with('{') => text,
        None => return Err(ReportError::NoReport(path.to_owned())),
    };
    let mut value: serde_json::Value = serde_json::from_str(json.trim()).map_err(syntax)?;
    // The JSON of the agent's status has the report as a member.
    if let Some(report) = value.get_mut("report") {
        value = report.take();
    }
    serde_json::from_value(value).map_err(syntax)
}

#[cfg(test)]
mod tests {
    use super::*;
    use handoff::report_key::ReportKey;

    fn found(text: &str) -> Result<BootReport, ReportError> {
        find(text, Path::new("boot.log"))
    }

    #[test]
    fn a_report_is_found_in_each_form() {
        let report = |node: &str| BootReport { node: Some(node.into()), ..BootReport::default() };
        let (old, new) = (report("old").to_json(), report("new").to_json());
        let log =
            format!("[1.0] kernel\n{}{old}\nlogin: {}{new}\n[9.0] more", marker::REPORT, marker::REPORT);
        let proven = format!("{}{}", marker::REPORT, report_key::line(&new, Some(&ReportKey::new([7; 32]))));
        assert_eq!(found(&proven).unwrap(), report("new"));
        for text in [new.clone(), format!("\n{new}\n"), format!("{{\"report\":{new},\"status\":null}}"), log]
        {
            assert_eq!(found(&text).unwrap(), report("new"), "{text}");
        }
    }

    #[test]
    fn a_file_without_a_report_is_an_error() {
        assert!(matches!(found("[1.0] kernel\n"), Err(ReportError::NoReport(_))));
        let error = found("{\"format\":1}").unwrap_err();
        assert!(matches!(error, ReportError::Syntax { .. }));
        assert!(error.to_string().starts_with("boot.log: the boot report is not valid: missing field"));
        let missing = read(Path::new("/nowhere/boot.json")).unwrap_err();
        assert_eq!((missing.class(), error.class()), (Class::MissingInput, Class::BadContent));
    }
}
