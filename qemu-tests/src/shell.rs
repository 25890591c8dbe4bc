//! A virtual machine with tools that runs commands one after the other, each with its exit code and its output.
//!
//! While a command runs, a test can change the machine: that is what [`Shell::begin`] is for.

use crate::tool_vm::{SERIAL, ToolVm};
use anyhow::{Context as _, Result};
use builder::run::Machine;
use std::time::Duration;

/// Reads one command a line from the console. The kernel prints nothing there, which would break the lines.
const SERVER: &str = r#"
stty -F /dev/@SERIAL@ -echo -onlcr
echo 1 >/proc/sys/kernel/printk
echo "shell: ready"
while read -r number command; do
    sh -c "[ ! -e /functions ] || . /functions; $command" >/tmp/out 2>/tmp/err </dev/null
    code=$?
    awk -v "before=shell $number out: " '{ print before $0 }' /tmp/out
    awk -v "before=shell $number err: " '{ print before $0 }' /tmp/err
    echo "shell $number end: $code"
done </dev/@SERIAL@
"#;

/// How long a machine may take to start. On an idle host it takes about ten seconds.
const START: Duration = Duration::from_mins(2);

/// The output of a command, and its exit code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// The exit code.
    pub code: i32,
    /// The standard output.
    pub out: String,
    /// The standard error.
    pub err: String,
}

impl Said {
    /// Standard output and standard error.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}{}", self.out, self.err)
    }
}

/// A machine that runs commands.
#[derive(Debug)]
pub struct Shell {
    machine: Machine,
    number: u32,
}

impl Shell {
    /// Starts the machine. If it has a file `/functions`, that is read before each command.
    pub fn start(bench: &ToolVm) -> Result<Self> {
        let mut machine = bench.start(&SERVER.replace("@SERIAL@", SERIAL))?;
        machine.wait_for_line("shell: ready", START)?;
        Ok(Self { machine, number: 0 })
    }

    /// The virtual machine that the shell runs in.
    #[must_use]
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Runs a command, which must be one line.
    pub fn run(&mut self, command: &str, deadline: Duration) -> Result<Said> {
        self.begin(command)?;
        self.end(deadline).with_context(|| format!("running {command}"))
    }

    /// Starts a command and does not wait.
    pub fn begin(&mut self, command: &str) -> Result<()> {
        self.number += 1;
        Ok(self.machine.send(&format!("{} {command}\n", self.number))?)
    }

    /// Waits for the end of the command that was started last.
    pub fn end(&mut self, deadline: Duration) -> Result<Said> {
        let before = format!("shell {} end: ", self.number);
        let line = self.machine.wait_for_line(&before, deadline)?;
        let code = line.strip_prefix(&before).and_then(|code| code.trim().parse().ok());
        let code = code.with_context(|| format!("no exit code: {line}"))?;
        Ok(Said { code, out: self.lines("out"), err: self.lines("err") })
    }

    /// The lines of the last command on a channel.
    fn lines(&self, channel: &str) -> String {
        let before = format!("shell {} {channel}: ", self.number);
        let console = self.machine.console();
        let lines = console.lines().filter_map(|line| line.strip_prefix(&before));
        lines.map(|line| format!("{line}\n")).collect()
    }
}
