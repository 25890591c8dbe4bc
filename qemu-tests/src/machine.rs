//! A QEMU machine that boots a stick cold, from firmware, and dies with its value.
//!
//! Time running out is always an error that shows the console, never an answer. The machine runs without KVM, so that
//! the tests mean the same everywhere.

use anyhow::{Context as _, Result, bail, ensure};
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

const FIRMWARE_CODE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";
const FIRMWARE_VARIABLES: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";

/// Whether the stick can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Medium {
    /// As sticks are.
    Writable,
    /// With its switch set.
    ReadOnly,
}

/// A running machine.
#[derive(Debug)]
pub struct Machine {
    child: Child,
    keyboard: ChildStdin,
    output: Receiver<Vec<u8>>,
    console: Vec<u8>,
}

impl Machine {
    /// Plugs the sticks into USB 3 ports of a machine that never booted before, and switches it on; firmware starts from
    /// the first one. Firmware variables are kept in `folder`.
    pub fn start(sticks: &[(&Path, Medium)], folder: &Path) -> Result<Self> {
        let variables = folder.join("firmware-variables.fd");
        fs::copy(FIRMWARE_VARIABLES, &variables).context("copying firmware variables (package ovmf)")?;
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args(["-machine", "q35", "-accel", "tcg", "-m", "256", "-nodefaults", "-no-reboot"])
            .args(["-display", "none", "-serial", "stdio", "-device", "qemu-xhci", "-drive"])
            .arg(format!("if=pflash,unit=0,format=raw,readonly=on,file={FIRMWARE_CODE}"))
            .arg("-drive")
            .arg(format!("if=pflash,unit=1,format=raw,file={}", variables.display()));
        for (number, (stick, medium)) in sticks.iter().enumerate() {
            let read_only = if *medium == Medium::ReadOnly { "on" } else { "off" };
            let file = stick.display();
            qemu.arg("-drive")
                .arg(format!("if=none,id=stick{number},format=raw,readonly={read_only},file={file}"))
                .arg("-device")
                .arg(format!("usb-storage,drive=stick{number},bootindex={number}"));
        }
        let mut child = qemu
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .context("starting qemu-system-x86_64 (package qemu-system-x86)")?;
        let keyboard = child.stdin.take().context("QEMU has no input")?;
        let mut serial = child.stdout.take().context("QEMU has no output")?;
        let (sender, output) = channel();
        // The thread ends with the pipe, that is with the machine.
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count) = serial.read(&mut buffer) {
                let bytes = buffer.get(..count).unwrap_or_default();
                if bytes.is_empty() || sender.send(bytes.to_vec()).is_err() {
                    break;
                }
            }
        });
        Ok(Self { child, keyboard, output, console: Vec::new() })
    }

    /// Waits until `text` stands on the serial console.
    pub fn wait_for(&mut self, text: &str, deadline: Duration) -> Result<()> {
        let end = Instant::now() + deadline;
        while !self.console().contains(text) {
            if self.listen(end)? == Heard::End {
                bail!("the machine ended before {text:?}:\n{}", self.console());
            }
        }
        Ok(())
    }

    /// Types on the serial console.
    pub fn type_keys(&mut self, keys: &str) -> Result<()> {
        self.keyboard.write_all(keys.as_bytes()).context("typing on the serial console")
    }

    /// Waits until the machine powers off or restarts by itself; returns all that its console said.
    pub fn wait_for_end(mut self, deadline: Duration) -> Result<String> {
        let end = Instant::now() + deadline;
        while self.listen(end)? != Heard::End {}
        let status = self.child.wait().context("waiting for QEMU")?;
        ensure!(status.success(), "QEMU ended with {status}:\n{}", self.console());
        Ok(self.console())
    }

    /// What the serial console said so far, without the escape sequences that firmware paints with.
    #[must_use]
    pub fn console(&self) -> String {
        plain_text(&self.console)
    }

    fn listen(&mut self, end: Instant) -> Result<Heard> {
        match self.output.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(bytes) => {
                self.console.extend(bytes);
                Ok(Heard::More)
            }
            Err(RecvTimeoutError::Disconnected) => Ok(Heard::End),
            Err(RecvTimeoutError::Timeout) => bail!("time ran out; the console said:\n{}", self.console()),
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Both fail only where the machine has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Heard {
    More,
    End,
}

/// Drops control sequences (ECMA-48, section 5.4) and carriage returns.
fn plain_text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut plain = String::new();
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match c {
            '\u{1b}' => {
                if characters.next() == Some('[') {
                    characters.find(|c| ('@'..='~').contains(c));
                }
            }
            '\r' | '\0' => {}
            c => plain.push(c),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::plain_text;

    #[test]
    fn painting_is_dropped_and_words_stay() {
        assert_eq!(plain_text(b"\x1b[2J\x1b[01;01Hone\r\ntwo\x1b[0m\x1b="), "one\ntwo");
    }
}
