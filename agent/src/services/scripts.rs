//! The services of a system whose init records no times: the scripts write their own, and the kernel knows when each
//! process that init started and keeps began.

use super::service;
use crate::file;
use crate::root::Root;
use handoff::report::Step;

/// Lines `NAME BEGAN ENDED`, with times as in /proc/uptime: seconds with two places.
const NOTED: &str = "/run/psyops/init-scripts";
const INIT: u64 = 1;
/// The agent's own run is in the report already, under its own name.
const OWN: &str = "psyops-agent";

/// Scripts that have ended, and services that run.
pub(super) fn services(root: &Root) -> Vec<Step> {
    let noted = file::read_text(&root.at(NOTED)).unwrap_or_default();
    let mut steps: Vec<Step> = noted.lines().filter_map(script).collect();
    let processes = file::names(&root.at("/proc")).unwrap_or_default();
    let stat = |name: &std::ffi::OsString| {
        let id = name.to_str().filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))?;
        file::read_text(&root.at(format!("/proc/{id}/stat"))).ok()
    };
    let ticks = rustix::param::clock_ticks_per_second();
    steps.extend(processes.iter().filter_map(stat).filter_map(|stat| process(&stat, ticks)));
    steps
}

fn script(line: &str) -> Option<Step> {
    let mut words = line.split_ascii_whitespace();
    let (name, began, ended) = (words.next()?, words.next()?, words.next()?);
    Some(service(name, milliseconds(began)?, milliseconds(ended)?))
}

/// Seconds with two places, in milliseconds.
fn milliseconds(text: &str) -> Option<u64> {
    let (whole, part) = text.split_once('.')?;
    let hundredths: u64 = part.get(..2)?.parse().ok()?;
    whole.parse::<u64>().ok()?.checked_mul(1000)?.checked_add(hundredths * 10)
}

/// A process that init started (`proc_pid_stat(5)`). Its name, in parentheses, may have any characters.
fn process(stat: &str, ticks_per_second: u64) -> Option<Step> {
    let (before, after) = stat.rsplit_once(')')?;
    let name = before.split_once('(')?.1;
    let fields: Vec<&str> = after.split_ascii_whitespace().collect();
    let number = |position: usize| fields.get(position)?.parse::<u64>().ok();
    // Fields 4 (parent) and 22 (start) of the manual page; the list here begins with field 3.
    let started = number(19)?.checked_mul(1000)?.checked_div(ticks_per_second)?;
    (number(1)? == INIT && name != OWN).then(|| service(name, started, started))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_and_children_of_init_are_steps() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        let write = |path: &str, text: &str| file::write(&root.at(path), text.as_bytes(), 0o644).unwrap();
        write(NOTED, "rcS 4.05 4.31\nbroken 1\ndevices 4.4 5\nnetwork 4.40 5.07\n");
        let stat = |name: &str, parent: u64, start: u64| {
            format!("7 ({name}) S {parent} 7 7 0 -1 4194560 1 0 0 0 1 1 0 0 20 0 1 0 {start} 100 10 18446\n")
        };
        write("/proc/7/stat", &stat("sshd", 1, 437));
        write("/proc/8/stat", &stat("a) b (c", 1, 440));
        write("/proc/9/stat", &stat("sh", 7, 450));
        write("/proc/10/stat", &stat("psyops-agent", 1, 450));
        write("/proc/meminfo", "");
        let steps = services(&root);
        let ticks = rustix::param::clock_ticks_per_second();
        let at = |start: u64| start * 1000 / ticks;
        assert_eq!(
            steps,
            [
                service("rcS", 4050, 4310),
                service("network", 4400, 5070),
                service("sshd", at(437), at(437)),
                service("a) b (c", at(440), at(440)),
            ]
        );
    }
}
