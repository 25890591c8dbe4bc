//! One run of a host program: its output, its time limit, and its error messages.

use super::limits::{Exceeded, Limits};
use super::{ToolError, program_name};
use crate::details::Details;
use crate::parallel;
use crate::width::to_u64;
use std::io::{self, BufRead as _, Read};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tracing::field::Empty;
use tracing::{Span, debug_span};

/// The most bytes of a failed tool's error messages in an error.
const MOST_COMPLAINT: usize = 4000;
/// The most bytes of a tool's output that are kept in memory: more than the largest file that `cat` shows.
const MOST_OUTPUT: u64 = 1 << 30;
/// How many of the last bytes on standard error are kept.
const MOST_ERRORS: usize = 1 << 16;
/// The longest sleep between two checks whether a tool has ended.
const NAP: Duration = Duration::from_millis(10);
/// The signals of setrlimit(2).
const SIGXCPU: i32 = 24;
const SIGXFSZ: i32 = 25;
/// The messages of programs that got no memory.
const NO_MEMORY: [&str; 6] = [
    "annot allocate memory",
    "emory exhausted",
    "ut of memory",
    "bad_alloc",
    "memory allocation",
    "ut of space",
];

/// A running program, which is killed when this is dropped.
#[derive(Debug)]
pub struct Running {
    program: String,
    limits: Option<Limits>,
    child: Arc<Mutex<Child>>,
    /// Tells the thread that watches the time that the program has ended.
    ended: Option<Sender<()>>,
    /// The thread that watches the time; returns whether it stopped the program.
    watch: Option<JoinHandle<bool>>,
    clock: Duration,
    /// Its span in the log, which ends with this. Arguments and environment are not logged: they may hold secrets.
    span: Span,
}

/// Starts `command`, with the input and output that are set in it.
pub fn start(command: &mut Command) -> Result<Running, ToolError> {
    let clock = Limits::of(command).map(|limits| limits.clock());
    start_within(command, clock)
}

fn start_within(command: &mut Command, clock: Option<Duration>) -> Result<Running, ToolError> {
    let program = program_name(command);
    let limits = Limits::of(command);
    let span = debug_span!("tool", program, exit_code = Empty, signal = Empty);
    let child = command.spawn().map_err(|source| ToolError::Start { program: program.clone(), source })?;
    let child = Arc::new(Mutex::new(child));
    let (ended, end) = mpsc::channel();
    let watch = clock.map(|clock| {
        let child = Arc::clone(&child);
        thread::spawn(move || {
            let over = end.recv_timeout(clock) == Err(RecvTimeoutError::Timeout);
            // A program that has ended already is not killed.
            over && lock(&child).kill().is_ok()
        })
    });
    let clock = clock.unwrap_or(Duration::MAX);
    Ok(Running { program, limits, child, ended: Some(ended), watch, clock, span })
}

fn lock(child: &Mutex<Child>) -> MutexGuard<'_, Child> {
    child.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Running {
    /// The program's standard input, if it is a pipe.
    #[must_use]
    pub fn stdin(&self) -> Option<ChildStdin> {
        lock(&self.child).stdin.take()
    }

    /// The program's standard output, if it is a pipe.
    #[must_use]
    pub fn stdout(&self) -> Option<ChildStdout> {
        lock(&self.child).stdout.take()
    }

    /// The program's standard error, if it is a pipe.
    #[must_use]
    pub fn stderr(&self) -> Option<ChildStderr> {
        lock(&self.child).stderr.take()
    }

    /// Waits for the end of the program. `complaint` is its standard error. Returns an error only if the program was
    /// stopped.
    fn wait(mut self, complaint: &[u8]) -> Result<ExitStatus, ToolError> {
        let status =
            self.ended_with().map_err(|source| ToolError::Start { program: self.program.clone(), source })?;
        if let Some(code) = status.code() {
            self.span.record("exit_code", code);
        }
        if let Some(signal) = status.signal() {
            self.span.record("signal", signal);
        }
        let out_of_time = self.stop_watch();
        let exceeded = match self.limits {
            _ if out_of_time && status.signal().is_some() => Some(Exceeded::Clock(self.clock)),
            limits => limits.and_then(|limits| exceeded(limits, status, complaint)),
        };
        match exceeded {
            Some(exceeded) => Err(ToolError::OverLimit { program: self.program.clone(), exceeded }),
            None => Ok(status),
        }
    }

    fn ended_with(&self) -> io::Result<ExitStatus> {
        let mut nap = NAP / 100;
        loop {
            // Not `wait`, which would keep the lock from the thread that watches the time.
            if let Some(status) = lock(&self.child).try_wait()? {
                return Ok(status);
            }
            thread::sleep(nap);
            nap = (nap * 2).min(NAP);
        }
    }

    fn stop_watch(&mut self) -> bool {
        self.ended = None;
        self.watch
            .take()
            .is_some_and(|watch| watch.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    }

    /// The process id of the program.
    #[must_use]
    pub fn process(&self) -> u32 {
        lock(&self.child).id()
    }

    /// Passes on each line of standard error while the program runs; an exit status other than 0 is an error with the
    /// last lines.
    pub fn heard(self, hear: impl FnMut(&str)) -> Result<(), ToolError> {
        let errors = self.stderr().map_or_else(Vec::new, |errors| end_of(errors, hear));
        self.check(Vec::new(), errors).map(drop)
    }

    /// Waits for the end of a program whose standard error is not captured; an exit status other than 0 is an error.
    pub fn finish(self) -> Result<(), ToolError> {
        self.heard(|_| ())
    }

    /// Waits for the end, and turns a failure into an error. `output` and `errors` are what the program printed.
    pub fn check(self, output: Vec<u8>, errors: Vec<u8>) -> Result<Output, ToolError> {
        let program = self.program.clone();
        let status = self.wait(&errors)?;
        check(&program, Output { status, stdout: output, stderr: errors })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut child = lock(&self.child);
        // Both do nothing if the program has ended and was waited for.
        let _ = child.kill();
        let _ = child.wait();
    }
}

fn exceeded(limits: Limits, status: ExitStatus, complaint: &[u8]) -> Option<Exceeded> {
    let complaint = String::from_utf8_lossy(complaint);
    match status.signal() {
        Some(SIGXCPU) => Some(Exceeded::Cpu(limits.cpu)),
        Some(SIGXFSZ) => Some(Exceeded::File(limits.file)),
        None if !status.success() && complaint.contains("File too large") => {
            Some(Exceeded::File(limits.file))
        }
        _ if !status.success() && NO_MEMORY.iter().any(|words| complaint.contains(words)) => {
            Some(Exceeded::Memory(limits.memory))
        }
        _ => None,
    }
}

/// Runs `command` to its end and returns its output, with any exit status.
pub fn output(command: &mut Command) -> Result<Output, ToolError> {
    let clock = Limits::of(command).map(|limits| limits.clock());
    output_within(command, clock)
}

/// The same with another limit of real time.
pub(super) fn output_within(command: &mut Command, clock: Option<Duration>) -> Result<Output, ToolError> {
    let running = start_within(command.stdout(Stdio::piped()).stderr(Stdio::piped()), clock)?;
    let program = running.program.clone();
    let (stdout, stderr) = (running.stdout(), running.stderr());
    let read_errors = || stderr.map_or_else(Vec::new, |stderr| end_of(stderr, |_| ()));
    let read_output = || {
        let mut kept = Vec::new();
        let read = stdout.map_or(Ok(0), |stdout| stdout.take(MOST_OUTPUT + 1).read_to_end(&mut kept));
        if kept.len() as u64 > MOST_OUTPUT {
            let _ = lock(&running.child).kill();
        }
        read.map(|_| kept)
    };
    let (errors, kept) = parallel::both(read_errors, read_output);
    let kept = kept.map_err(|source| ToolError::Start { program: program.clone(), source })?;
    if kept.len() as u64 > MOST_OUTPUT {
        return Err(ToolError::OverLimit { program, exceeded: Exceeded::Output(MOST_OUTPUT) });
    }
    let status = running.wait(&errors)?;
    Ok(Output { status, stdout: kept, stderr: errors })
}

/// Runs `command` to its end and returns its output; an exit status other than 0 is an error with the program's
/// messages.
pub fn run(command: &mut Command) -> Result<Output, ToolError> {
    let program = program_name(command);
    check(&program, output(command)?)
}

/// Runs `command`, with the output that is set in it, and passes on each line of standard error while it runs; an exit
/// status other than 0 is an error with the last lines.
pub fn run_heard(command: &mut Command, hear: impl FnMut(&str)) -> Result<(), ToolError> {
    start(command.stderr(Stdio::piped()))?.heard(hear)
}

/// Reads to the end, passes on each line, and returns the last bytes. A read error counts as the end.
fn end_of(from: impl Read, mut hear: impl FnMut(&str)) -> Vec<u8> {
    let mut from = io::BufReader::new(from);
    let mut kept = Vec::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        let most = to_u64(MOST_ERRORS);
        match Read::by_ref(&mut from).take(most).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return kept,
            Ok(_) => {}
        }
        hear(&String::from_utf8_lossy(&line));
        kept.extend_from_slice(&line);
        if kept.len() > 2 * MOST_ERRORS {
            kept.drain(..kept.len() - MOST_ERRORS);
        }
    }
}

/// Turns the output of a finished program into an error if the program failed.
pub fn check(program: &str, output: Output) -> Result<Output, ToolError> {
    if output.status.success() {
        return Ok(output);
    }
    let mut complaint = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if complaint.is_empty() {
        String::from_utf8_lossy(&output.stdout).trim().clone_into(&mut complaint);
    }
    if let Some((cut, _)) = complaint.char_indices().rev().nth(MOST_COMPLAINT) {
        complaint = format!("... {}", &complaint[cut..]);
    }
    Err(ToolError::Failed {
        program: program.to_owned(),
        status: output.status,
        complaint: Details::new(complaint),
    })
}
