//! A running QEMU: a child process that is killed when its value is dropped, with all output of its serial console
//! kept.
//!
//! Exceeding a deadline is an error that shows the console, and never a result.

use super::console::Console;
use super::parent::{self, Parent};
use super::qmp::{Qmp, SOCKET};
use super::setup::{Boot, Serial, Setup, VARIABLES};
use super::text::plain;
use crate::details::Details;
use crate::error::{Class, Classified};
use crate::scratch::Scratch;
use crate::terminal::Settings;
use crate::tools::ToolError;
use handoff::architecture::{Architecture, Qemu};
use handoff::report_key::ReportKey;
use serde_json::json;
use std::env;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};
use thiserror::Error;

/// The most bytes of a console that an error shows.
const MOST_CONSOLE: usize = 6000;
/// The most bytes that a console may print during a wait: a boot prints less than a MiB.
const MOST_SAID: usize = 16 << 20;
/// How many pieces of 4 KiB may wait to be read; then the machine waits.
const MOST_PIECES: usize = 256;

/// What can go wrong with a machine.
#[derive(Debug, Error, classified::Cause)]
pub enum MachineError {
    /// QEMU is missing or could not be started.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// The firmware could not be read.
    #[error("cannot read the firmware {path}: {source}; install it: apt-get install {package}")]
    Firmware {
        /// The path of the firmware.
        path: PathBuf,
        /// The error from reading or copying it.
        r#source: io::Error,
        /// The Debian package with the firmware.
        package: &'static str,
    },
    /// The folder for the machine's files could not be made.
    #[error(
        "cannot create a folder for the machine's files: {0}; free some space in the folder for temporary files"
    )]
    Folder(io::Error),
    /// Reading from the console, typing, or a command to QEMU failed.
    #[error("cannot {what} the machine: {source}")]
    Talk {
        /// What was tried, as a verb for the message.
        what: &'static str,
        /// The error from the pipe or socket.
        r#source: io::Error,
    },
    /// The expected output did not come before the deadline.
    #[error("timeout of {seconds} s before {what}; the console ended with: {console}")]
    Timeout {
        /// What was expected.
        what: String,
        /// The length of the wait in seconds.
        seconds: u64,
        /// The last lines of the console.
        #[source]
        console: Details,
    },
    /// There was a boot report, but without proof that it is from the system that was started.
    #[error(
        "timeout of {seconds} s: no boot report proved that it is from the system that was started. Images of an older builder cannot prove this: build the image again, or accept any report with --any-report"
    )]
    Unproven {
        /// The length of the wait in seconds.
        seconds: u64,
    },
    /// The machine printed too much.
    #[error("the console printed more than {} MiB before {what}; it ended with: {console}", MOST_SAID >> 20)]
    TooMuch {
        /// What was expected.
        what: String,
        /// The last lines of the console.
        #[source]
        console: Details,
    },
    /// The machine ended before the expected output.
    #[error("the machine ended before {what}; the console ended with: {console}")]
    Ended {
        /// What was expected.
        what: String,
        /// The last lines of the console.
        #[source]
        console: Details,
    },
}

impl Classified for MachineError {
    fn own_class(&self) -> Option<Class> {
        Some(match self {
            Self::Firmware { .. } => Class::Unavailable,
            Self::Folder(error) => Class::of_writing(error),
            Self::Talk { .. } => Class::Io,
            Self::Timeout { .. } | Self::Unproven { .. } | Self::Ended { .. } | Self::TooMuch { .. } => {
                Class::Failure
            }
            Self::Tool(_) => return None,
        })
    }
}

/// A running machine, which is killed when this is dropped.
#[derive(Debug)]
pub struct Machine {
    child: Child,
    _parent: Parent,
    keyboard: Option<ChildStdin>,
    output: Option<Receiver<Vec<u8>>>,
    /// The user's terminal, if the console is shown on one.
    _terminal: Option<Console>,
    console: Vec<u8>,
    /// The output as text, computed again when more arrives.
    text: String,
    /// How much of the console's plain text earlier waits have used.
    seen: usize,
    folder: Scratch,
    report_key: ReportKey,
}

impl Machine {
    /// Switches a machine on. QEMU's error messages are shown.
    pub fn start(setup: &Setup) -> Result<Self, MachineError> {
        Self::launch(setup, Stdio::inherit())
    }

    /// Switches a machine on that may well fail: QEMU's error messages are not shown.
    pub(super) fn start_silently(setup: &Setup) -> Result<Self, MachineError> {
        Self::launch(setup, Stdio::null())
    }

    fn launch(setup: &Setup, complaints: Stdio) -> Result<Self, MachineError> {
        let folder = Scratch::within(&env::temp_dir(), "psyops-qemu-").map_err(MachineError::Folder)?;
        if setup.boot == Boot::Firmware {
            copy_firmware(setup.architecture, folder.path())?;
        }
        let mut command = parent::qemu(setup.architecture)?;
        command.args(setup.arguments(folder.path()));
        let report_key = new_key().map_err(|source| MachineError::Talk { what: "make a key for", source })?;
        command.args(["-smbios", &format!("type=11,value={}", report_key.oem_string())]);
        match setup.serial {
            Serial::Captured => command.stdin(Stdio::piped()).stdout(Stdio::piped()),
            Serial::Terminal => command.stdin(Stdio::inherit()).stdout(Stdio::piped()),
            Serial::RawTerminal => command.stdin(Stdio::inherit()).stdout(Stdio::inherit()),
            Serial::None => command.stdin(Stdio::null()).stdout(Stdio::null()),
        };
        let start = |source| ToolError::Start { program: setup.architecture.qemu.program.to_owned(), source };
        command.stderr(complaints);
        let settings = Settings::now();
        let (mut child, parent) = parent::spawn(command).map_err(start)?;
        let keyboard = child.stdin.take();
        let (terminal, output) = match (setup.serial, child.stdout.take()) {
            (Serial::RawTerminal, _) => (Some(Console::of_qemu(settings)), None),
            (Serial::Terminal, Some(serial)) => (Some(Console::filtered(settings, serial)), None),
            (_, serial) => (None, serial.map(kept)),
        };
        Ok(Self {
            child,
            _parent: parent,
            keyboard,
            output,
            _terminal: terminal,
            console: Vec::new(),
            text: String::new(),
            seen: 0,
            folder,
            report_key,
        })
    }

    /// The key with which this machine's boot report proves where it is from.
    #[must_use]
    pub fn report_key(&self) -> &ReportKey {
        &self.report_key
    }

    /// The output of the serial console so far, without control sequences.
    #[must_use]
    pub fn console(&self) -> String {
        self.text.clone()
    }

    /// Waits until the console prints `text`, after the output that the last wait used, and returns its line as far as
    /// it was printed.
    pub fn wait_for(&mut self, text: &str, deadline: Duration) -> Result<String, MachineError> {
        let what = format!("the console printed {text:?}");
        self.wait_until(&what, deadline, |new| {
            let start = new.find(text)?;
            let rest = new.get(start..)?;
            let line = rest.split('\n').next()?;
            Some((start + text.len(), line.to_owned()))
        })
    }

    /// Waits until the console prints a whole line with `text`, and returns the line from `text` on.
    pub fn wait_for_line(&mut self, text: &str, deadline: Duration) -> Result<String, MachineError> {
        let what = format!("the console printed a line with {text:?}");
        self.wait_until(&what, deadline, |new| {
            let start = new.find(text)?;
            let line = new.get(start..)?.split_once('\n')?.0;
            Some((start + line.len() + 1, line.to_owned()))
        })
    }

    /// Waits until `find` finds something in the output since the last wait; it returns how much of that it uses.
    fn wait_until<T>(
        &mut self,
        what: &str,
        deadline: Duration,
        find: impl Fn(&str) -> Option<(usize, T)>,
    ) -> Result<T, MachineError> {
        let end = Instant::now() + deadline;
        loop {
            if let Some((used, found)) = self.text.get(self.seen..).and_then(&find) {
                self.seen += used;
                return Ok(found);
            }
            match self.listen(end) {
                Heard::More => {}
                Heard::End => {
                    return Err(MachineError::Ended { what: what.to_owned(), console: self.console_end() });
                }
                Heard::TooMuch => {
                    return Err(MachineError::TooMuch { what: what.to_owned(), console: self.console_end() });
                }
                Heard::Timeout => return Err(self.timeout(what, deadline)),
            }
        }
    }

    /// Types on the serial console.
    pub fn send(&mut self, keys: &str) -> Result<(), MachineError> {
        let keyboard = self.keyboard.as_mut().ok_or(io::ErrorKind::NotConnected);
        let result = keyboard.map_err(io::Error::from).and_then(|keyboard| {
            keyboard.write_all(keys.as_bytes())?;
            keyboard.flush()
        });
        result.map_err(|source| MachineError::Talk { what: "type on the console of", source })
    }

    /// Opens a connection to QEMU's control socket.
    pub fn qmp(&self) -> Result<Qmp, MachineError> {
        let connect = |source| MachineError::Talk { what: "reach the control socket of", source };
        Qmp::connect(&self.folder.path().join(SOCKET)).map_err(connect)
    }

    /// Presses the power button.
    pub fn power_button(&self) -> Result<(), MachineError> {
        self.command("system_powerdown")
    }

    /// Cuts the power of the machine.
    pub fn cut_power(&self) -> Result<(), MachineError> {
        self.command("quit")
    }

    /// Plugs in a disk that was [`super::Bus::Unplugged`]; they are counted from 0.
    pub fn plug(&self, disk: usize) -> Result<(), MachineError> {
        let (id, drive) = (format!("plugged{disk}"), format!("disk{disk}"));
        let device = json!({"driver": "usb-storage", "bus": "usb.0", "id": id, "drive": drive});
        self.tell("device_add", &device)
    }

    /// Pulls out what was plugged in.
    pub fn unplug(&self, disk: usize) -> Result<(), MachineError> {
        self.tell("device_del", &json!({"id": format!("plugged{disk}")}))
    }

    /// Makes a disk hang, like a stick that dies under load: from the second request on, each request takes hours. Does
    /// not work for a disk that was [`super::Bus::Unplugged`].
    pub fn hang(&self, disk: usize) -> Result<(), MachineError> {
        let mut limits = json!({"device": format!("disk{disk}"), "bps": 1});
        // The other limits must be given, too; 0 means no limit.
        for other in ["bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"] {
            limits[other] = 0.into();
        }
        self.tell("block_set_io_throttle", &limits)
    }

    fn command(&self, command: &'static str) -> Result<(), MachineError> {
        self.tell(command, &json!({}))
    }

    fn tell(&self, command: &'static str, arguments: &serde_json::Value) -> Result<(), MachineError> {
        let result = self.qmp()?.execute(command, arguments);
        result.map(|_| ()).map_err(|source| MachineError::Talk { what: command, source })
    }

    /// Waits until the machine powers off, or until a reset ends it.
    pub fn wait_for_end(&mut self, deadline: Duration) -> Result<ExitStatus, MachineError> {
        let end = Instant::now() + deadline;
        let talk = |source| MachineError::Talk { what: "wait for the end of", source };
        loop {
            match self.listen(end) {
                Heard::More => {}
                Heard::End => break,
                Heard::TooMuch => {
                    let what = "the machine powered off".to_owned();
                    return Err(MachineError::TooMuch { what, console: self.console_end() });
                }
                Heard::Timeout => return Err(self.timeout("the machine powered off", deadline)),
            }
        }
        self.child.wait().map_err(talk)
    }

    /// Presses the power button repeatedly, because a system that is still starting does not notice it, and cuts the
    /// power if the machine has not ended after `patience`.
    pub fn power_down(&mut self, patience: Duration) -> Result<ExitStatus, MachineError> {
        const BETWEEN: Duration = Duration::from_secs(3);
        let end = Instant::now() + patience;
        while Instant::now() < end {
            // The machine may have ended meanwhile; then QEMU does not answer.
            let _ = self.power_button();
            match self.wait_for_end(BETWEEN) {
                Err(MachineError::Timeout { .. }) => {}
                ended => return ended,
            }
        }
        self.cut_power()?;
        self.wait_for_end(patience)
    }

    fn timeout(&self, what: &str, deadline: Duration) -> MachineError {
        let seconds = deadline.as_secs();
        MachineError::Timeout { what: what.to_owned(), seconds, console: self.console_end() }
    }

    fn console_end(&self) -> Details {
        let console = &self.text;
        let cut = console.char_indices().rev().nth(MOST_CONSOLE).map_or(0, |(cut, _)| cut);
        Details::new(console.get(cut..).unwrap_or_default())
    }

    fn listen(&mut self, end: Instant) -> Heard {
        let left = end.saturating_duration_since(Instant::now());
        let Some(output) = &self.output else { return self.watch_without_console(left) };
        match output.recv_timeout(left) {
            Ok(bytes) => {
                self.console.extend(bytes);
                // All available output is processed at once.
                self.console.extend(output.try_iter().take(MOST_PIECES).flatten());
                self.text = plain(&self.console);
                if self.console.len() > MOST_SAID { Heard::TooMuch } else { Heard::More }
            }
            Err(RecvTimeoutError::Disconnected) => Heard::End,
            Err(RecvTimeoutError::Timeout) => Heard::Timeout,
        }
    }

    /// If the console is not captured, only the process shows that the machine has ended.
    fn watch_without_console(&mut self, left: Duration) -> Heard {
        const STEP: Duration = Duration::from_millis(100);
        match self.child.try_wait() {
            Ok(None) if left.is_zero() => Heard::Timeout,
            Ok(None) => {
                thread::sleep(STEP.min(left));
                Heard::More
            }
            _ => Heard::End,
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Both fail only if the machine has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Heard {
    More,
    TooMuch,
    End,
    Timeout,
}

/// Passes on the output of the serial port. The thread ends with the pipe, that is, with the machine.
fn kept(mut serial: ChildStdout) -> Receiver<Vec<u8>> {
    let (sender, output) = sync_channel(MOST_PIECES);
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count) = serial.read(&mut buffer) {
            let bytes = buffer.get(..count).unwrap_or_default();
            if bytes.is_empty() || sender.send(bytes.to_vec()).is_err() {
                break;
            }
        }
    });
    output
}

fn new_key() -> io::Result<ReportKey> {
    let mut random = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut random)?;
    Ok(ReportKey::new(random))
}

fn copy_firmware(architecture: &Architecture, folder: &Path) -> Result<(), MachineError> {
    let Qemu { firmware_code, firmware_variables, firmware_package: package, .. } = architecture.qemu;
    let missing = |path: &str| {
        let path = PathBuf::from(path);
        move |source| MachineError::Firmware { path, source, package }
    };
    std::fs::metadata(firmware_code).map_err(missing(firmware_code))?;
    std::fs::copy(firmware_variables, folder.join(VARIABLES)).map_err(missing(firmware_variables))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine that would start a file that is not a kernel.
    fn idle() -> Machine {
        let setup = Setup {
            disks: Vec::new(),
            memory: 64,
            boot: Boot::Direct {
                kernel: "/dev/null".into(),
                initrd: "/dev/null".into(),
                command_line: "x".into(),
            },
            ..Setup::with_stick(Path::new("/dev/null"))
        };
        Machine::start_silently(&setup).unwrap()
    }

    #[test]
    fn a_machine_that_does_not_start_is_an_error() {
        let error = idle().wait_for("never", Duration::from_secs(30)).unwrap_err();
        assert!(matches!(error, MachineError::Ended { .. }), "{error}");
    }
}
