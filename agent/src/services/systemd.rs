//! The times that systemd records for its units: when each start began, and when it was done.

use super::service;
use handoff::report::Step;
use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use tracing::debug_span;
use tracing::field::Empty;

const UNIT: &str = "--property=Id,InactiveExitTimestampMonotonic,ActiveEnterTimestampMonotonic,\
                    InactiveEnterTimestampMonotonic";
const MANAGER: &str = "--property=UserspaceTimestampMonotonic,UnitsLoadFinishTimestampMonotonic";
/// The agent's own unit is in the report already, under its own name.
const OWN: &str = "psyops-configure.service";

type Properties = BTreeMap<String, String>;

/// The services of the boot, after systemd itself until it had read its units.
pub(super) fn services() -> Vec<Step> {
    let mut steps = of_units(&show(&[UNIT, "default.target", "*.service"]));
    steps.extend(show(&[MANAGER]).first().and_then(of_manager));
    steps
}

/// The properties that systemctl prints about each unit; empty if it fails.
fn show(arguments: &[&str]) -> Vec<Properties> {
    let mut systemctl = Command::new("systemctl");
    systemctl.arg("show").args(arguments).env("LC_ALL", "C").stdin(Stdio::null());
    let span = debug_span!("tool", program = "systemctl", exit_code = Empty).entered();
    let Ok(output) = systemctl.output() else { return Vec::new() };
    if let Some(code) = output.status.code() {
        span.record("exit_code", code);
    }
    parse(&String::from_utf8_lossy(&output.stdout))
}

/// Reads `Name=value` lines, with an empty line between units.
fn parse(text: &str) -> Vec<Properties> {
    let things = text.split("\n\n").map(|thing| {
        let lines = thing.lines().filter_map(|line| line.split_once('='));
        lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    });
    things.filter(|properties: &Properties| !properties.is_empty()).collect()
}

/// A time in milliseconds; systemd writes 0 for never.
fn time(properties: &Properties, name: &str) -> Option<u64> {
    let microseconds: u64 = properties.get(name)?.parse().ok()?;
    (microseconds > 0).then_some(microseconds / 1000)
}

/// The services from the units. The first unit is the target of the boot: what began after it is not part of the boot.
fn of_units(units: &[Properties]) -> Vec<Step> {
    let Some((target, services)) = units.split_first() else { return Vec::new() };
    let booted = time(target, "ActiveEnterTimestampMonotonic").unwrap_or(u64::MAX);
    let step = |unit: &Properties| {
        let id = unit.get("Id").filter(|id| *id != OWN)?;
        let start = time(unit, "InactiveExitTimestampMonotonic").filter(|start| *start <= booted)?;
        // A service that did its work and ended is inactive again, not active.
        let ends = ["ActiveEnterTimestampMonotonic", "InactiveEnterTimestampMonotonic"];
        let end = ends.iter().filter_map(|name| time(unit, name)).find(|end| *end >= start)?;
        Some(service(id.strip_suffix(".service").unwrap_or(id), start, end))
    };
    services.iter().filter_map(step).collect()
}

fn of_manager(manager: &Properties) -> Option<Step> {
    let start = time(manager, "UserspaceTimestampMonotonic")?;
    Some(service("systemd", start, time(manager, "UnitsLoadFinishTimestampMonotonic")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_of_the_boot_are_steps() {
        let unit = |id: &str, exit: u64, up: u64, down: u64| {
            format!(
                "Id={id}\nInactiveExitTimestampMonotonic={exit}\nActiveEnterTimestampMonotonic={up}\n\
                 InactiveEnterTimestampMonotonic={down}\n"
            )
        };
        let text = [
            unit("multi-user.target", 9_000_000, 9_000_000, 0),
            unit("ssh.service", 8_000_000, 8_250_000, 0),
            unit("once.service", 5_000_000, 0, 5_750_000),
            unit("restarted.service", 7_000_000, 7_100_000, 6_900_000),
            unit("later.service", 20_000_000, 21_000_000, 0),
            unit("never.service", 0, 0, 0),
            unit("starting.service", 8_500_000, 0, 0),
            unit(OWN, 6_000_000, 7_000_000, 0),
        ];
        let steps = of_units(&parse(&text.join("\n")));
        let expected =
            [service("ssh", 8000, 8250), service("once", 5000, 5750), service("restarted", 7000, 7100)];
        assert_eq!(steps, expected);
        let manager = "UserspaceTimestampMonotonic=4000000\nUnitsLoadFinishTimestampMonotonic=4500000\n";
        assert_eq!(parse(manager).first().and_then(of_manager), Some(service("systemd", 4000, 4500)));
        assert_eq!((parse(""), of_units(&[])), (Vec::new(), Vec::new()));
    }
}
