//! Starting a program that ends with this process, even if this gets a SIGKILL: prctl(2), `PR_SET_PDEATHSIG`, which
//! setpriv(1) sets before it becomes the program.

use crate::tools::{self, SETPRIV, ToolError};
use handoff::architecture::Architecture;
use std::io;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};
use std::thread;

/// The arguments for setpriv.
const KILL: [&str; 2] = ["--pdeathsig", "KILL"];

/// While this exists, so does the thread that counts as the program's parent: the kernel sends the signal when that
/// thread ends.
#[derive(Debug)]
pub(super) struct Parent(#[expect(dead_code, reason = "the thread waits for its end")] Sender<()>);

/// QEMU, to be started with [`spawn`]. If setpriv is missing or too old, QEMU continues after psyops gets a SIGKILL.
pub(super) fn qemu(architecture: &Architecture) -> Result<Command, ToolError> {
    let qemu = tools::qemu(architecture);
    if !setpriv_works() {
        return qemu.command();
    }
    let mut command = SETPRIV.command()?;
    command.args(KILL).arg("--").arg(qemu.find()?);
    Ok(command)
}

/// Whether setpriv has the option: that of util-linux does since 2.36, that of busybox does not.
fn setpriv_works() -> bool {
    static WORKS: OnceLock<bool> = OnceLock::new();
    *WORKS.get_or_init(|| {
        let Ok(mut command) = SETPRIV.command() else { return false };
        let tried = command.args(KILL).args(["--", "true"]).stdin(Stdio::null()).output();
        tried.is_ok_and(|output| output.status.success())
    })
}

/// Starts a program from a separate thread.
pub(super) fn spawn(mut command: Command) -> io::Result<(Child, Parent)> {
    let (send, started) = channel();
    let (alive, end) = channel::<()>();
    thread::spawn(move || {
        let _ = send.send(command.spawn());
        // The command holds the other ends of its pipes.
        drop(command);
        // Nothing is ever sent: this waits until the other side is dropped.
        let _ = end.recv();
    });
    let child = started.recv().map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))??;
    Ok((child, Parent(alive)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_ends_with_its_parent() {
        assert!(setpriv_works(), "setpriv of util-linux 2.36 or later is needed");
        let mut command = SETPRIV.command().unwrap();
        command.args(KILL).args(["--", "cat"]).stdin(Stdio::piped());
        let (mut child, parent) = spawn(command).unwrap();
        // `cat` waits for input, which never comes, until its parent ends.
        let _keyboard = child.stdin.take().unwrap();
        // If the parent ends before setpriv requests the signal, the program gets none.
        let name = format!("/proc/{}/comm", child.id());
        while std::fs::read_to_string(&name).unwrap() != "cat\n" {
            thread::sleep(std::time::Duration::from_millis(5));
        }
        assert!(child.try_wait().unwrap().is_none());
        drop(parent);
        let status = child.wait().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
    }
}
