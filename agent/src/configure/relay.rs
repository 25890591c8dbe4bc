//! The connection from a command to the log: a pipe, which is read while the command runs.
//!
//! If the command starts a daemon, the daemon keeps its end of the pipe, and the run does not wait for it. A process
//! that writes to a pipe without a reader is killed (SIGPIPE). So the run starts a process that reads until the daemon
//! ends.

use super::log::{self, Output};
use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

/// Bytes that are read after the command's end. A pipe has room for no more, but other processes may still write to it.
const MOST_AT_END: usize = 1 << 20;

/// Bytes that are read at once.
const AT_ONCE: usize = 1 << 14;

/// The pipe of one attempt.
#[derive(Debug)]
pub(super) struct Relay<'a> {
    pipe: PipeReader,
    /// Whether a process can still write to it.
    open: bool,
    output: Output<'a>,
    log: &'a File,
}

impl<'a> Relay<'a> {
    /// A pipe whose output goes to `log`, and the writing end for the command.
    pub(super) fn new(log: &'a File) -> io::Result<(Self, PipeWriter)> {
        let (pipe, writer) = io::pipe()?;
        rustix::io::ioctl_fionbio(&pipe, true)?;
        Ok((Self { pipe, open: true, output: Output::new(log, log::MOST_OUTPUT), log }, writer))
    }

    /// The end to poll; `None` once all writers have ended.
    pub(super) fn pipe(&self) -> Option<&PipeReader> {
        self.open.then_some(&self.pipe)
    }

    /// Reads once, and returns the number of bytes.
    pub(super) fn read(&mut self) -> usize {
        let mut buffer = [0; AT_ONCE];
        match self.pipe.read(&mut buffer) {
            Ok(count) => {
                self.open = count > 0;
                self.output.take(buffer.get(..count).unwrap_or_default());
                count
            }
            Err(error) => {
                self.open = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted);
                0
            }
        }
    }

    /// Reads the remaining output of the command, and starts another process to read on if a process can still write.
    pub(super) fn end(mut self) {
        let mut count = 0;
        while count < MOST_AT_END {
            match self.read() {
                0 => break,
                more => count += more,
            }
        }
        self.output.end();
        if self.open {
            let log = self.log;
            if let Err(error) = self.read_on() {
                log::say(
                    log,
                    &format!("processes that the command left running cannot print any more: {error}"),
                );
            }
        }
    }

    fn read_on(self) -> io::Result<()> {
        rustix::io::ioctl_fionbio(&self.pipe, false)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("relay-output").arg(self.output.left().to_string());
        command.stdin(self.pipe).stdout(self.log.try_clone()?).stderr(Stdio::null());
        // In `/` it keeps no file system busy, and in its own group it gets no signals meant for the agent.
        command.current_dir("/").process_group(0).spawn().map(drop)
    }
}

/// Adds at most `left` bytes of `input` to the log. The rest is read and ignored, so that the writer never waits.
pub(crate) fn read_on(mut input: impl io::Read, log: &File, left: usize) -> io::Result<()> {
    let (mut output, mut buffer) = (Output::new(log, left), [0; AT_ONCE]);
    loop {
        match input.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => output.take(buffer.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    output.end();
    Ok(())
}
