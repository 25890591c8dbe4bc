//! The process of a session on a terminal: its own session, the password if the site wants one, then the shell or the
//! command reader.
//!
//! All of it runs in a child of PID 1.

use crate::process::{self, NOT_STARTED};
use crate::rescue::password;
use crate::sysfs;
use handoff::paths;
use handoff::rescue::{ConsoleAccess, RescueAccess, RescuePolicy};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{self, LocalFlags, SetArg};
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout, setsid};
use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;

/// The most bytes of a password.
const LONGEST: usize = 512;
/// The delay after a wrong password, in milliseconds.
const PENALTY: u16 = 3000;

/// `/dev/tty0` is the screen that is in front now, and cannot be the terminal of a session; that screen itself can.
pub(crate) fn real(terminal: &str) -> String {
    match terminal {
        "/dev/tty0" => {
            format!("/dev/{}", sysfs::attribute("/sys/class/tty/tty0/active").unwrap_or("tty1".into()))
        }
        other => other.to_owned(),
    }
}

/// The work of the child process. It returns only if there is no shell.
pub(crate) fn visit(terminal: &str, policy: &RescuePolicy) -> i32 {
    let _ = setsid();
    // The first terminal that a session's leader opens becomes its terminal.
    let Ok(mut file) = OpenOptions::new().read(true).write(true).open(terminal) else { return NOT_STARTED };
    let allowed = match &policy.console {
        _ if is_hung_up(&file) => false,
        ConsoleAccess::Off => false,
        ConsoleAccess::Password(hash) => knows_password(&mut file, hash),
        ConsoleAccess::Shell => true,
    };
    if !allowed || attach(&file).is_err() {
        return NOT_STARTED;
    }
    let (program, arguments) = match policy.access {
        RescueAccess::Shell => (paths::INITRAMFS_BUSYBOX, [c"sh".into()]),
        RescueAccess::Commands => (paths::COMMAND_READER, [c"psyops-rescue".into()]),
    };
    let program = CString::new(program).unwrap_or_default();
    let environment = process::environment(&["PS1=psyops rescue # "]);
    let _ = process::execute(&program, &arguments, &environment);
    NOT_STARTED
}

/// Asks until the password is right; `false` once the terminal cannot be read or written.
fn knows_password(file: &mut File, hash: &str) -> bool {
    loop {
        let typed = type_hidden(file, "psyops rescue password: ");
        let _ = file.write_all(b"\n");
        match typed {
            Some(mut typed) => {
                let right = password::fits(&typed, hash);
                typed.fill(0);
                if right {
                    return true;
                }
                let _ = file.write_all(b"That is not the rescue password of this site.\n");
            }
            None if is_hung_up(file) => return false,
            None => {}
        }
        // This delay slows down guessing, and also the loop on a terminal without input.
        let _ = poll(&mut [], PollTimeout::from(PENALTY));
    }
}

/// Reads a line without echo: the prompt appears only when echo is off. No key ends or stops this process meanwhile.
fn type_hidden(file: &mut File, question: &str) -> Option<Vec<u8>> {
    let before = termios::tcgetattr(file.as_fd()).ok()?;
    let mut hidden = before.clone();
    hidden.local_flags.remove(LocalFlags::ECHO | LocalFlags::ECHONL | LocalFlags::ISIG);
    hidden.local_flags.insert(LocalFlags::ICANON);
    termios::tcsetattr(file.as_fd(), SetArg::TCSAFLUSH, &hidden).ok()?;
    let _ = file.write_all(question.as_bytes());
    let mut line = vec![0; LONGEST];
    let length = file.read(&mut line).unwrap_or(0);
    let _ = termios::tcsetattr(file.as_fd(), SetArg::TCSAFLUSH, &before);
    line.truncate(length);
    let end = line.pop()?;
    (end == b'\n').then_some(line)
}

fn is_hung_up(file: &File) -> bool {
    let mut ready = [PollFd::new(file.as_fd(), PollFlags::POLLIN)];
    poll(&mut ready, PollTimeout::ZERO) == Ok(1)
        && ready.first().and_then(PollFd::revents).is_some_and(|events| events.contains(PollFlags::POLLHUP))
}

fn attach(file: &File) -> Result<(), Errno> {
    dup2_stdin(file)?;
    dup2_stdout(file)?;
    dup2_stderr(file)
}
