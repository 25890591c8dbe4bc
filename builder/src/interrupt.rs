//! Ending by a signal: SIGINT, SIGTERM and SIGHUP stop the programs that were started, remove unfinished files, and
//! then end this process with the same signal, so that a shell sees 128 plus its number.
//!
//! One thread waits for the signals, which all other threads block; nothing runs in a signal handler. Commands that
//! need to do more request a flag instead ([`softly`]). Cases that a signal cannot handle (SIGKILL, a power cut) are
//! left to the kernel (unnamed files, `PR_SET_PDEATHSIG` for QEMU) and to the next run (locks, see [`crate::scratch`]
//! and [`crate::atomic`]).

use crate::leftovers;
use crate::terminal::Settings;
use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal, kill, raise};
use nix::unistd::{Pid, getpid};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Once, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

/// The signals that end a command.
const SIGNALS: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];
/// How long a started program may take to end by itself. QEMU needs a tenth of this.
const PATIENCE: Duration = Duration::from_millis(600);
/// The time between two checks whether programs have ended.
const STEP: Duration = Duration::from_millis(10);

static STARTED: Once = Once::new();
static ENDING: AtomicBool = AtomicBool::new(false);
static SOFT: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Makes signals end the process in an orderly way. Must be called before any other thread is started, because threads
/// inherit the blocked signals. Signals that are ignored from the start (`nohup`) stay ignored.
pub fn start() {
    STARTED.call_once(|| {
        let ignored = ignored();
        let mut signals = SigSet::empty();
        for signal in SIGNALS.into_iter().filter(|signal| ignored & bit(*signal) == 0) {
            signals.add(signal);
        }
        // A terminal whose echo is off (a password is being typed), or that QEMU uses, gets its settings back.
        let terminal = Settings::now();
        if signals.thread_block().is_err() {
            return;
        }
        thread::spawn(move || {
            while let Ok(signal) = signals.wait() {
                match SOFT.get() {
                    Some(flag) => flag.store(true, Ordering::Relaxed),
                    None => end(signal, &terminal),
                }
            }
        });
    });
}

/// A flag that a signal sets from now on, instead of ending the process.
#[must_use]
pub fn softly() -> Arc<AtomicBool> {
    start();
    Arc::clone(SOFT.get_or_init(Arc::default))
}

/// Waits for the end if a signal has begun it: errors meanwhile are only consequences of the signal.
pub fn wait_if_ending() {
    while ENDING.load(Ordering::SeqCst) {
        thread::sleep(PATIENCE);
    }
}

fn end(signal: Signal, terminal: &Settings) {
    ENDING.store(true, Ordering::SeqCst);
    stop_programs();
    let leftovers = leftovers::freeze();
    leftovers.remove();
    // Another thread may have started another program, which writes into a folder that was being removed.
    if !descendants().is_empty() {
        stop_programs();
        leftovers.remove();
    }
    terminal.restore();
    let mut this = SigSet::empty();
    this.add(signal);
    if this.thread_unblock().is_ok() {
        let _ = raise(signal);
    }
    // The signal's action is the default one, so this line is not reached.
    process::abort();
}

/// Ends every program that this process started, and those that they started: first with a signal, later by killing
/// them.
fn stop_programs() {
    let end = Instant::now() + PATIENCE;
    let mut asked = BTreeSet::new();
    loop {
        let running = descendants();
        let mut left = false;
        for &pid in &running {
            let late = Instant::now() >= end;
            let signal = if late { Signal::SIGKILL } else { Signal::SIGTERM };
            if late || asked.insert(pid) {
                // sudo's process belongs to another user, and ends with its terminal or its child.
                left |= kill(Pid::from_raw(pid), signal) != Err(Errno::EPERM);
            } else {
                left = true;
            }
        }
        if !left || Instant::now() >= end + PATIENCE {
            return;
        }
        thread::sleep(STEP);
    }
}

/// The living children of this process, and their descendants (`proc_pid_stat(5)`).
fn descendants() -> Vec<i32> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    #[expect(clippy::disallowed_methods, reason = "all are ended, so there is no order")]
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    for entry in entries.filter_map(Result::ok) {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Some(parent) = living_parent(pid) else { continue };
        children.entry(parent).or_default().push(pid);
    }
    let mut found = Vec::new();
    let mut todo = vec![getpid().as_raw()];
    while let Some(parent) = todo.pop() {
        let these = children.remove(&parent).unwrap_or_default();
        found.extend(&these);
        todo.extend(these);
    }
    found
}

/// The parent of a process that has not ended yet.
fn living_parent(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name is in parentheses and may have any characters.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    match fields.next()? {
        "Z" | "X" => None,
        _ => fields.next()?.parse().ok(),
    }
}

/// The signals that this process was told to ignore, as the mask in /proc.
fn ignored() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default()
}

fn bit(signal: Signal) -> u64 {
    1 << (signal as i32 - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::process::{Command, Stdio};

    #[test]
    fn children_of_children_are_found() {
        let mut shell = Command::new("sh")
            .args(["-c", "cat; true"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (mut keyboard, mut said) = (shell.stdin.take().unwrap(), shell.stdout.take().unwrap());
        keyboard.write_all(b"x").unwrap();
        said.read_exact(&mut [0]).unwrap();
        let pid = i32::try_from(shell.id()).unwrap();
        let found = descendants();
        assert!(found.contains(&pid));
        assert!(found.iter().any(|found| living_parent(*found) == Some(pid)), "{found:?}");
        // The end of their input ends all of them.
        drop(keyboard);
        shell.wait().unwrap();
        assert_eq!(living_parent(pid), None);
    }
}
