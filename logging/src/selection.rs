//! Which events are logged: by `-v`, or by the environment variable `PSYOPS_LOG`.

use std::ffi::OsStr;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;

/// The environment variable that selects events. `-v` on the command line takes precedence.
pub const VARIABLE: &str = "PSYOPS_LOG";

/// The crates whose events can be logged.
const CRATES: [&str; 2] = ["builder", "agent"];

/// The levels in the order of their number of events.
const LEVELS: [(&str, LevelFilter); 6] = [
    ("off", LevelFilter::OFF),
    ("error", LevelFilter::ERROR),
    ("warn", LevelFilter::WARN),
    ("info", LevelFilter::INFO),
    ("debug", LevelFilter::DEBUG),
    ("trace", LevelFilter::TRACE),
];

/// A value of `PSYOPS_LOG` that is not valid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSelection {
    /// The value is not text.
    #[error("{VARIABLE} is not UTF-8; unset it, or set it to a level such as info")]
    NotText,
    /// A part is neither a level nor a target with a level.
    #[error("{VARIABLE}: {0:?} is not a level: use off, error, warn, info, debug or trace")]
    Level(String),
    /// A target is not in one of our crates; holds the target.
    #[error(
        "{VARIABLE}: {0:?} is not a part of these programs: use builder or agent, or a module in it such as builder::tools"
    )]
    Target(String),
}

/// A level for all events, and levels for those of some modules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Selection {
    /// For events that no entry of `targets` is about.
    level: LevelFilter,
    targets: Vec<(String, LevelFilter)>,
}

impl Selection {
    /// The selection of this many `-v`; `None` without any.
    pub(crate) fn of_verbosity(count: u8) -> Option<Self> {
        let level = match count {
            0 => return None,
            1 => LevelFilter::INFO,
            2 => LevelFilter::DEBUG,
            _ => LevelFilter::TRACE,
        };
        Some(Self { level, targets: Vec::new() })
    }

    /// Reads a value of [`VARIABLE`]: parts between commas, each a level or `TARGET=LEVEL`. An empty value selects
    /// nothing, as if the variable were not set.
    pub(crate) fn from_variable(value: &OsStr) -> Result<Self, BadSelection> {
        let text = value.to_str().ok_or(BadSelection::NotText)?;
        let mut selection = Self { level: LevelFilter::OFF, targets: Vec::new() };
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            match part.split_once('=') {
                Some((target, word)) => selection.targets.push((known_target(target.trim())?, level(word)?)),
                None => selection.level = level(part)?,
            }
        }
        Ok(selection)
    }

    /// The filter for the events of our crates; `None` if none is selected.
    pub(crate) fn filter(&self) -> Option<Targets> {
        let all = CRATES.iter().map(|name| ((*name).to_owned(), self.level));
        // A later entry replaces an earlier one of the same target.
        let entries: Vec<_> = all.chain(self.targets.iter().cloned()).collect();
        let any = entries.iter().any(|(_, level)| *level != LevelFilter::OFF);
        any.then(|| Targets::new().with_targets(entries))
    }
}

fn level(word: &str) -> Result<LevelFilter, BadSelection> {
    let word = word.trim();
    let known = LEVELS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
    known.map(|(_, level)| *level).ok_or_else(|| BadSelection::Level(word.to_owned()))
}

fn known_target(target: &str) -> Result<String, BadSelection> {
    let first = target.split("::").next();
    if CRATES.iter().any(|name| first == Some(*name)) {
        Ok(target.to_owned())
    } else {
        Err(BadSelection::Target(target.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt as _;
    use tracing::Level;

    fn read(text: &str) -> Result<Selection, BadSelection> {
        Selection::from_variable(OsStr::new(text))
    }

    #[test]
    fn each_v_adds_a_level() {
        assert_eq!(Selection::of_verbosity(0), None);
        for (count, level) in [
            (1, LevelFilter::INFO),
            (2, LevelFilter::DEBUG),
            (3, LevelFilter::TRACE),
            (9, LevelFilter::TRACE),
        ] {
            assert_eq!(Selection::of_verbosity(count), Some(Selection { level, targets: Vec::new() }));
        }
    }

    #[test]
    fn a_level_is_for_our_crates_only() {
        let filter = Selection::of_verbosity(3).unwrap().filter().unwrap();
        assert!(filter.would_enable("builder::tools", &Level::TRACE));
        assert!(filter.would_enable("agent", &Level::TRACE));
        for library in ["reqwest::connect", "hyper", "rustls", "oci_client::client"] {
            assert!(!filter.would_enable(library, &Level::ERROR), "{library}");
        }
    }

    #[test]
    fn a_module_can_have_its_own_level() {
        let filter = read("warn, builder::tools=debug,builder::site=off").unwrap().filter().unwrap();
        assert!(filter.would_enable("builder::tools::process", &Level::DEBUG));
        assert!(!filter.would_enable("builder::tools", &Level::TRACE));
        assert!(filter.would_enable("builder::engine", &Level::WARN));
        assert!(!filter.would_enable("builder::engine", &Level::INFO));
        assert!(!filter.would_enable("builder::site", &Level::ERROR));
    }

    #[test]
    fn nothing_is_started_for_an_empty_value_or_off() {
        for value in ["", " , ", "off", "builder=off"] {
            assert_eq!(read(value).unwrap().filter(), None, "{value:?}");
        }
    }

    #[test]
    fn a_value_that_is_not_valid_is_named() {
        assert_eq!(read("loud"), Err(BadSelection::Level("loud".into())));
        assert_eq!(read("info,builder=5"), Err(BadSelection::Level("5".into())));
        assert_eq!(read("hyper=trace"), Err(BadSelection::Target("hyper".into())));
        assert_eq!(read("builderx=trace"), Err(BadSelection::Target("builderx".into())));
        assert_eq!(read("=trace"), Err(BadSelection::Target(String::new())));
        assert_eq!(Selection::from_variable(OsStr::from_bytes(b"\xff")), Err(BadSelection::NotText));
        assert_eq!(
            BadSelection::Level("loud".into()).to_string(),
            "PSYOPS_LOG: \"loud\" is not a level: use off, error, warn, info, debug or trace"
        );
    }
}
