//! The node's fixed addresses for rescue by SSH, when rescue was requested before the seal, which has the addresses,
//! was read.
//!
//! People request rescue when a stick is faulty, so rescue must not depend on it: a child of PID 1 reads the stick, and
//! is left behind if it hangs. Its mounts are in its own namespace; they and its memory, with the node's key in it, go
//! when it ends. It reports on its standard output, one line for each item: a word for the kind, a tab, and the rest.

use crate::boot::Boot;
use crate::clock::Uptime;
use crate::console::Console;
use crate::failure::Failure;
use crate::log::Log;
use crate::process::{self, Ended};
use crate::steps::disk;
use crate::{mounts, node};
use handoff::guid::Guid;
use handoff::kernel_arguments::DEVICE_TIMEOUT;
use handoff::loader_config::LoaderConfig;
use handoff::paths;
use handoff::report::StepKind;
use handoff::rescue_network::FixedAddress;
use nix::sched::{CloneFlags, unshare};
use std::time::Duration;

/// How long the child may take. A good stick needs a second, one that appears late or is slow ten or more; if a node
/// has a fixed address it may be the only way to log in, so it is worth waiting for. Before that, drivers that still
/// look for their devices get the same time.
const PATIENCE: Duration = Duration::from_secs(30);

const NODE: &str = "node";
const GENERATION: &str = "serial";
const ADDRESS: &str = "address";
const PROBLEM: &str = "problem";
const END: &str = "end";

/// Reads the addresses, if possible. Without them the network cards use DHCP, and the log says so.
pub(crate) fn learn(boot: &mut Boot, esp: Option<Guid>, trust: &LoaderConfig) {
    let patience = PATIENCE.saturating_add(disk::asked_patience(boot).unwrap_or_default());
    let start = Uptime::now();
    boot.watch("addresses", patience.saturating_mul(2).saturating_add(Duration::from_mins(1)));
    // The child could not wait for the drivers: they are not its own children.
    boot.probing.finish_all(start.plus(patience), &mut boot.log);
    let (arguments, set_aside) = (boot.arguments.clone(), boot.set_aside.clone());
    let child = || read(Boot::of_child(arguments, set_aside), esp, trust);
    let mut heard = Heard::default();
    let ended = process::run(Uptime::now().plus(patience), child, |line| heard.take(line, &mut boot.log));
    boot.took("addresses", StepKind::Loader, start);
    boot.report.node = heard.node.take();
    boot.report.generation = heard.generation;
    match heard.addresses(ended, patience) {
        Ok(addresses) => boot.addresses = addresses,
        Err(problem) => boot
            .log
            .error(&format!("no fixed address is known, so the network cards of rescue use DHCP: {problem}")),
    }
}

/// The work of the child process.
fn read(mut boot: Boot, esp: Option<Guid>, trust: &LoaderConfig) -> i32 {
    // A panic of this child must not restart the machine.
    let _ = std::panic::take_hook();
    let mut out = Console::standard_output();
    let mut say = |word: &str, text: &str| out.record(word, text);
    let result = steps(&mut boot, esp, trust);
    if let Some(node) = &boot.report.node {
        say(NODE, node);
    }
    if let Some(generation) = boot.report.generation {
        say(GENERATION, &generation.to_string());
    }
    match result {
        Ok(()) => boot.addresses.iter().for_each(|address| say(ADDRESS, &address.to_string())),
        Err(problem) => say(PROBLEM, &problem),
    }
    say(END, "");
    // Unmounting explicitly reports errors; the end of the namespace would hide them.
    if mounts::is_mounted(paths::SECRET_PARTITION)
        && let Err(error) = mounts::unmount(paths::SECRET_PARTITION)
    {
        boot.log.error(&error.to_string());
    }
    0
}

/// Runs the steps up to the node's addresses; an error has the problem and the remedy.
fn steps(boot: &mut Boot, esp: Option<Guid>, trust: &LoaderConfig) -> Result<(), String> {
    unshare(CloneFlags::CLONE_NEWNS).map_err(|errno| {
        advised(&format!("cannot create a mount namespace: {}", errno.desc()), "start the other slot")
    })?;
    let failed = |failure: Failure| advised(&failure.problem, &failure.remedy);
    let disk = boot.step("disk", disk::deadline(boot), |boot| disk::run(boot, esp)).map_err(failed)?;
    node::learn_addresses(boot, &disk, trust).map_err(failed)
}

/// What PID 1 received from the child.
#[derive(Debug, Default, PartialEq, Eq)]
struct Heard {
    node: Option<String>,
    generation: Option<u64>,
    addresses: Vec<FixedAddress>,
    problem: Option<String>,
    /// Whether the child sent the end mark.
    whole: bool,
}

impl Heard {
    fn take(&mut self, line: &str, log: &mut Log) {
        let (word, text) = line.split_once('\t').unwrap_or((line, ""));
        match word {
            NODE => self.node = Some(text.into()),
            GENERATION => self.generation = text.parse().ok(),
            ADDRESS => self.addresses.extend(text.parse::<FixedAddress>().ok()),
            PROBLEM => self.problem = Some(text.into()),
            END => self.whole = true,
            kind => log.take(kind, text),
        }
    }

    /// The addresses; an error has the problem and the remedy.
    fn addresses(self, ended: nix::Result<Ended>, patience: Duration) -> Result<Vec<FixedAddress>, String> {
        match (self, ended) {
            (Self { problem: Some(problem), .. }, _) => Err(problem),
            // The child sent everything; how it ended afterwards does not matter.
            (Self { whole: true, addresses, .. }, _) => Ok(addresses),
            (_, Ok(Ended::TimedOut)) => Err(advised(
                &format!("the node's seal and key could not be read within {} s", patience.as_secs()),
                &format!(
                    "the lines above say what was missing; try another port or another stick (`reboot -n` does not wait \
                     for this one); {DEVICE_TIMEOUT}=SECONDS on the kernel command line waits longer"
                ),
            )),
            (_, Ok(ended)) => Err(advised(
                &format!("the process that reads the node's seal and key failed ({ended:?})"),
                "report this, with what `log` shows",
            )),
            (_, Err(errno)) => Err(advised(
                &format!("cannot start the process that reads the node's seal and key: {}", errno.desc()),
                "give the machine more memory",
            )),
        }
    }
}

fn advised(problem: &str, remedy: &str) -> String {
    format!("{problem}; what to do: {remedy}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::errno::Errno;
    use nix::sys::signal::Signal;

    fn heard(lines: &[&str]) -> (Heard, Log) {
        let mut log = Log::new(Console::standard_output(), String::new());
        let mut heard = Heard::default();
        for line in lines {
            heard.take(line, &mut log);
        }
        (heard, log)
    }

    const PATIENCE: Duration = Duration::from_secs(7);

    #[test]
    fn only_complete_answers_of_the_child_count() {
        let lines =
            ["info\tseal of node alpha", "node\talpha", "serial\t3", "address\t* 192.0.2.1/24 -", "end"];
        let (said, log) = heard(&lines);
        assert_eq!((said.node.as_deref(), said.generation), (Some("alpha"), Some(3)));
        assert!(log.text().contains("seal of node alpha"), "{}", log.text());
        // The stick may hang while the child unmounts it.
        assert_eq!(
            said.addresses(Ok(Ended::TimedOut), PATIENCE),
            Ok(vec!["* 192.0.2.1/24 -".parse().unwrap()])
        );
        let without_its_end = heard(&lines[..4]).0;
        let problem = without_its_end.addresses(Ok(Ended::TimedOut), PATIENCE).unwrap_err();
        assert!(
            problem.contains("within 7 s; what to do: ") && problem.contains(DEVICE_TIMEOUT),
            "{problem}"
        );
    }

    #[test]
    fn each_problem_is_reported_with_advice() {
        let missing = heard(&["problem\tno valid seal; what to do: make one", "end"]).0;
        let problem = missing.addresses(Ok(Ended::Exited(0)), PATIENCE);
        assert_eq!(problem, Err("no valid seal; what to do: make one".into()));
        for ended in [Ok(Ended::Exited(0)), Ok(Ended::Killed(Signal::SIGABRT)), Err(Errno::ENOMEM)] {
            let problem = Heard::default().addresses(ended, PATIENCE).unwrap_err();
            assert!(problem.contains("; what to do: "), "{problem}");
        }
    }

    #[test]
    fn the_log_of_the_child_is_added() {
        let lines = [
            "error\ta seal is not used",
            "debug\tdisk took 4 ms",
            "marked\tpsyops fault: x",
            "a second line",
        ];
        let text = heard(&lines).1.text().to_owned();
        for line in ["] a seal is not used", "] disk took 4 ms", "] psyops fault: x", "] a second line"] {
            assert!(text.contains(line), "{line}: {text}");
        }
    }
}
