//! Confirming that a disk is the one that the user means, by its serial number.

use super::Disk;
use super::consent::Consent;
use super::content::Content;
use super::refusal::Refusal;
use std::io;

/// The least number of characters that identify a serial number.
const LEAST: usize = 4;

/// Asks the user at the terminal; `None` if there is no terminal.
pub type Ask<'a> = dyn FnMut(&str) -> io::Result<Option<String>> + 'a;

/// Checks that the disk is the one that the user means, as given with `--serial` or in answer to a question.
pub fn confirm(disk: &Disk, held: &Content, consent: &Consent, ask: &mut Ask<'_>) -> Result<(), Refusal> {
    let refusal = |said: bool| {
        let (path, serial, size) = (disk.path.clone(), disk.serial.clone(), disk.whole_size);
        if said {
            Refusal::OtherSerial { path, serial, size }
        } else {
            Refusal::Unconfirmed { path, serial, size }
        }
    };
    let mut said = consent.serials.clone();
    if said.is_empty() {
        let answer = ask(&question(disk, held)).unwrap_or_default();
        // No terminal, the end of the input, and an empty line do not count as an answer.
        said.extend(answer.map(|answer| answer.trim().to_owned()).filter(|answer| !answer.is_empty()));
    }
    if said.iter().any(|said| is_meant(disk, said)) { Ok(()) } else { Err(refusal(!said.is_empty())) }
}

fn question(disk: &Disk, held: &Content) -> String {
    let what = match &disk.serial {
        Some(_) => format!("the last {LEAST} or more characters of its serial number"),
        None => "its size in bytes (it has no serial number)".to_owned(),
    };
    let (path, holds) = (disk.path.display(), held.description());
    format!(
        "{path}: {}\nIt has {holds} on it. All of that will be lost.\nTo go on, type {what}: ",
        disk.description()
    )
}

fn is_meant(disk: &Disk, said: &str) -> bool {
    let Some(serial) = &disk.serial else { return said == disk.whole_size.to_string() };
    let (serial, said) = (serial.to_lowercase(), said.to_lowercase());
    let enough = said.chars().count() >= LEAST.min(serial.chars().count());
    enough && serial.ends_with(&said)
}

impl Disk {
    /// A description for people: model, serial number, size, how it is attached.
    #[must_use]
    pub fn description(&self) -> String {
        let model = self.model.as_deref().unwrap_or("no model name");
        let serial =
            self.serial.as_ref().map_or("no serial number".to_owned(), |s| format!("serial number {s}"));
        let removable = if self.removable { ", removable" } else { "" };
        format!("{model}, {serial}, {} bytes, {}{removable}", self.whole_size, self.bus)
    }
}
